"""The client against a real HTTP server that misbehaves by script."""

import contextlib
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

from vidlm.instruct import client, generate, records

_TEXT = 'Question: Who runs?\nAnswer: A dog.'


class _Server(http.server.ThreadingHTTPServer):
  """Plays one behaviour of `script` per request, then answers properly."""

  daemon_threads = True

  def __init__(self, script=(), delay: float = 0.0):
    super().__init__(('127.0.0.1', 0), _Handler)
    self.script = list(script)
    self.delay = delay
    self.bodies: list[dict] = []
    self.times: list[float] = []
    self.lock = threading.Lock()

  @property
  def url(self) -> str:
    return f'http://127.0.0.1:{self.server_port}/v1'

  def handle_error(self, request, client_address):
    pass  # Clients that hang up are part of the test.


class _Handler(http.server.BaseHTTPRequestHandler):
  def log_message(self, *unused):
    pass

  def _send(self, status: int, body: bytes, length=None, **headers: str):
    self.send_response(status)
    self.send_header('Content-Type', 'application/json')
    self.send_header('Content-Length', str(length or len(body)))
    for name, value in headers.items():
      self.send_header(name.replace('_', '-'), value)
    self.end_headers()
    self.wfile.write(body)

  def do_POST(self):
    size = int(self.headers['Content-Length'])
    body = json.loads(self.rfile.read(size))
    with self.server.lock:
      self.server.bodies.append(body)
      self.server.times.append(time.monotonic())
      act = self.server.script.pop(0) if self.server.script else None
    time.sleep(self.server.delay)
    proper = json.dumps(_answer(body, 'chat' in self.path)).encode()
    match act:
      case None:
        self._send(200, proper)
      case 'hang':
        time.sleep(2)
      case 'truncated body':
        self._send(200, proper[:40], length=len(proper))
        self.connection.close()
      case 'broken json':
        self._send(200, proper[:40])
      case int(status):
        self._send(status, b'{"error": {"message": "no"}}')
      case (int(status), retry_after):
        self._send(status, b'{}', Retry_After=retry_after)
      case bytes(raw):
        self._send(200, raw)


def _answer(body: dict, chat: bool, text: str = _TEXT) -> dict:
  choice = {'index': 0, 'finish_reason': 'stop'}
  if chat:
    choice['message'] = {'role': 'assistant', 'content': text}
  else:
    choice['text'] = text
  return {
    'id': 'x',
    'object': 'completion',
    'created': 0,
    'model': body['model'] + '-2026',
    'choices': [choice],
    'usage': {'total_tokens': 9, 'prompt_tokens': 5, 'completion_tokens': 4},
  }


@contextlib.contextmanager
def _serving(script=(), delay: float = 0.0):
  server = _Server(script, delay)
  thread = threading.Thread(target=server.serve_forever, args=(0.02,))
  thread.start()
  try:
    yield server
  finally:
    server.shutdown()
    thread.join()
    server.server_close()


def _completer(server: _Server, **options) -> client.OpenAICompleter:
  options = {'timeout': 0.5, 'max_wait': 0.05, **options}
  return client.OpenAICompleter(server.url, 'tiny', **options)


@pytest.mark.parametrize('mode', ['chat', 'completion'])
def test_proper_answer(mode: str):
  with _serving() as server:
    completion = _completer(server, mode=mode, seed=5).complete('Hello')
  assert completion == client.Completion(_TEXT, 'stop', 'tiny-2026', 9)
  body = server.bodies[0]
  sent = (
    body['prompt'] if mode == 'completion' else body['messages'][0]['content']
  )
  assert sent == 'Hello'
  assert body['max_tokens'] == 256
  assert body['seed'] == 5
  assert '\n(4)' in body['stop']
  assert len(body['stop']) <= 4


@pytest.mark.parametrize(
  'act',
  [
    'hang',
    'truncated body',
    'broken json',
    408,
    409,
    429,
    500,
    502,
    503,
    (429, '0'),
    (503, 'Wed, 21 Oct 2015 07:28:00 GMT'),
    (429, 'soon'),
    b'{}',
    b'{"choices": []}',
    b'{"choices": [{"index": 0}]}',
    b'[1, 2]',
    b'"hello"',
    b'null',
    b'<html>gateway</html>',
    b'{"choices": [{"message": {"content": 5}, "finish_reason": "stop"}]}',
    b'\xff\xfe{}',
    b'',
  ],
  ids=str,
)
def test_passing_trouble_is_retried(act):
  with _serving([act, act]) as server:
    completion = _completer(server).complete('Hello')
  assert completion.text == _TEXT
  assert len(server.bodies) == 3


def test_retries_are_bounded():
  with (
    _serving([500] * 50) as server,
    pytest.raises(client.EndpointError) as caught,
  ):
    _completer(server, max_attempts=4).complete('Hello')
  assert len(server.bodies) == 4
  assert not caught.value.fatal


@pytest.mark.parametrize(
  'status, fatal', [(400, False), (401, True), (404, True)]
)
def test_refusals_are_not_retried(status: int, fatal: bool):
  with (
    _serving([status] * 9) as server,
    pytest.raises(client.EndpointError) as caught,
  ):
    _completer(server).complete('Hello')
  assert len(server.bodies) == 1
  assert caught.value.fatal == fatal


def test_retry_after_is_waited_for():
  with _serving([(429, '1')]) as server:
    _completer(server, max_wait=5.0).complete('Hello')
  assert 1.0 <= server.times[1] - server.times[0] < 3


def test_empty_text_is_an_answer():
  empty = json.dumps(_answer({'model': 'm'}, True, '')).encode()
  null = empty.replace(b'"content": ""', b'"content": null')
  with _serving([empty, null]) as server:
    completer = _completer(server)
    assert completer.complete('Hello').text == ''
    assert completer.complete('Hello').text == ''
  assert len(server.bodies) == 2


def test_nobody_listens():
  with _serving() as server:
    completer = _completer(server, max_attempts=2)
  with pytest.raises(client.EndpointError, match='http://127'):
    completer.complete('Hello')


def test_bad_options():
  with pytest.raises(ValueError, match="mode is 'chat' or 'completion'"):
    client.OpenAICompleter('http://x/v1', 'm', mode='raw')
  with pytest.raises(ValueError, match='is no address like'):
    client.OpenAICompleter('localhost:8000', 'm')
  with pytest.raises(ValueError, match='at most four stop'):
    client.OpenAICompleter('http://x/v1', 'm', stop=tuple('abcde'))


def test_endpoint_hides_passwords():
  completer = client.OpenAICompleter('https://me:secret@host:1/v1?k=s', 'm')
  assert completer.endpoint == 'https://host:1/v1'


def _captions(count: int) -> list[records.Caption]:
  return [
    records.Caption(f'c{i}', f'A dog {i} runs.', 't') for i in range(count)
  ]


def test_run_through_all_troubles_pays_once(tmp_path):
  script = [
    'hang',
    500,
    (429, '0'),
    'broken json',
    'truncated body',
    b'{}',
    503,
  ]
  with _serving(script) as server:
    summary = generate.generate(
      captions=_captions(8),
      output=tmp_path,
      completer=_completer(server),
      concurrency=4,
    )
    assert summary['failed'] == 0
    assert summary['calls'] == 24
    assert len(server.bodies) == 24 + len(script)
    generate.generate(
      captions=_captions(8), output=tmp_path, completer=_completer(server)
    )
    assert len(server.bodies) == 24 + len(script)


_CHILD = """
import sys
from vidlm.instruct import client, generate
generate.generate(
  captions=[(f'c{i}', f'A dog {i} runs.', 't') for i in range(20)],
  output=sys.argv[1], concurrency=2,
  completer=client.OpenAICompleter(sys.argv[2], 'tiny'),
)
"""


def _start_child(folder: pathlib.Path, url: str) -> subprocess.Popen:
  root = pathlib.Path(__file__).parents[2]
  return subprocess.Popen(
    [sys.executable, '-c', _CHILD, str(folder), url],
    env={**os.environ, 'PYTHONPATH': str(root)},
  )


def test_killed_run_pays_again_only_for_what_was_in_flight(tmp_path):
  with _serving(delay=0.02) as server:
    generate.generate(
      captions=_captions(20),
      output=tmp_path / 'whole',
      completer=_completer(server),
    )
    once = len(server.bodies)
    for hits in (15, 35):
      child = _start_child(tmp_path / 'cut', server.url)
      deadline = time.monotonic() + 60
      while len(server.bodies) < once + hits and time.monotonic() < deadline:
        time.sleep(0.005)
      os.kill(child.pid, signal.SIGKILL)
      child.wait()
    log = tmp_path / 'cut/records.jsonl'
    log.write_bytes(log.read_bytes() + b'{"clip_id": "c1", "torn')
    assert not (tmp_path / 'cut/summary.json').exists()
    assert _start_child(tmp_path / 'cut', server.url).wait() == 0
    assert len(server.bodies) <= 2 * once + 2 * 2
  for name in ('instructions.parquet', 'summary.json'):
    whole = (tmp_path / 'whole' / name).read_bytes()
    assert (tmp_path / 'cut' / name).read_bytes() == whole
