"""What may happen to a caption set's inputs, settings and files."""

import os
import random
import shutil
import time

import pyarrow.parquet as pq
import pytest

from vidlm.captions import caption, folder, verify
from vidlm.data.prepare import pipeline
from vidlm.data.store import caption_rows, caption_sets


@pytest.fixture
def run(fakes, lines, tmp_path):
  """Captions `lines` with the fake model; `model` are its options."""

  def caption_lines(output='out', model=(), source=None, **options):
    return caption.caption_source(
      fakes.FakeCaptioner(**dict(model)),
      source or fakes.FolderOfLines(lines),
      str(tmp_path / output),
      caption.Run(**{'process_index': 0, 'process_count': 1, **options}),
    )

  return caption_lines


def by_id(output):
  return {
    row['clip_id']: row
    for row in caption_sets.read_captions(output).to_pylist()
  }


def test_15_a_clip_given_twice_is_refused_or_named(run, fakes, lines, tmp_path):
  """A shard twice: what `verify` finds in the set it makes."""
  shutil.copy(lines / '1.txt', lines / '1b.txt')
  run()
  report = verify.verify(str(tmp_path / 'out'))
  assert report.clips == 24
  doubled = [str(p) for p in report.problems if 'is also in' in str(p)]
  assert len(doubled) == 4 and "'clip-1-0'" in doubled[0]


def test_15_overlapping_folders_give_one_row_a_file(fakes, videos, tmp_path):
  """A link to a folder of its own, and the same file under two names."""
  films = tmp_path / 'films'
  (films / 'sub').mkdir(parents=True)
  videos.write(films / 'sub' / 'a.mp4', num_frames=10)
  (films / 'again').symlink_to(films / 'sub')
  (films / 'b.mp4').symlink_to(films / 'sub' / 'a.mp4')
  summary = caption.caption(
    captioner=fakes.FakeCaptioner(),
    output=str(tmp_path / 'out'),
    videos=str(films),
    workers=0,
    run=caption.Run(process_index=0, process_count=1),
  )
  rows = by_id(tmp_path / 'out')
  assert summary.clips == summary.ok + summary.failed == len(rows)
  assert {'sub/a', 'b'} >= set(rows) >= {'sub/a'}


def test_16_a_replaced_input_is_done_again(run, lines, tmp_path):
  """Same name, same size, same time: the bytes count."""
  run()
  before = by_id(tmp_path / 'out')
  file = lines / '1.txt'
  times = file.stat()
  file.write_text(file.read_text().replace('clip-1-2', 'clip-1-X'))
  os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
  assert file.stat().st_size == times.st_size
  assert run().new_files == 1
  after = by_id(tmp_path / 'out')
  assert before.keys() ^ after.keys() == {'clip-1-2', 'clip-1-X'}


@pytest.mark.parametrize(
  'change', [{'prompt': 'What?'}, {'num_samples': 2}, {'weights': 'other'}]
)
def test_17_other_settings_are_refused(
  run, fakes, lines, tmp_path, hashes, change
):
  run()
  before = hashes(tmp_path / 'out')
  name, value = next(iter(change.items()))

  class Other(fakes.FakeCaptioner):
    def identity(self):
      return {**super().identity(), name: value}

  with pytest.raises(ValueError, match=f'is another set .*{name}: '):
    caption.caption_source(
      Other(),
      fakes.FolderOfLines(lines),
      str(tmp_path / 'out'),
      caption.Run(process_index=0, process_count=1),
    )
  assert hashes(tmp_path / 'out') == before


@pytest.fixture
def jumping_clock(monkeypatch):
  """The clock of the machine goes an hour back or forth at every look."""
  rng, real = random.Random(20), time.time
  monkeypatch.setattr(time, 'time', lambda: real() + rng.uniform(-3600, 3600))


@pytest.fixture
def shuffled_listings(monkeypatch):
  """Folders list their files in another order each time."""
  rng, scandir, listdir = random.Random(21), os.scandir, os.listdir

  class Scan:
    def __init__(self, found):
      self.found = iter(found)

    def __iter__(self):
      return self

    def __next__(self):
      return next(self.found)

    def __enter__(self):
      return self

    def __exit__(self, *_):
      pass

    def close(self):
      pass

  def shuffle(found):
    rng.shuffle(found)
    return found

  def scan(*args):
    with scandir(*args) as entries:
      return Scan(shuffle(list(entries)))

  monkeypatch.setattr(os, 'scandir', scan)
  monkeypatch.setattr(os, 'listdir', lambda *a: shuffle(listdir(*a)))


@pytest.fixture
def films(videos, tmp_path):
  root = tmp_path / 'films'
  for number in range(5):
    (root / f'd{number % 2}').mkdir(parents=True, exist_ok=True)
    videos.write(
      root / f'd{number % 2}' / f'{number}.mp4', num_frames=5 + number
    )
  return root


def _prepare(films, output):
  pipeline.prepare_folder(
    str(films),
    str(output),
    layout=pipeline.Layout(clips_per_shard=2),
    work=pipeline.Work(workers=0),
  )


def _caption(films, output, fakes):
  caption.caption(
    captioner=fakes.FakeCaptioner(),
    output=str(output),
    videos=str(films),
    cutting=folder.Cutting('whole', videos_per_file=2),
    workers=0,
    run=caption.Run(process_index=0, process_count=1),
  )


def test_20_neither_clock_nor_listing_matter(
  films, tmp_path, fakes, hashes, request
):
  def make(name):
    _prepare(films, tmp_path / f'set-{name}')
    _caption(films, tmp_path / f'captions-{name}', fakes)
    own = hashes(tmp_path / f'set-{name}')
    own.pop('.lock', None)
    return own, hashes(tmp_path / f'captions-{name}')

  before = make('plain')
  assert len(before[0]) > 3 and len(before[1]) == 5
  request.getfixturevalue('jumping_clock')
  request.getfixturevalue('shuffled_listings')
  for number in range(3):
    assert make(f'odd{number}') == before


def test_21_a_silent_process_is_named(run):
  began = time.monotonic()
  with pytest.raises(
    ValueError, match=r'00001-of-00005\.parquet \(process 1\) after 0.3 s'
  ):
    run(process_index=0, process_count=2, wait_seconds=0.3)
  assert time.monotonic() - began < 20


def test_23_neighbours_and_processes_do_not_matter(run, tmp_path, hashes):
  run('one')
  wanted = by_id(tmp_path / 'one')
  for size in (1, 3, 16):
    run(f'size{size}', {'batch_size': size})
    assert by_id(tmp_path / f'size{size}') == wanted
  for index in (2, 1, 0):
    run('three', process_index=index, process_count=3, wait_seconds=1.0)
  assert hashes(tmp_path / 'three') == hashes(tmp_path / 'one')


def test_24_a_damaged_row_group_is_named_and_made_again(
  run, fakes, tmp_path, hashes
):
  """Of 600 rows in three groups, the second is damaged."""
  clips = tmp_path / 'many'
  clips.mkdir()
  for name in 'ab':
    text = '\n'.join(f'{name}-{i}' for i in range(600))
    (clips / f'{name}.txt').write_text(text)
  many = lambda: fakes.FolderOfLines(clips)
  run(source=many())
  before = hashes(tmp_path / 'out')
  path = tmp_path / 'out' / caption_sets.file_name(1, 2)
  other = tmp_path / 'out' / caption_sets.file_name(0, 2)
  kept = other.stat().st_mtime_ns
  column = pq.ParquetFile(path).metadata.row_group(1).column(0)
  with path.open('r+b') as file:
    file.seek(column.data_page_offset + column.total_compressed_size // 2)
    file.write(b'\xff\x00\xff')
  problems = [str(p) for p in verify.verify(str(tmp_path / 'out')).problems]
  assert all(problem.startswith(path.name) for problem in problems)
  assert any('row 256: damaged up to row 511' in p for p in problems)
  assert len(list(caption_rows.iter_row_groups(path))) == 3
  assert verify.repair(str(tmp_path / 'out')) == [path.name]
  assert run(source=many()).new_files == 1
  assert hashes(tmp_path / 'out') == before
  assert other.stat().st_mtime_ns == kept
