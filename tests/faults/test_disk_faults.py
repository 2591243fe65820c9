"""Disks that are full, and folders that can't be written or vanish."""

import os
import resource
import shutil
import signal

import pytest

from vidlm.captions import caption
from vidlm.core import files
from vidlm.data.prepare import pipeline
from vidlm.data.store import clip_reader
from vidlm.data.video import decode_pool, sampling
from vidlm.instruct import calls, client, generate, records

SMALL = sampling.Sampling(size=32)


@pytest.fixture
def full_disk():
  """While it lasts, no file grows beyond so many bytes."""
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

  def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

  yield limit
  resource.setrlimit(resource.RLIMIT_FSIZE, before)
  signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def room(full_disk):
  return lambda: full_disk(resource.RLIM_INFINITY)


@pytest.fixture
def films(videos, tmp_path):
  root = tmp_path / 'films'
  root.mkdir()
  for number in range(3):
    videos.write(root / f'{number}.mp4', num_frames=20)
  return str(root)


def prepare(films, output, workers=0):
  return pipeline.prepare_folder(
    films,
    str(output),
    sampling=SMALL,
    layout=pipeline.Layout(clips_per_shard=2),
    work=pipeline.Work(workers=workers),
  )


def one_line(error):
  text = str(error.value)
  assert '\n' not in text and len(text) < 1000, text
  return text


def test_09_full_disk_while_a_clip_set_is_written(
  films, tmp_path, hashes, full_disk, room
):
  prepare(films, tmp_path / 'whole')
  wanted = hashes(tmp_path / 'whole')
  for size in (200, 2000, 6000):
    full_disk(size)
    with pytest.raises((ValueError, OSError)) as error:
      prepare(films, tmp_path / 'out')
    room()
    assert 'File too large' in one_line(error) or 'room' in one_line(error)
    assert not clip_reader.splits(str(tmp_path / 'out'))
  prepare(films, tmp_path / 'out')
  assert hashes(tmp_path / 'out') == wanted


def test_09_full_disk_while_captions_are_written(
  fakes, lines, tmp_path, hashes, full_disk, room
):
  def run(output):
    caption.caption_source(
      fakes.FakeCaptioner(),
      fakes.FolderOfLines(lines),
      str(tmp_path / output),
      caption.Run(process_index=0, process_count=1),
    )

  run('whole')
  full_disk(3000)
  with pytest.raises(ValueError) as error:
    run('out')
  room()
  assert 'no room' in one_line(error) and 'captions-0000' in one_line(error)
  assert not files.partials(tmp_path / 'out')
  run('out')
  assert hashes(tmp_path / 'out') == hashes(tmp_path / 'whole')


class Answers:
  """A language model that says the same, and counts what is paid for."""

  model = 'fake'

  def __init__(self):
    self.calls = 0

  def complete(self, prompt):
    self.calls += 1
    return client.Completion(
      'Question: Who runs?\nAnswer: A dog.', 'stop', 'fake', 9
    )


def test_09_full_disk_while_answers_are_logged(tmp_path, full_disk, room):
  def run(output, model):
    return generate.generate(
      captions=[
        records.Caption(f'c{i}', f'A dog {i} runs.', 't') for i in range(6)
      ],
      output=tmp_path / output,
      completer=model,
      draws=calls.Draws(kinds=('short',)),
      concurrency=1,
    )

  whole = Answers()
  run('whole', whole)
  first, second = Answers(), Answers()
  full_disk(2500)
  with pytest.raises((ValueError, OSError)) as error:
    run('out', first)
  room()
  one_line(error)
  run('out', second)
  # All but the one that the disk had no room for is paid for once.
  assert whole.calls <= first.calls + second.calls <= whole.calls + 1
  for name in ('instructions.parquet', 'summary.json'):
    assert (tmp_path / 'out' / name).read_bytes() == (
      tmp_path / 'whole' / name
    ).read_bytes()


@pytest.mark.parametrize('command', ['prepare', 'caption', 'instruct'])
def test_10_an_output_that_can_not_be_made(
  films, fakes, lines, tmp_path, command
):
  """Below a file, as read-only as it gets, for root too."""
  (tmp_path / 'file').write_text('')
  output = tmp_path / 'file' / 'out'
  with pytest.raises((ValueError, OSError)) as error:
    if command == 'prepare':
      prepare(films, output)
    elif command == 'caption':
      caption.caption_source(
        fakes.FakeCaptioner(), fakes.FolderOfLines(lines), str(output)
      )
    else:
      generate.generate(
        captions=[('c', 'A dog runs.', '')],
        output=output,
        completer=Answers(),
      )
  assert str(tmp_path / 'file') in one_line(error)


def test_10_the_output_of_captions_vanishes(fakes, lines, tmp_path):
  output = tmp_path / 'out'

  class Model(fakes.FakeCaptioner):
    def submit(self, *args):
      if len(self.batches) == 3:
        shutil.rmtree(output)
      return super().submit(*args)

  with pytest.raises(ValueError) as error:
    caption.caption_source(
      Model(),
      fakes.FolderOfLines(lines),
      str(output),
      caption.Run(process_index=0, process_count=1),
    )
  assert 'cannot be written' in one_line(error)
  assert not output.exists()


def test_10_the_output_of_prepare_vanishes(films, tmp_path, monkeypatch):
  output = tmp_path / 'out'
  real = decode_pool.decode_worker.decode

  def decode(task):
    if os.path.basename(task.path) == '2.mp4':
      shutil.rmtree(output)
    return real(task)

  monkeypatch.setattr(decode_pool.decode_worker, 'decode', decode)
  with pytest.raises((ValueError, OSError)) as error:
    prepare(films, output)
  assert str(output) in one_line(error)
  assert not list(tmp_path.rglob('dataset_info.json'))
