"""Whose fault a refusal is: the prompt's, or the endpoint's."""

import dataclasses
import threading

from vidlm.instruct import asking, calls, generate
from vidlm.instruct.client import Completion, EndpointError

_CAPTIONS = [(f'long{i}', f'LONG {i}.', '') for i in range(30)]
_CAPTIONS.append(('last', 'A man throws a ball.', ''))


@dataclasses.dataclass
class _Fake:
  """Refuses prompts about LONG captions; counts what it is asked."""

  model: str = 'fake'
  refuses: bool = True
  text: str = 'Question: who throws it?\nAnswer: A man does.'
  asked: int = 0
  examples: int = 0
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

  def complete(self, prompt: str) -> Completion:
    told = prompt.rsplit('Captions:', 1)[1]
    with self.lock:
      self.asked += 1
      self.examples += 'baby girl' in told
    if self.refuses and 'LONG' in told:
      raise EndpointError('no', fault='prompt_too_long')
    return Completion(self.text, 'stop', 'm')


def _run(folder, fake, concurrency=1, **options):
  return generate.generate(
    captions=_CAPTIONS,
    output=folder,
    completer=fake,
    draws=calls.Draws(kinds=('causal',), retries=0),
    concurrency=concurrency,
    **options,
  )


def test_refused_prompts_are_quarantined_however_many(tmp_path):
  """Thirty in a row, before anything was answered: the fault is theirs."""
  fake = _Fake()
  report = _run(tmp_path, fake)
  assert report['reasons'] == {'prompt_too_long': 30}
  assert (report['accepted'], report['failed']) == (1, 0)
  # Few are asked that are known to be good.
  assert 1 <= fake.examples <= 30 // asking.MAX_DOUBTS + 1
  shown = report['examples']
  assert [one['clip_id'] for one in shown['prompt_too_long']] == [
    'long0', 'long1', 'long2',
  ]  # fmt: skip
  assert shown['prompt_too_long'][0]['raw'] == 'no'
  assert [one['clip_id'] for one in shown['accepted']] == ['last']
  # The next run goes past them; asked to, it tries them again.
  idle = _Fake()
  assert _run(tmp_path, idle) == report and idle.asked == 0
  healed = _Fake(refuses=False)
  again = _run(tmp_path, healed, retry_quarantined=True)
  assert healed.asked == 30 and again['accepted'] == 31
  assert _run(tmp_path, idle) == again and idle.asked == 0


def test_the_report_is_the_same_however_many_at_a_time(tmp_path):
  one = _run(tmp_path / 'one', _Fake())
  assert _run(tmp_path / 'many', _Fake(), concurrency=8) == one


def test_a_reply_without_content_is_the_prompts(tmp_path):
  report = _run(tmp_path, _Fake(refuses=False, text=''))
  assert report['reasons'] == {'empty': 31} and report['failed'] == 0
