"""A chat server on loopback that is as public servers are, by modes."""

import contextlib
import http.server
import json
import threading
import time

import pytest

PAIR = 'Question: What does the man do next?\nAnswer: He stirs them in the pan.'


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


@pytest.fixture
def serving():
  """Starts servers of a mode, as contexts."""
  return _serving
