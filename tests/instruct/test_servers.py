"""`vidlm instruct` against servers as they are: how each run ends.

Each mode is a way in which public servers differ, or fail. The server speaks
HTTP on loopback; what it does depends on the mode and on how many calls it had.
"""

import contextlib
import http.server
import json
import threading
import time

import pyarrow.parquet as pq
import pytest

from vidlm.instruct import calls, client, generate

PAIR = 'Question: What does the man do next?\nAnswer: He stirs them in the pan.'
_CAPTIONS = [
  (f'clip{i}', f'A man fries egg {i} in a pan.', 's') for i in range(4)
]


def _reply(text, finish='stop', **message):
  choice = {
    'index': 0,
    'finish_reason': finish,
    'message': {'role': 'assistant', 'content': text, **message},
  }
  told = {'id': 'x', 'object': 'chat.completion', 'created': 0, 'model': 'm'}
  return 200, {**told, 'choices': [choice]}, {}


def _error(status, text, headers=None, **more):
  error = {'message': text, 'type': 'invalid_request_error', **more}
  return status, {'error': error}, headers or {}


def _answer(mode, body, n):
  """What a server of this mode says to its call number n."""
  prompt = json.dumps(body['messages'])
  match mode:
    case 'max_tokens' if 'max_tokens' in body:
      return _error(
        400,
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' "
        'instead.',
        param='max_tokens',
        code='unsupported_parameter',
      )
    case 'seed' if 'seed' in body:
      detail = {
        'type': 'extra_forbidden',
        'loc': ['body', 'seed'],
        'msg': 'Extra inputs are not permitted',
        'input': 0,
      }
      return 422, {'detail': [detail]}, {}
    case 'old seed' if 'seed' in body:
      return _error(400, 'Unrecognized request argument supplied: seed')
    case 'reasoner' if {'stop', 'temperature', 'top_p', 'max_tokens'} & set(
      body
    ):
      name = next(
        k for k in ('max_tokens', 'temperature', 'top_p', 'stop') if k in body
      )
      return _error(
        400,
        f"Unsupported parameter: '{name}' is not supported with this model.",
        param=name,
      )
    case 'context' if 'LONG' in prompt:
      words = 'maximum context length is 2048 tokens, requested 6751'
      return 400, {'object': 'error', 'message': words, 'code': 400}, {}
    case 'filter' if 'LONG' in prompt:
      return _error(400, 'The response was filtered', code='content_filter')
    case 'moderated' if 'LONG' in prompt:
      return _error(403, 'Your input was flagged', code=403)
    case 'too long is 500' if 'LONG' in prompt:
      return _error(500, 'the request exceeds the available context size')
    case 'too long in 200' if 'LONG' in prompt:
      return 200, {'error': {'code': 400, 'message': 'prompt is too long'}}, {}
    case 'retry_after' if n <= 3:
      return _error(429, 'rate limit', {'Retry-After': '2'})
    case 'retry_after_ms' if n <= 3:
      return _error(429, 'rate limit', {'retry-after-ms': '1500'})
    case 'reasoning_only':
      draft = 'Question: draft? Answer: draft.'
      return _reply(None, reasoning_content=draft)
    case 'reasoning_cut':
      return _reply(None, finish='length', reasoning='The user wants')
    case 'error_in_200':
      error = {'message': 'Provider returned error', 'code': 502}
      return 200, {'error': error}, {}
    case 'chatter':
      return _reply(PAIR + "\n\nLet me know if you'd like another one!")
    case 'parts':
      parts = [
        {'type': 'thinking', 'thinking': 'Question: draft? Answer: no.'},
        {'type': 'text', 'text': PAIR},
      ]
      return _reply(parts)
    case 'html':
      return 502, '<html><body>502 Bad Gateway</body></html>', {}
    case 'loading' if n <= 4:
      error = {'code': 503, 'message': 'Loading model'}
      return 503, {'error': error}, {}
    case 'not_found':
      return _error(404, 'model "m" not found, try pulling it first')
    case 'quota':
      words = 'You exceeded your current quota'
      return _error(429, words, code='insufficient_quota')
    case 'all refused':
      return _error(400, 'The model m ' + 'is not what it was. ' * 40)
  return _reply(PAIR)


class _Server(http.server.ThreadingHTTPServer):
  daemon_threads = True

  def __init__(self, mode):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.mode = mode
    self.bodies = []
    self.times = []
    self.lock = threading.Lock()

  def handle_error(self, request, client_address):
    pass


class _Handler(http.server.BaseHTTPRequestHandler):
  protocol_version = 'HTTP/1.1'

  def log_message(self, *unused):
    pass

  def do_POST(self):
    body = json.loads(self.rfile.read(int(self.headers['content-length'])))
    mode = self.server.mode
    with self.server.lock:
      self.server.bodies.append(body)
      self.server.times.append(time.monotonic())
      n = len(self.server.bodies)
    if mode.startswith('drop'):
      self.close_connection = mode == 'drop'
      return
    if mode == 'slow':
      time.sleep(1.5)
    status, payload, headers = _answer(mode, body, n)
    html = isinstance(payload, str)
    data = (payload if html else json.dumps(payload)).encode()
    self.send_response(status)
    kind = 'text/html' if html else 'application/json'
    self.send_header('Content-Type', kind)
    for name, value in headers.items():
      self.send_header(name, value)
    self.send_header('Content-Length', str(len(data)))
    self.end_headers()
    self.wfile.write(data[: len(data) // 2] if 'cut' in mode[:3] else data)
    if mode == 'cut':
      self.close_connection = True


@contextlib.contextmanager
def _serving(mode):
  server = _Server(mode)
  thread = threading.Thread(target=server.serve_forever, args=(0.02,))
  thread.start()
  try:
    yield server
  finally:
    server.shutdown()
    thread.join()
    server.server_close()


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
def test_finished(mode, tmp_path):
  with _serving(mode) as server:
    report = _run(server, tmp_path)
  assert (report['accepted'], report['failed']) == (4, 0)
  assert 'left_out' not in report
  assert len(server.bodies) == 4 + 4 * (mode == 'loading')
  rows = pq.read_table(tmp_path / 'instructions.parquet').to_pylist()
  assert [row['clip_id'] for row in rows] == [row[0] for row in _CAPTIONS]
  assert {row['answer'] for row in rows} == {'He stirs them in the pan.'}


def test_the_other_limit_is_found_out_once(tmp_path):
  with _serving('max_tokens') as server:
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
  mode, names, wasted, tmp_path
):
  with _serving(mode) as server:
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
def test_the_server_says_how_long_to_wait(mode, seconds, tmp_path):
  with _serving(mode) as server:
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
  mode, reason, tmp_path
):
  bad = [(f'bad{i}', f'LONG {i}: a pan.', 's') for i in range(25)]
  with _serving(mode) as server:
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
def test_what_is_no_pair_is_quarantined_however_many(mode, reason, tmp_path):
  captions = [(f'c{i}', f'A man fries egg {i}.', 's') for i in range(30)]
  with _serving(mode) as server:
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
def test_stopped_in_the_servers_words(mode, words, tries, answered, tmp_path):
  """Bounded retries, one line, and what was answered before is kept."""
  with _serving('ok') as server:
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
