"""Worker processes that crash, hang and swell; cutting films in them."""

import os
import pathlib
import selectors
import subprocess
import sys
import time

import psutil
import pytest

from vidlm.data.video import cuts, decode_pool, decoding, listing

ROOT = pathlib.Path(__file__).resolve().parents[3]
# A worker that fails as the name of the file says.
MISBEHAVING = """
import os, pathlib, sys, time
from vidlm.data.video import worker

def decode(task):
  name = pathlib.Path(task.path).name
  if name == 'segv':
    os.kill(os.getpid(), 11)
  if name == 'exit':
    os._exit(3)
  if name == 'segv_once' and not os.path.exists(task.path):
    open(task.path, 'w').close()
    os.kill(os.getpid(), 11)
  if name == 'sleep':
    time.sleep(1000)
  while name == 'spin':
    pass
  if name == 'babble':
    os.write(int(os.environ['OUT']), b'{"frames": [-1]}' + bytes([10]))
    time.sleep(1000)
  return worker.DecodeResult(frames=(name.encode(),), times=(0.0,))

real = os.dup(1)
os.environ['OUT'] = str(real)
worker.serve(int(sys.argv[1]), int(sys.argv[2]), decode)
"""


@pytest.fixture
def misbehaving(tmp_path) -> list[str]:
  script = tmp_path / 'misbehaving.py'
  script.write_text(MISBEHAVING)
  return [sys.executable, '-P', str(script)]


def run(command, tmp_path, names, **limits) -> list[decode_pool.DecodeResult]:
  limits = decode_pool.WorkerLimits(**limits)
  with decode_pool.DecodePool(2, limits, command) as pool:
    return list(
      pool.map(decode_pool.DecodeTask(str(tmp_path / name)) for name in names)
    )


def test_a_dying_worker_costs_one_clip(misbehaving, tmp_path) -> None:
  names = ['a', 'segv', 'b', 'segv_once', 'c', 'exit', 'babble', 'd', 'e']
  results = run(misbehaving, tmp_path, names, timeout=60.0)
  reasons = [result.reason for result in results]
  assert reasons == ['', 'killed', '', '', '', 'killed', 'killed', '', '']
  assert 'SIGSEGV' in results[1].message and 'status 3' in results[5].message
  for name, result in zip(names, results, strict=True):
    assert not result.ok or result.frames == (name.encode(),)


def test_a_hanging_worker_is_stopped(misbehaving, tmp_path) -> None:
  began = time.monotonic()
  names = ['a', 'sleep', 'b', 'c']
  results = run(misbehaving, tmp_path, names, timeout=3.0)
  assert [r.reason for r in results] == ['', 'timeout', '', '']
  assert time.monotonic() - began < 30


def test_cpu_time_is_limited(misbehaving, tmp_path) -> None:
  results = run(misbehaving, tmp_path, ['a', 'spin', 'b'], cpu_seconds=1)
  assert [r.reason for r in results] == ['', 'timeout', '']
  assert 'CPU' in results[1].message


def test_memory_is_limited(hostile, videos, tmp_path) -> None:
  """The size bomb, with the check on its size switched off."""
  good = videos.write(tmp_path / 'a.mp4')
  bomb = decode_pool.DecodeTask(
    hostile['size_bomb.mp4'][0],
    size=None,
    limits=decoding.Limits(max_pixels=1 << 40),
  )
  tasks = [decode_pool.DecodeTask(good), bomb, decode_pool.DecodeTask(good)]
  limits = decode_pool.WorkerLimits(memory=600 << 20)
  with decode_pool.DecodePool(1, limits) as pool:
    reasons = [result.reason for result in pool.map(tasks)]
  assert reasons[0] == reasons[2] == ''
  assert reasons[1] in ('out_of_memory', 'killed', 'corrupt')


def test_hostile_files_leave_others_alone(hostile, videos, tmp_path) -> None:
  good = videos.write(tmp_path / 'a.mp4')
  paths = []
  for path, _ in hostile.values():
    paths += [path, good]
  with decode_pool.DecodePool(2) as pool:
    results = list(pool.map(map(decode_pool.DecodeTask, paths)))
  expected = results[1]
  assert expected.ok and len(expected.frames) == 8
  assert results[1::2] == [expected] * len(hostile)
  for result, (_, reasons) in zip(results[::2], hostile.values(), strict=True):
    assert result.reason in reasons and result.message


def test_same_with_any_number_of_workers(videos, tmp_path) -> None:
  paths = [
    videos.write(tmp_path / f'{n}.mp4', num_frames=3 + n) for n in range(5)
  ]
  tasks = [decode_pool.DecodeTask(path, size=32) for path in paths]
  outcomes = []
  for number in (0, 1, 3):
    with decode_pool.DecodePool(number) as pool:
      outcomes.append(list(pool.map(tasks)))
  assert outcomes[0] == outcomes[1] == outcomes[2]
  assert [len(r.frames) for r in outcomes[0]] == [3, 4, 5, 6, 7]


def test_look_ahead_is_bounded_and_workers_recycled(
  misbehaving, tmp_path
) -> None:
  taken = []

  def tasks():
    for number in range(30):
      taken.append(number)
      yield decode_pool.DecodeTask(str(tmp_path / str(number)))

  limits = decode_pool.WorkerLimits(tasks=4)
  before = psutil.Process().num_fds()
  with decode_pool.DecodePool(1, limits, misbehaving) as pool:
    results = pool.map(tasks(), look_ahead=5)
    for number in range(10):
      assert next(results).frames == (str(number).encode(),)
      assert len(taken) <= number + 5
    results.close()
  assert psutil.Process().num_fds() == before
  assert not psutil.Process().children(recursive=True)


def test_closing_does_not_wait_for_a_hanging_worker(
  misbehaving, tmp_path
) -> None:
  began = time.monotonic()
  with decode_pool.DecodePool(1, command=misbehaving) as pool:
    results = pool.map(
      decode_pool.DecodeTask(str(tmp_path / name))
      for name in ['a', 'sleep', 'b']
    )
    next(results)
  assert time.monotonic() - began < 30


def test_a_worker_that_can_not_start_stops_the_run() -> None:
  command = [sys.executable, '-c', 'raise SystemExit(7)']
  with (
    decode_pool.DecodePool(1, command=command) as pool,
    pytest.raises(RuntimeError, match=r'could not start: .* status 7'),
  ):
    list(pool.map([decode_pool.DecodeTask('a.mp4')]))


def test_bad_number_of_workers() -> None:
  with pytest.raises(ValueError, match='num_workers'):
    decode_pool.DecodePool(-1)


def test_a_worker_imports_little() -> None:
  done = subprocess.run(
    [
      sys.executable,
      '-c',
      'import sys, vidlm.data.video.decode_pool; print(*sys.modules)',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  assert not set(done.stdout.split()) & {
    'jax',
    'tensorflow',
    'tensorflow_datasets',
    'pyarrow',
    'pandas',
    'cv2',
    'scenedetect',
    'torch',
  }


def test_folder_is_listed(videos, tmp_path) -> None:
  folder = tmp_path / 'videos'
  (folder / 'b').mkdir(parents=True)
  outside = videos.write(tmp_path / 'outside.mp4', num_frames=3)
  for name in ['v_a b.mp4', 'b/c.MKV', 'b/c.mp4', '.hidden.mp4', 'd.txt']:
    (folder / name).write_bytes(b'')
  (folder / 'link.mp4').symlink_to(outside)
  (folder / 'inner.mp4').symlink_to(folder / 'v_a b.mp4')
  entries = listing.folder_clips(str(folder))
  assert [(e.clip_id, e.video) for e in entries] == [
    ('b/c.MKV', 'b/c.MKV'),
    ('b/c.mp4', 'b/c.mp4'),
    ('inner', 'inner.mp4'),
    ('v_a b', 'v_a b.mp4'),
  ]
  with pytest.raises(FileNotFoundError, match='no such folder'):
    listing.list_videos(str(tmp_path / 'none'))
  with pytest.raises(FileNotFoundError, match='give its folder'):
    listing.list_videos(str(outside))
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='no video'):
    listing.list_videos(str(tmp_path / 'empty'))


def test_fixed_clips(videos, tmp_path) -> None:
  videos.write(tmp_path / 'a.mp4', num_frames=100)  # 10 s
  (tmp_path / 'b.mp4').write_bytes(b'nothing')
  entries = listing.folder_clips(str(tmp_path), 'fixed:4s', 1)
  assert [(e.clip_id, e.start, e.end, e.reason) for e in entries] == [
    ('a#0000', 0.0, 4.0, ''),
    ('a#0001', 4.0, 8.0, ''),
    ('a#0002', 8.0, 10.0, ''),
    ('b', None, None, 'open_failed'),
  ]


@pytest.mark.parametrize('how', ['fixed:', 'fixed:0s', 'shots', 'fixed:-1s'])
def test_unknown_cut(how: str) -> None:
  with pytest.raises(ValueError, match='need'):
    cuts.check(how)


def test_scenes(tmp_path) -> None:
  import av
  import numpy as np

  path = tmp_path / 'film.mp4'
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=10)
    stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
    for colour in [(250, 20, 20), (20, 20, 250), (20, 200, 20)]:
      for _ in range(30):
        image = np.full((64, 96, 3), colour, np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(image, 'rgb24')))
    out.mux(stream.encode())
  assert cuts.boundaries(str(path), 'scenes') == (0.0, 3.0, 6.0, 9.0)
  entries = listing.folder_clips(str(tmp_path), 'scenes', 1)
  assert [(e.start, e.end) for e in entries] == [(0, 3), (3, 6), (6, 9)]


# How a system may lack what Linux limits a process by.
_NO_LIMITS = {
  'no module': 'import sys; sys.modules["resource"] = None',
  'no such limit': 'import resource; del resource.RLIMIT_AS',
  'refused': (
    'import resource\n'
    'def refuse(*_): raise ValueError("current limit exceeds maximum limit")\n'
    'resource.setrlimit = refuse'
  ),
}


@pytest.mark.parametrize('lacking', _NO_LIMITS)
def test_without_limits_the_timeout_is_left_and_a_warning_says_so(
  lacking, tmp_path, monkeypatch
) -> None:
  script = tmp_path / 'unlimited.py'
  script.write_text(f'{_NO_LIMITS[lacking]}\n{MISBEHAVING}')
  warned = []
  monkeypatch.setattr(
    decode_pool.logging, 'log_first_n', lambda *args: warned.append(args[1])
  )
  command = [sys.executable, '-P', str(script)]
  results = run(command, tmp_path, ['a', 'sleep', 'b', 'exit'], timeout=3.0)
  assert [r.reason for r in results] == ['', 'timeout', '', 'killed']
  assert warned and 'does not limit the memory' in warned[0]


def test_limits_are_kept_below_those_the_process_has() -> None:
  code = (
    'import resource; from vidlm.data.video import worker\n'
    'resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))\n'
    'assert worker.limit_memory(4 << 30)\n'
    'print(resource.getrlimit(resource.RLIMIT_AS))\n'
    'assert worker.limit_memory(2 << 30)\n'
    'print(resource.getrlimit(resource.RLIMIT_AS))\n'
    'print(resource.getrlimit(resource.RLIMIT_CORE))\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    timeout=60,
    env={**os.environ, 'OPENBLAS_NUM_THREADS': '1'},
  )
  assert done.stdout.splitlines() == [
    str((3 << 30, 3 << 30)),
    str((2 << 30, 2 << 30)),
    '(0, 0)',
  ], done.stderr


def test_without_poll_a_pool_waits_by_select(
  misbehaving, tmp_path, monkeypatch
) -> None:
  monkeypatch.delattr(selectors, 'PollSelector')
  names = ['a', 'sleep', 'segv', 'b']
  results = run(misbehaving, tmp_path, names, timeout=3.0)
  assert [r.reason for r in results] == ['', 'timeout', 'killed', '']
