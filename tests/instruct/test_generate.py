"""Whole runs: counts, order, resuming, with completers of known answers."""

import dataclasses
import json
import threading

import filelock
import pyarrow.parquet as pq
import pytest

from vidlm.instruct import calls, client, generate, records
from vidlm.instruct.client import Completion, EndpointError

_CAPTIONS = [
  records.Caption(f'clip{i}', f'A man number {i} throws ball {i}.', 'test')
  for i in range(6)
]


@dataclasses.dataclass
class _Fake:
  """Answers by the caption's number; counts calls; fails on demand."""

  model: str = 'fake'
  calls: int = 0
  fail: bool = False
  fail_for: tuple[str, ...] = ()
  fatal: bool = False
  stop_after: int = 10**9
  prompts: list = dataclasses.field(default_factory=list)
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

  def complete(self, prompt: str) -> Completion:
    with self.lock:
      self.calls += 1
      self.prompts.append(prompt)
      calls = self.calls
    told = prompt.rsplit('Captions:', 1)[1]
    if any(word in told for word in self.fail_for):
      raise EndpointError('no')
    if self.fail or calls > self.stop_after:
      raise EndpointError('gone', fatal=self.fatal)
    number = int(prompt.rsplit('number ', 1)[1].split()[0])
    if number == 5:
      return Completion(
        'Question: who\nAnswer: what does the caption', 'stop', 'm'
      )
    short = 'less than three words' in prompt
    # The examples change with the attempt: a retry may pass.
    if number == 4 and 'backflip' not in prompt:
      return Completion('', 'stop', 'm')
    answer = 'a man' if short else f'Man {number} does it.'
    return Completion(
      f'Question: {len(prompt)} who throws {number}?\nAnswer: {answer}',
      'stop',
      'fake-2026',
      tokens=10,
    )


def _run(
  folder,
  fake: client.Completer | None = None,
  concurrency: int = 8,
  limit: int | None = None,
  **draws,
):
  return generate.generate(
    captions=_CAPTIONS,
    output=folder,
    completer=fake or _Fake(),
    draws=calls.Draws(**draws),
    concurrency=concurrency,
    limit=limit,
  )


def _files(folder) -> tuple[bytes, bytes]:
  return (
    (folder / 'instructions.parquet').read_bytes(),
    (folder / 'summary.json').read_bytes(),
  )


def _records(folder) -> list[dict]:
  text = (folder / 'records.jsonl').read_text('utf-8')
  return [json.loads(line) for line in text.splitlines()]


def test_counts_and_records(tmp_path):
  fake = _Fake()
  summary = _run(tmp_path, fake, retries=0)
  assert summary['draws'] == summary['calls'] == fake.calls == 18
  assert summary['accepted'] + summary['quarantined'] == 18
  assert summary['reasons']['leak'] == 3
  assert summary['kinds']['short']['draws'] == 6
  assert json.loads((tmp_path / 'summary.json').read_text()) == summary
  rows = _records(tmp_path)
  assert len(rows) == 18
  quarantined = [row for row in rows if row['status'] == 'quarantined']
  assert len(quarantined) == summary['quarantined']
  assert all(row['reject_reason'] for row in quarantined)
  row = next(
    r for r in rows if r['clip_id'] == 'clip0' and r['kind'] == 'short'
  )
  assert row['llm'], row['llm_reported'] == ('fake', 'fake-2026')
  assert row['endpoint'].endswith('_Fake')
  assert row['raw'].startswith('Question: ')
  assert row['question'].endswith('who throws 0')
  assert row['source'] == 'test'
  assert len(row['fewshot_ids']) == 2
  assert len(row['prompt_sha']) == 64


def test_instructions_are_in_the_captions_order(tmp_path):
  _run(tmp_path, draws_per_clip=2, concurrency=5)
  table = pq.read_table(tmp_path / 'instructions.parquet').to_pylist()
  kinds = ['temporal', 'causal', 'short']
  order = [(row['clip_id'], kinds.index(row['kind'])) for row in table]
  assert order == sorted(order)
  assert 'clip5' not in {row['clip_id'] for row in table}


@pytest.mark.parametrize('concurrency', [2, 16])
def test_concurrency_changes_nothing(tmp_path, concurrency: int):
  _run(tmp_path / 'one', concurrency=1)
  _run(tmp_path / 'many', concurrency=concurrency)
  assert _files(tmp_path / 'one') == _files(tmp_path / 'many')


def test_rejected_draws_are_asked_again_with_other_examples(tmp_path):
  fake = _Fake()
  summary = _run(tmp_path, fake, kinds=('causal',), retries=5)
  assert summary['reasons'] == {'leak': 1}
  assert summary['accepted'] == 5
  assert len(set(fake.prompts)) == len(fake.prompts) == summary['calls']
  attempts = [
    r['attempt'] for r in _records(tmp_path) if r['clip_id'] == 'clip5'
  ]
  assert attempts == [0, 1, 2, 3, 4, 5]


def test_finished_run_costs_nothing(tmp_path):
  _run(tmp_path)
  before = _files(tmp_path)
  again = _Fake(fail=True)
  _run(tmp_path, again)
  assert again.calls == 0
  assert _files(tmp_path) == before


def test_growing_run_pays_for_the_rest_only(tmp_path):
  small = _run(tmp_path, limit=2, kinds=('short',))
  fake = _Fake()
  summary = _run(tmp_path, fake)
  assert fake.calls == summary['calls'] - small['calls']
  _run(tmp_path / 'fresh')
  assert _files(tmp_path) == _files(tmp_path / 'fresh')


def test_another_model_or_caption_is_another_call(tmp_path):
  _run(tmp_path, retries=0)
  other = _Fake(model='other')
  _run(tmp_path, other, retries=0)
  assert other.calls == 18
  changed = _Fake()
  generate.generate(
    captions=[('clip0', 'A man number 0 is gone.', 'test')],
    output=tmp_path,
    completer=changed,
    draws=calls.Draws(retries=0),
  )
  assert changed.calls == 3


def test_interrupted_run_goes_on(tmp_path):
  _run(tmp_path / 'whole')
  with pytest.raises(EndpointError, match='instruct stopped: gone'):
    _run(tmp_path / 'cut', _Fake(stop_after=7, fatal=True), concurrency=3)
  assert sum(r['status'] != 'failed' for r in _records(tmp_path / 'cut')) == 7
  assert not (tmp_path / 'cut/summary.json').exists()
  fake = _Fake()
  summary = _run(tmp_path / 'cut', fake)
  assert fake.calls == summary['calls'] - 7
  assert _files(tmp_path / 'cut') == _files(tmp_path / 'whole')


def test_failed_calls_are_counted_and_asked_again(tmp_path):
  summary = _run(tmp_path, _Fake(fail_for=('number 0 ', 'number 2 ')), limit=3)
  assert summary['failed'] == 6
  assert summary['calls'] == summary['accepted'] == 3
  failed = [row for row in _records(tmp_path) if row['status'] == 'failed']
  assert {row['clip_id'] for row in failed} == {'clip0', 'clip2'}
  fake = _Fake()
  assert _run(tmp_path, fake, limit=3)['failed'] == 0
  assert fake.calls >= 6


def test_retrying_leaves_alone_what_was_accepted(tmp_path):
  first = _run(tmp_path, retries=5)
  fake = _Fake()
  generate.generate(
    captions=_CAPTIONS,
    output=tmp_path,
    completer=fake,
    draws=calls.Draws(retries=5),
    retry_quarantined=True,
  )
  numbers = {
    prompt.rsplit('number ', 1)[1].split()[0] for prompt in fake.prompts
  }
  assert numbers == {'5'} and first['quarantined'] == 3


def test_dead_endpoint_stops_the_run(tmp_path):
  fake = _Fake(fail=True)
  with pytest.raises(EndpointError, match='run again to go on'):
    generate.generate(
      captions=[(f'c{i}', f'number {i} ', '') for i in range(50)],
      output=tmp_path,
      completer=fake,
      concurrency=2,
    )
  assert fake.calls <= generate.MAX_FAILURES + 2


def test_duplicates_are_found_in_a_fixed_order(tmp_path):
  class Same(_Fake):
    def complete(self, prompt: str) -> Completion:
      super().complete(prompt)
      return Completion('Question: Who?\nAnswer: A man.', 'stop', 'm')

  one = _run(tmp_path / 'one', Same(), draws_per_clip=2, concurrency=1)
  many = _run(tmp_path / 'many', Same(), draws_per_clip=2, concurrency=8)
  # 'Who?' of the long kinds and 'who' of the short one: the first of each.
  assert one == many
  assert one['accepted'] == 12
  assert one['reasons'] == {'duplicate': 24}
  assert _files(tmp_path / 'one') == _files(tmp_path / 'many')


def test_repeated_captions_are_asked_about_once(tmp_path):
  fake = _Fake()
  generate.generate(
    captions=[_CAPTIONS[0], _CAPTIONS[0]], output=tmp_path, completer=fake
  )
  assert fake.calls == 3


def test_bad_calls(tmp_path):
  with pytest.raises(ValueError, match='there are no captions'):
    generate.generate(captions=[], output=tmp_path, completer=_Fake())
  with pytest.raises(ValueError, match="no prompt of kind 'essay'"):
    _run(tmp_path, kinds=('essay',))
  with pytest.raises(ValueError, match='more than the 6 ways to draw'):
    _run(tmp_path, draws_per_clip=4)
  with (
    filelock.FileLock(tmp_path / '.lock'),
    pytest.raises(ValueError, match='another `vidlm instruct` is writing'),
  ):
    _run(tmp_path)
