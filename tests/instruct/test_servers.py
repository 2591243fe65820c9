"""`vidlm instruct` against servers as they are: how each run ends.

Each mode of `serving` is a way in which public servers differ, or fail.
"""

import json

import pyarrow.parquet as pq
import pytest

from vidlm.instruct import calls, client, generate

_CAPTIONS = [
  (f'clip{i}', f'A man fries egg {i} in a pan.', 's') for i in range(4)
]


def _run(
  server, folder, captions=_CAPTIONS, max_wait=0.05, timeout=30.0, **options
):
  completer = client.OpenAICompleter(
    f'http://127.0.0.1:{server.server_port}/v1',
    'm',
    max_wait=max_wait,
    timeout=timeout,
  )
  return generate.generate(
    captions=captions,
    output=folder,
    completer=completer,
    draws=calls.Draws(kinds=('causal',), retries=0),
    **options,
  )


def _records(folder):
  text = (folder / 'records.jsonl').read_text('utf-8')
  return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize('mode', ['ok', 'parts', 'loading', 'slow'])
def test_finished(serving, mode, tmp_path):
  with serving(mode) as server:
    report = _run(server, tmp_path)
  assert (report['accepted'], report['failed']) == (4, 0)
  assert 'left_out' not in report
  assert len(server.bodies) == 4 + 4 * (mode == 'loading')
  rows = pq.read_table(tmp_path / 'instructions.parquet').to_pylist()
  assert [row['clip_id'] for row in rows] == [row[0] for row in _CAPTIONS]
  assert {row['answer'] for row in rows} == {'He stirs them in the pan.'}


def test_the_other_limit_is_found_out_once(serving, tmp_path):
  with serving('max_tokens') as server:
    assert _run(server, tmp_path)['accepted'] == 4
  assert len(server.bodies) == 5
  assert [body.get('max_tokens') for body in server.bodies][:2] == [256, None]
  assert all(body['max_completion_tokens'] == 256 for body in server.bodies[1:])


@pytest.mark.parametrize(
  ('mode', 'names', 'wasted'),
  [
    ('seed', ['seed'], 1),
    ('old seed', ['seed'], 1),
    ('reasoner', ['stop', 'temperature', 'top_p'], 4),
  ],
)
def test_a_refused_field_is_left_out_once_and_recorded(
  serving, mode, names, wasted, tmp_path
):
  with serving(mode) as server:
    report = _run(server, tmp_path)
    assert report['accepted'] == 4 and report['left_out'] == names
    assert len(server.bodies) == 4 + wasted
    assert not set(names) & set(server.bodies[-1])
    assert _run(server, tmp_path) == report
  assert [row['left_out'] for row in _records(tmp_path)] == [names] * 4 or (
    [sorted(row['left_out']) for row in _records(tmp_path)] == [names] * 4
  )
  assert json.loads((tmp_path / 'summary.json').read_text()) == report


@pytest.mark.parametrize(
  ('mode', 'seconds'), [('retry_after', 2.0), ('retry_after_ms', 1.5)]
)
def test_the_server_says_how_long_to_wait(serving, mode, seconds, tmp_path):
  with serving(mode) as server:
    report = _run(server, tmp_path, _CAPTIONS[:1], max_wait=5.0)
  assert (report['accepted'], report['failed']) == (1, 0)
  gaps = [
    later - earlier
    for earlier, later in zip(server.times, server.times[1:], strict=False)
  ]
  assert len(gaps) == 3 and all(seconds <= gap < seconds + 2 for gap in gaps)


@pytest.mark.parametrize(
  ('mode', 'reason'),
  [
    ('context', 'prompt_too_long'),
    ('filter', 'content_filter'),
    ('moderated', 'content_filter'),
    ('too long is 500', 'prompt_too_long'),
    ('too long in 200', 'prompt_too_long'),
  ],
)
def test_refused_prompts_are_quarantined_and_the_run_goes_on(
  serving, mode, reason, tmp_path
):
  bad = [(f'bad{i}', f'LONG {i}: a pan.', 's') for i in range(25)]
  with serving(mode) as server:
    report = _run(server, tmp_path, [*bad, *_CAPTIONS])
    asked = len(server.bodies)
    assert report['reasons'] == {reason: 25}
    assert (report['accepted'], report['failed']) == (4, 0)
    assert asked <= 29 + 5  # no retries, and few known-good prompts
    # The next run goes past them; the server may have changed until another.
    assert _run(server, tmp_path, [*bad, *_CAPTIONS]) == report
    assert len(server.bodies) == asked
    server.mode = 'ok'
    again = _run(server, tmp_path, [*bad, *_CAPTIONS], retry_quarantined=True)
  assert again['accepted'] == 29 and again['quarantined'] == 0
  assert len(server.bodies) == asked + 25


@pytest.mark.parametrize(
  ('mode', 'reason'),
  [
    ('chatter', 'chatter'),
    ('reasoning_only', 'empty'),
    ('reasoning_cut', 'truncated'),
  ],
)
def test_what_is_no_pair_is_quarantined_however_many(
  serving, mode, reason, tmp_path
):
  captions = [(f'c{i}', f'A man fries egg {i}.', 's') for i in range(30)]
  with serving(mode) as server:
    report = _run(server, tmp_path, captions)
  assert report['reasons'] == {reason: 30} and report['failed'] == 0
  assert len(server.bodies) == 30
  assert len(report['examples'][reason]) == 3
  assert pq.read_table(tmp_path / 'instructions.parquet').num_rows == 0


@pytest.mark.parametrize(
  ('mode', 'words', 'tries'),
  [
    ('html', 'HTTP 502: 502 Bad Gateway', 6),
    ('drop', 'disconnected', 6),
    ('cut', 'without sending complete message body', 6),
    ('drop, kept open', 'no answer within 0.25 s (--timeout)', 6),
    ('cut, kept open', 'no answer within 0.25 s (--timeout)', 6),
    ('error_in_200', 'Provider returned error', 6),
    ('not_found', 'HTTP 404: model "m" not found, try pulling it first', 1),
    ('quota', 'HTTP 429: You exceeded your current quota', 1),
    ('all refused', 'is not what it was', 1),
  ],
)
@pytest.mark.parametrize('answered', [0, 2])
def test_stopped_in_the_servers_words(
  serving, mode, words, tries, answered, tmp_path
):
  """Bounded retries, one line, and what was answered before is kept."""
  with serving('ok') as server:
    if answered:
      _run(server, tmp_path, _CAPTIONS[:answered])
    server.mode = mode
    server.bodies.clear()
    with pytest.raises(client.EndpointError) as caught:
      _run(server, tmp_path, timeout=0.25 if 'open' in mode else 30.0)
    line = str(caught.value)
    assert words in line and line.startswith('instruct stopped: http://127')
    assert '\n' not in line and len(line) < 500
    assert line.endswith('What was answered is kept; run again to go on.')
    # Each call as often as it may, and one that is known to be good.
    assert len(server.bodies) <= tries * (4 - answered + 1)
    server.mode = 'ok'
    server.bodies.clear()
    assert _run(server, tmp_path)['accepted'] == 4
  assert len(server.bodies) == 4 - answered
