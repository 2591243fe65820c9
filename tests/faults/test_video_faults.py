"""Videos that are damaged, odd or hostile, among good ones, in a whole set."""

import io
import json
import os
import pathlib
import shutil
import tarfile
import time

import psutil
import pytest

from vidlm.data.prepare import pipeline
from vidlm.data.sets import build
from vidlm.data.store import clip_reader
from vidlm.data.video import decode_pool, listing, sampling

SMALL = sampling.Sampling(size=32)
HERE = pipeline.Work(workers=1)


@pytest.fixture
def odd(videos, hostile, tmp_path):
  """A folder of odd files, and those that are films all the same."""
  root = tmp_path / 'odd'
  root.mkdir()
  write = videos.write
  write(root / 'good.mp4', num_frames=20)
  write(root / 'changing_rate.mkv', pts=[0, 40, 80, 600, 640, 2000, 2100])
  write(root / 'turned.mp4', num_frames=20, rotation=90)
  write(root / 'below_zero.mkv', pts=[-400, -200, 0, 200, 400, 600])
  write(root / 'one_frame.mp4', num_frames=1)
  write(root / 'without_rate.ts', num_frames=1, codec='mpeg2video', fps=25)
  for name, (path, _) in hostile.items():
    shutil.copy(path, root / name)
  return root, ['good', 'changing_rate', 'turned', 'below_zero', 'one_frame']


def errors(output):
  path = pathlib.Path(output, 'errors.jsonl')
  return {
    row['clip_id']: row
    for row in map(json.loads, path.read_text().splitlines())
  }


def test_11_odd_videos_among_good_ones(odd, hostile, tmp_path):
  root, sound = odd
  alone = tmp_path / 'alone'
  alone.mkdir()
  shutil.copy(root / 'good.mp4', alone)
  out, single = str(tmp_path / 'out'), str(tmp_path / 'single')
  summary = pipeline.prepare_folder(str(root), out, sampling=SMALL, work=HERE)
  pipeline.prepare_folder(str(alone), single, sampling=SMALL, work=HERE)
  failed = errors(out)
  assert summary.total == summary.ok + sum(summary.failed.values())
  assert len(failed) == sum(summary.failed.values())
  assert all(row['reason'] and row['message'] for row in failed.values())
  reader = clip_reader.open_clips(out)
  assert set(sound) <= set(reader.clip_ids())
  assert not set(sound) & set(failed)
  (good,) = [i for i, n in enumerate(reader.clip_ids()) if n == 'good']
  assert reader.read([good]) == clip_reader.open_clips(single).read([0])


def write_tar(path, names, content):
  with tarfile.open(path, 'w') as tar:
    for name in names:
      info = tarfile.TarInfo(name)
      info.size = len(content)
      tar.addfile(info, io.BytesIO(content))


def tree(root):
  return sorted(str(p.relative_to(root)) for p in root.rglob('*'))


def test_12_bombs_playlists_links_and_names_that_climb(
  videos, hostile, tmp_path
):
  root = tmp_path / 'in'
  root.mkdir()
  for name in ('size_bomb.mp4', 'list.m3u8', 'list.mp4', 'concat.mp4'):
    shutil.copy(hostile[name][0], root / name)
  outside = videos.write(tmp_path / 'outside.mp4', num_frames=20)
  (root / 'link.mp4').symlink_to(outside)
  videos.write(root / 'good.mp4', num_frames=20)
  videos.write(
    root / 'endless.mp4',
    num_frames=3000,
    fps=1000,
    width=64,
    height=16,
    gop=3000,
    options={'preset': 'ultrafast'},
  )
  costs = sampling.Sampling(
    size=32, limits=sampling.Limits(max_decoded_frames=500)
  )
  began = time.monotonic()
  out = str(tmp_path / 'out')
  pipeline.prepare_folder(str(root), out, sampling=costs, work=HERE)
  assert time.monotonic() - began < 60
  failed = errors(out)
  assert failed['size_bomb']['reason'] == 'too_large'
  assert failed['endless']['reason'] == 'too_many_frames'
  assert clip_reader.open_clips(out).clip_ids() == ['good']
  # A tar whose names climb: nothing but the set is written.
  tars = tmp_path / 'tars'
  tars.mkdir()
  video = pathlib.Path(outside).read_bytes()
  names = ['../evil.mp4', '/abs.mp4', 'a/../../b.mp4', '/../c.mp4', 'fine.mp4']
  write_tar(tars / '0.tar', names, video)
  before = tree(tmp_path)
  packed = tmp_path / 'packed'
  build.prepare_set('webdataset', str(tars), str(packed), work=HERE)
  # A leading slash is as tar itself takes it: a name, below the archive.
  assert clip_reader.open_clips(str(packed)).clip_ids() == ['/abs', 'fine']
  assert len(errors(packed)) == 3
  after = [n for n in tree(tmp_path) if not n.startswith('packed')]
  assert after == before and not pathlib.Path('/abs.mp4').exists()


@pytest.fixture
def misbehaving(module, tmp_path):
  """A pool's command: workers that fail as their file's name says."""
  import sys

  script = tmp_path / 'misbehaving.py'
  script.write_text(module('data/video/test_decode_pool.py').MISBEHAVING)
  return [sys.executable, '-P', str(script)]


def test_13_workers_that_crash_or_never_end(misbehaving, tmp_path):
  names = ['a', 'segv', 'b', 'sleep', 'c', 'segv_once', 'exit', 'd']
  costs = sampling.Sampling(limits=sampling.Limits(timeout=4.0))
  with decode_pool.DecodePool(2, command=misbehaving) as pool:
    results = list(
      pool.map(
        decode_pool.DecodeTask(str(tmp_path / name), sampling=costs)
        for name in names
      )
    )
  assert [r.reason for r in results] == [
    *('', 'killed', '', 'timeout'),
    *('', '', 'killed', ''),
  ]
  assert all(
    result.frames == (name.encode(),)
    for name, result in zip(names, results, strict=True)
    if result.ok
  )


def loop(path, number):
  """Decodes a clip `number` times; memory and files open, early and late."""
  tiny = sampling.Sampling(size=16, min_frames=1, max_frames=2)
  # One that hands over results is born again now and then, as in a long run.
  tasks = (decode_pool.DecodeTask(path, sampling=tiny) for _ in range(number))
  process, seen = psutil.Process(), []
  with decode_pool.DecodePool(1) as pool:
    for count, result in enumerate(pool.map(tasks), 1):
      assert result.ok
      if count in (number // 5, number - 50):
        seen.append((process.memory_info().rss, process.num_fds()))
  return seen


@pytest.mark.parametrize(
  'number', [500, pytest.param(10_000, marks=pytest.mark.slow)]
)
def test_14_many_clips_leave_memory_and_files_flat(videos, tmp_path, number):
  path = videos.write(tmp_path / 'a.mp4', num_frames=3, width=64, height=16)
  (early, files), (late, files_late) = loop(path, number)
  assert files_late == files
  assert late < early * 1.05


def test_15_a_clip_id_given_twice(videos, tmp_path):
  root = tmp_path / 'in'
  root.mkdir()
  path = videos.write(root / 'a.mp4', num_frames=10)
  entry = listing.Entry('a', 'a.mp4', path)
  with pytest.raises(ValueError, match="in the clips of train: 'a'"):
    pipeline.prepare_clips([entry, entry], str(tmp_path / 'out'))
  # The same tar under two names: every clip is there, under two ids.
  video = pathlib.Path(path).read_bytes()
  for name in ('x', 'y'):
    write_tar(root / f'{name}.tar', ['k.mp4'], video)
  out = str(tmp_path / 'tars')
  summary = build.prepare_set('webdataset', str(root), out, work=HERE)
  assert clip_reader.open_clips(out).clip_ids() == ['k', 'y/k']
  assert (summary.total, summary.ok) == (2, 2)


def test_16_a_replaced_video_is_refused(videos, tmp_path):
  root = tmp_path / 'in'
  root.mkdir()
  for name in 'ab':
    videos.write(root / f'{name}.mp4', num_frames=10)
  out = str(tmp_path / 'out')
  pipeline.prepare_folder(str(root), out, sampling=SMALL, work=HERE)
  videos.write(root / 'b.mp4', num_frames=15)
  os.utime(root / 'b.mp4', (1, 1))
  with pytest.raises(FileExistsError, match='video files changed'):
    pipeline.prepare_folder(str(root), out, sampling=SMALL, work=HERE)


@pytest.mark.parametrize('damage', ['member', 'cut'])
def test_24_a_damaged_member_of_a_tar(videos, tmp_path, damage):
  tars = tmp_path / 'tars'
  tars.mkdir()
  path = videos.write(tmp_path / 'a.mp4', num_frames=10)
  video = pathlib.Path(path).read_bytes()
  write_tar(tars / '0.tar', ['a.mp4', 'b.mp4', 'c.mp4'], video)
  write_tar(tars / '1.tar', ['d.mp4'], video)
  data = bytearray((tars / '0.tar').read_bytes())
  second = data.index(b'b.mp4') + 512
  if damage == 'member':
    data[second : second + len(video)] = bytes(len(video))
  else:
    data = data[: second + 100]
  (tars / '0.tar').write_bytes(data)
  out = str(tmp_path / 'out')
  build.prepare_set('webdataset', str(tars), out, work=HERE)
  kept = ['a', 'c', 'd'] if damage == 'member' else ['a', 'd']
  assert clip_reader.open_clips(out).clip_ids() == kept
  ((name, row),) = errors(out).items()
  assert '0.tar' in row['message']
  assert name == ('b' if damage == 'member' else '0.tar/(damaged)')
