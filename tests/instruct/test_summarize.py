"""One caption out of those of the frames: resumable, a caption set at last."""

import dataclasses
import threading

import pytest

from vidlm.captions import verify
from vidlm.core import files
from vidlm.data.store import caption_sets as captions_lib
from vidlm.instruct import client, parse, summarize
from vidlm.instruct.client import Completion


@dataclasses.dataclass
class _Fake:
  """Repeats the first line it is told; counts calls; stops on demand."""

  model: str = 'fake'
  calls: int = 0
  stop_after: int = 10**9
  lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

  def complete(self, prompt: str) -> Completion:
    with self.lock:
      self.calls += 1
      calls = self.calls
    if calls > self.stop_after:
      raise client.EndpointError('gone', fatal=True)
    first = prompt.split('(1) ')[1].splitlines()[0]
    if first == 'nothing':
      return Completion('', 'stop', 'm')
    return Completion(f'Summary: "{first}, then more."\n\nNext', 'stop', 'm')


@pytest.fixture
def frames(tmp_path):
  """A set of four clips with three captions each; one failed."""
  folder = tmp_path / 'frames'
  folder.mkdir()
  config = {'num_samples': 3}
  rows = [
    captions_lib.CaptionRow(
      f'c{i}', f'v{i}.mp4', 0.0, 4.0, [text, 'a dog', 'a\ncat'],
      [-1.0] * 3, [4] * 3,
    )
    for i, text in enumerate(['a man', 'nothing', 'a boy'])
  ]  # fmt: skip
  rows.append(
    captions_lib.CaptionRow('c3', 'v3.mp4', status='failed', error='corrupt')
  )
  path = folder / captions_lib.file_name(0, 1)
  info = captions_lib.FileInfo(
    captions_lib.config_hash(config), config, 'digest', 'image'
  )
  captions_lib.write_file(path, rows, info)
  files.write_bytes(
    folder / captions_lib.MANIFEST,
    captions_lib.manifest_bytes(config, [captions_lib.describe_file(path)]),
  )
  return str(folder)


def run(frames, output, fake=None, **options):
  return summarize.summarize(
    captions=frames, output=str(output), completer=fake or _Fake(), **options
  )


def test_a_caption_set_comes_out(frames, tmp_path):
  output = tmp_path / 'out'
  report = run(frames, output)
  assert (report['clips'], report['ok'], report['failed']) == (4, 2, 2)
  assert report['reasons'] == {'corrupt': 1, 'rejected: empty': 1}
  assert verify.verify(str(output)).ok
  rows = captions_lib.read_captions(output).to_pylist()
  assert [row['clip_id'] for row in rows] == ['c0', 'c1', 'c2', 'c3']
  assert rows[0]['captions'] == ['a man, then more.']
  assert rows[0]['video'] == 'v0.mp4' and rows[0]['end'] == 4.0
  assert rows[0]['model'] == 'summary-fake'


def test_frames_are_told_in_order():
  text = summarize.numbered(['a man', 'a\n dog'])
  assert text == '(1) a man\n(2) a dog'


def test_finished_run_costs_nothing(frames, tmp_path):
  output = tmp_path / 'out'
  first = _Fake()
  run(frames, output, first)
  assert first.calls == 4  # the rejected one twice
  data = (output / 'manifest.json').read_bytes()
  again = _Fake()
  run(frames, output, again)
  assert again.calls == 0
  assert (output / 'manifest.json').read_bytes() == data


def test_interrupted_run_goes_on(frames, tmp_path):
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  run(frames, whole)
  with pytest.raises(client.EndpointError, match='run again'):
    run(frames, parts, _Fake(stop_after=1), concurrency=1)
  assert not (parts / 'manifest.json').exists()
  rest = _Fake()
  run(frames, parts, rest)
  assert rest.calls == 3
  for name in ('manifest.json', captions_lib.file_name(0, 1)):
    assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_bad_calls(frames, tmp_path):
  with pytest.raises(FileNotFoundError, match=r'no manifest\.json'):
    run(str(tmp_path), tmp_path / 'out')


@pytest.mark.parametrize(
  ('text', 'finish', 'summary', 'reason'),
  [
    ('A man runs.', 'stop', 'A man runs.', None),
    ('**Video:** a man\nruns ', 'stop', 'a man runs', None),
    ('Here it is:\n\n"A man runs."\n\nDone', 'stop', 'A man runs.', None),
    ('<think>hm</think>A man runs.', 'stop', 'A man runs.', None),
    ('', 'stop', '', parse.Reject.EMPTY),
    ('A man runs and', 'length', 'A man runs and', parse.Reject.TRUNCATED),
    ('A man runs.', 'length', 'A man runs.', None),
    ("I'm sorry, I cannot see", 'stop', '', parse.Reject.REFUSAL),
    ('The first frame shows a man.', 'stop', 'The first frame shows a man.',
     parse.Reject.LEAK),
    ('A man hangs a frame.', 'stop', 'A man hangs a frame.', None),
    ('A man.', 'content_filter', '', parse.Reject.REFUSAL),
  ],
)  # fmt: skip
def test_parse_summary(text, finish, summary, reason):
  parsed = summarize.parse_summary(text, finish)
  assert (parsed.answer, parsed.reject_reason) == (summary, reason)
