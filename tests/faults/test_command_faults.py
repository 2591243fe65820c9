"""Commands as users start them: on a full disk, beside a process that dies."""

import functools
import os
import resource
import signal
import time

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.mark.parametrize('size', [100, 3000])
def test_09_full_disk_of_a_training_command(commands, python, tmp_path, size):
  """What finds no room is the configuration, or a checkpoint."""
  flags = commands.train_flags('visual', tmp_path / 'run', TRAIN_STEPS=3)
  limit = functools.partial(
    resource.setrlimit, resource.RLIMIT_FSIZE, (size, size)
  )
  done = python('-m', 'vidlm', *flags, preexec_fn=limit)
  last = done.stderr.strip().splitlines()[-1]
  assert done.returncode == 2, done.stderr[-3000:]
  assert last.startswith('error: ') and 'large' in last, done.stderr[-3000:]
  assert not list((tmp_path / 'run').glob('checkpoint_?'))


@pytest.mark.parametrize('dead', [0, 1])
def test_21_a_process_dies_while_two_train(commands, tools, tmp_path, dead):
  """The other one ends too, in minutes, and not as if all were done."""
  flags = commands.train_flags('visual', tmp_path / 'run', TRAIN_STEPS=100_000)
  processes = commands.start_two('vidlm', flags)
  with tools.ended(processes):
    tools.wait_for_first_step(processes, tmp_path / 'run')
    os.kill(processes[dead].pid, signal.SIGKILL)
    began = time.monotonic()
    code, _ = processes[1 - dead].finish(timeout=400)
  print(f'ended with {code} after {time.monotonic() - began:.0f} s')
  assert code not in (0, 143)
  assert processes[1 - dead].errors
