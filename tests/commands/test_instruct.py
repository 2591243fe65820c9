"""`vidlm instruct` against a real HTTP server."""

import collections
import json
import threading
import time

import pyarrow.parquet as pq
import pytest
import pytest_httpserver
import werkzeug

CAPTIONS = """video;text;set
one;A man number 1 throws a ball.;films
two;A man number 2 throws a ball.;films
"""


class Server:
  """Answers every prompt; plays a script for some clips first."""

  def __init__(self, httpserver):
    self.bodies = []
    self.script = collections.defaultdict(list)
    self.lock = threading.Lock()
    self.url = httpserver.url_for('/v1')
    httpserver.expect_request(
      '/v1/chat/completions', method='POST'
    ).respond_with_handler(self.answer)

  def answer(self, request):
    body = request.get_json()
    prompt = body['messages'][0]['content']
    number = prompt.rsplit('number ', 1)[1].split()[0]
    with self.lock:
      self.bodies.append(body)
      act = self.script[number].pop(0) if self.script[number] else None
    if act == 'hang':
      time.sleep(4.0)
    if isinstance(act, int):
      return werkzeug.Response('{}', act)
    text = f'Question: who throws {number}?\nAnswer: a man'
    if act == 'chatter':
      text += '\n\nLet me know if you need another one!'
    choice = {
      'index': 0,
      'finish_reason': 'stop',
      'message': {'role': 'assistant', 'content': text},
    }
    reply = {'id': 'x', 'object': 'chat.completion', 'created': 0}
    return werkzeug.Response(
      json.dumps({**reply, 'model': 'served', 'choices': [choice]}),
      content_type='application/json',
    )


@pytest.fixture
def server():
  # In threads: a request that hangs must not hold up the others.
  with pytest_httpserver.HTTPServer(threaded=True) as httpserver:
    yield Server(httpserver)


@pytest.fixture
def flags(server, tmp_path):
  captions = tmp_path / 'captions.csv'
  captions.write_text(CAPTIONS.replace(';', ','))
  return [
    'instruct',
    f'--captions={captions}',
    '--id_column=video',
    '--caption_column=text',
    '--source_column=set',
    f'--output={tmp_path / "out"}',
    f'--base_url={server.url}',
    '--model=asked',
    '--kinds=short',
    '--retries=0',
  ]


def read_records(tmp_path):
  lines = (tmp_path / 'out' / 'records.jsonl').read_text().splitlines()
  return [json.loads(line) for line in lines]


def test_flags_reach_the_endpoint(commands, server, flags, tmp_path):
  server.script['1'] = [503]  # one that passes
  process = commands.start(
    'vidlm',
    [
      *flags,
      '--temperature=0.125',
      '--top_p=0.5',
      '--max_tokens=7',
      '--max_attempts=2',
      '--timeout=30',
    ],
  )
  code, output = process.finish()
  assert code == 0, process.errors
  assert output == f'{tmp_path / "out"}: 2 of 2 accepted, 0 quarantined\n'
  assert len(server.bodies) == 3
  for body in server.bodies:
    assert body['model'] == 'asked'
    assert (body['temperature'], body['top_p']) == (0.125, 0.5)
    assert body['max_tokens'] == 7
  rows = read_records(tmp_path)
  assert {row['clip_id'] for row in rows} == {'one', 'two'}
  assert {row['source'] for row in rows} == {'films'}
  table = pq.read_table(tmp_path / 'out' / 'instructions.parquet').to_pylist()
  assert [row['clip_id'] for row in table] == ['one', 'two']
  assert table[0]['question'] == 'who throws 1'
  assert table[0]['answer'] == 'a man'


def test_what_was_not_answered_is_said_and_asked_again(
  call, server, flags, tmp_path, capsys
):
  server.script['2'] = ['hang']
  flags = [*flags, '--max_attempts=1']
  assert call('vidlm', [*flags, '--timeout=2']) == 1
  assert capsys.readouterr().out == (
    f'{tmp_path / "out"}: 1 of 2 accepted, 0 quarantined, 1 not answered: see '
    'records.jsonl; run again to ask for them\n'
  )
  assert [row['status'] for row in read_records(tmp_path)].count('failed') == 1
  server.bodies.clear()
  assert call('vidlm', flags) == 0
  assert capsys.readouterr().out.endswith('2 of 2 accepted, 0 quarantined\n')
  (body,) = server.bodies
  assert 'number 2 ' in body['messages'][0]['content']
  server.bodies.clear()
  assert call('vidlm', flags) == 0 and not server.bodies


def test_the_report_has_examples_of_each_end(
  call, server, flags, tmp_path, capsys
):
  server.script['2'] = ['chatter']
  assert call('vidlm', flags) == 0
  out = tmp_path / 'out'
  assert capsys.readouterr().out.splitlines() == [
    f'{out}: 1 of 2 accepted, 1 quarantined (chatter 1)',
    'accepted, 1 of 1:',
    '  one short: who throws 1 -> a man',
    'quarantined, chatter, 1 of 1:',
    "  two short: 'Question: who throws 2?\\nAnswer: a man\\n\\nLet me know if "
    "you need another one!'",
    f'the same in {out}/summary.json, every answer in records.jsonl',
  ]
  report = json.loads((out / 'summary.json').read_text())
  accepted, refused = (
    report['examples'][end] for end in ('accepted', 'chatter')
  )
  assert [row['clip_id'] for row in (*accepted, *refused)] == ['one', 'two']
  assert refused[0]['raw'].endswith('another one!')
  # Gone past by the next run, asked again by a flag.
  server.bodies.clear()
  assert call('vidlm', flags) == 0 and not server.bodies
  assert call('vidlm', [*flags, '--retry_quarantined']) == 0
  assert len(server.bodies) == 1
  assert capsys.readouterr().out.endswith('2 of 2 accepted, 0 quarantined\n')


def test_an_endpoint_that_refuses_is_one_line(call, server, flags, capsys):
  server.script['1'] = server.script['2'] = [401]
  assert call('vidlm', [*flags, '--concurrency=1']) == 2
  said = capsys.readouterr()
  assert 'Traceback' not in said.err
  line = said.err.splitlines()[-1]
  assert line.startswith('error: instruct stopped: ') and server.url in line


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    ('--caption_column=sentence', "has no column 'sentence'; it has video, "),
    ('--kinds=essay', "no prompt of kind 'essay'"),
    ('--draws_per_clip=0', 'draws_per_clip=0: need at least 1'),
    ('--concurrency=0', 'concurrency=0: need at least 1'),
    ('--limit=-1', 'limit=-1: need at least 1'),
    ('--max_attempts=0', 'max_attempts=0'),
    ('--base_url=localhost', 'is no address like'),
    ('--captions=/tmp', '/tmp: no such captions file'),
  ],
)
def test_a_mistake_is_one_line(call, server, flags, capsys, flag, message):
  assert call('vidlm', [*flags, flag]) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line.startswith('error: ') and message in line
  assert not server.bodies


@pytest.mark.parametrize(
  ('name', 'content'),
  [('a.csv', b'\xff\xfe\x00'), ('a.parquet', b'no'), ('a.jsonl', b'[1]\n')],
)
def test_a_damaged_file_is_named(call, flags, capsys, tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  assert call('vidlm', [*flags, f'--captions={tmp_path / name}']) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line.startswith('error: ') and str(tmp_path / name) in line
