"""Servers that misbehave, processes with uneven shards, predictions' ids."""

import contextlib
import http.server
import itertools
import json
import threading
import time

import numpy as np
import pytest

from vidlm.evals import file_scores
from vidlm.instruct import calls, client, generate, records

CAPTIONS = [records.Caption(f'c{i}', f'A dog {i} runs.', 't') for i in range(8)]
GOOD = 'Question: Who runs?\nAnswer: A dog.'
# What comes in place of a good answer, for so many requests.
TROUBLE = (
  (429, b'{}', 2),
  (500, b'{"error": {"message": "no"}}', 2),
  (None, b'', 1),  # says nothing
  (200, b'{"id": "x", "choices": [{"ind', 2),  # half of it
  (200, b'', 1),
  (200, b'{"choices": [{"message": {"content": 5}}]}', 1),
)
# Whole answers of no use: quarantined, and never paid for again.
USELESS = ("I'm sorry, I can't help with that.", '<think>' + 'hmm ' * 300)


class Handler(http.server.BaseHTTPRequestHandler):
  """Plays the server's script, a request an entry; then the useless ones."""

  def log_message(self, *unused):
    pass

  def do_POST(self):
    body = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
    server = self.server
    with server.lock:
      server.times.append(time.monotonic())
      status, raw = server.script.pop(0) if server.script else (200, None)
    if status is None:
      time.sleep(2)
    if raw is None:
      text = body['messages'][0]['content']
      number = int(text.rsplit('A dog ', 1)[1].split()[0])
      raw = _answer(USELESS[number] if number < len(USELESS) else GOOD)
    with contextlib.suppress(OSError):  # who waited for nothing has left
      self.send_response(status or 200)
      self.send_header('Content-Type', 'application/json')
      self.send_header('Content-Length', str(len(raw)))
      self.end_headers()
      self.wfile.write(raw)


def _answer(text):
  choice = {
    'index': 0,
    'finish_reason': 'length' if '<think>' in text else 'stop',
    'message': {'role': 'assistant', 'content': text},
  }
  return json.dumps(
    {'id': 'x', 'object': 'c', 'created': 0, 'model': 'm', 'choices': [choice]}
  ).encode()


@pytest.fixture
def server():
  made = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
  made.daemon_threads = True
  made.lock, made.times = threading.Lock(), []
  made.script = [(s, raw) for s, raw, n in TROUBLE for _ in range(n)]
  thread = threading.Thread(target=made.serve_forever, args=(0.02,))
  thread.start()
  yield made
  made.shutdown()
  thread.join()
  made.server_close()


def ask(server, output, **options):
  # More attempts than there is trouble: which prompt meets it is chance.
  options = {'timeout': 0.5, 'max_wait': 0.2, 'max_attempts': 20, **options}
  url = f'http://127.0.0.1:{server.server_port}/v1'
  return generate.generate(
    captions=CAPTIONS,
    output=output,
    completer=client.OpenAICompleter(url, 'tiny', **options),
    draws=calls.Draws(kinds=('causal',), retries=0),
    concurrency=2,
  )


def test_19_a_server_of_all_troubles(server, tmp_path):
  trouble = len(server.script)
  summary = ask(server, tmp_path)
  assert len(server.times) == 8 + trouble
  assert summary['failed'] == 0 and summary['calls'] == 8
  assert summary['accepted'] + summary['quarantined'] == 8
  rows = map(json.loads, (tmp_path / 'records.jsonl').read_text().splitlines())
  quarantined = {r['clip_id']: r for r in rows if r['status'] == 'quarantined'}
  assert {'c0', 'c1'} <= set(quarantined)
  assert all(row['raw'] for row in quarantined.values())
  ask(server, tmp_path)
  assert len(server.times) == 8 + trouble  # nothing is paid for twice


def test_19_retries_are_bounded_and_spread(server, tmp_path):
  server.script = [(500, b'{}')] * 1000
  with contextlib.suppress(client.EndpointError):
    ask(server, tmp_path, max_attempts=3, max_wait=0.05)
  # Those of a known-good prompt too, by which a dead endpoint is told.
  assert len(server.times) <= 3 * (len(CAPTIONS) + 1)
  assert len({round(b - a, 4) for a, b in itertools.pairwise(server.times)}) > 3


@pytest.mark.parametrize('count', [4, 5, 7, 13])
@pytest.mark.parametrize('processes', [2, 3])
def test_22_uneven_shards(module, monkeypatch, count, processes):
  """What processes have differs by a row; their number of steps does not."""
  helpers = module('data/feed/test_validation.py')
  make = helpers.read._get_wrapped_function()(monkeypatch)
  found = [list(own.batches()) for own in make(count, 6, processes)]
  assert len({len(own) for own in found}) == 1
  seen = np.concatenate([ids for own in found for ids, _ in own])
  assert sorted(seen[seen >= 0]) == list(range(count))


@pytest.mark.parametrize(
  ('said', 'ids'),
  [
    ({'a': 'x'}, ['b']),
    ({'a': 'x', 'b': 'y', 'c': 'z'}, ['c']),
    ('[{"id": "a", "answer": "x"}, {"id": "a", "answer": "y"}, '
     '{"id": "b", "answer": "z"}]', ['a']),
    ({'z': 'x', 'c': 'y'}, ['a', 'b']),
  ],
  ids=['missing', 'extra', 'twice', 'others'],
)  # fmt: skip
def test_25_ids_that_do_not_match_are_not_scored(tmp_path, said, ids):
  path, truth = tmp_path / 'p.json', tmp_path / 't.json'
  path.write_text(said if isinstance(said, str) else json.dumps(said))
  truth.write_text(json.dumps({'a': 'one', 'b': 'two'}))
  output = tmp_path / 'scores.json'
  with pytest.raises(ValueError) as error:
    file_scores.evaluate_file(
      predictions=str(path),
      task='answers',
      annotations=[str(truth)],
      output=str(output),
    )
  assert all(repr(name) in str(error.value) for name in ids), error.value
  assert not output.exists()
