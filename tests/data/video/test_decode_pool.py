"""Worker processes that crash, hang and swell."""

import os
import pathlib
import selectors
import subprocess
import sys
import time

import psutil
import pytest

from vidlm.data.video import decode_pool, sampling, worker

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
worker.serve(int(sys.argv[1]), decode)
"""


@pytest.fixture
def misbehaving(tmp_path) -> list[str]:
  script = tmp_path / 'misbehaving.py'
  script.write_text(MISBEHAVING)
  return [sys.executable, '-P', str(script)]


def run(command, tmp_path, names, **limits) -> list[decode_pool.DecodeResult]:
  costs = sampling.Sampling(limits=sampling.Limits(**limits))
  with decode_pool.DecodePool(2, command=command) as pool:
    return list(
      pool.map(
        decode_pool.DecodeTask(str(tmp_path / name), sampling=costs)
        for name in names
      )
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
  limits = sampling.Limits(max_pixels=1 << 40, memory=600 << 20)
  costs = sampling.Sampling(size=None, limits=limits)
  paths = [good, hostile['size_bomb.mp4'][0], good]
  tasks = [decode_pool.DecodeTask(path, sampling=costs) for path in paths]
  with decode_pool.DecodePool(1) as pool:
    reasons = [result.reason for result in pool.map(tasks)]
  assert reasons[0] == reasons[2] == ''
  assert reasons[1] in ('out_of_memory', 'killed', 'corrupt')


def test_a_clip_gets_the_memory_it_asks_for(videos, tmp_path) -> None:
  good = videos.write(tmp_path / 'a.mp4')
  tasks = [
    decode_pool.DecodeTask(
      good, sampling=sampling.Sampling(limits=sampling.Limits(memory=memory))
    )
    for memory in (2 << 30, 1 << 30, 1 << 30)
  ]
  seen = []
  with decode_pool.DecodePool(1) as pool:
    for result in pool.map(tasks, look_ahead=1):
      (process,) = psutil.Process().children()
      # Since Linux 2.6.36: what /proc says of the limit on address space.
      limits = pathlib.Path(f'/proc/{process.pid}/limits').read_text()
      (line,) = [x for x in limits.splitlines() if 'address space' in x]
      seen.append((result.ok, int(line.split()[3]), process.pid))
  # What is mapped and takes no memory comes on top.
  unused = seen[0][1] - (2 << 30)
  assert 0 < unused < 1 << 30
  assert [(ok, memory - unused) for ok, memory, _ in seen] == [
    (True, 2 << 30),
    (True, pytest.approx(1 << 30, abs=8 << 20)),
    (True, pytest.approx(1 << 30, abs=8 << 20)),
  ]
  assert seen[0][2] != seen[1][2] == seen[2][2]


def test_a_task_survives_being_sent() -> None:
  how = sampling.Sampling(
    size=None, min_share=0.5, limits=sampling.Limits(max_pixels=9)
  )
  task = decode_pool.DecodeTask('a b.mp4', 1.0, None, how, seconds=3.0)
  assert worker.decode_task(worker.encode_task(task)) == task


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
  small = sampling.Sampling(size=32)
  tasks = [decode_pool.DecodeTask(path, sampling=small) for path in paths]
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

  before = psutil.Process().num_fds()
  with decode_pool.DecodePool(1, recycle_after=4, command=misbehaving) as pool:
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
