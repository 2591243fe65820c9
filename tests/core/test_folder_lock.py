"""One run a folder, for as long as its process lives."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import pytest

from vidlm.core import folder_lock

HOLD = """
import os, sys, time
from vidlm.core import folder_lock
with folder_lock.held(sys.argv[1], 'MODEL_DIR'):
  if len(sys.argv) > 2 and os.fork() == 0:
    os.write(1, b'%d\\n' % os.getpid())  # whole: two write here
    time.sleep(600)
  os.write(1, b'held\\n')
  time.sleep(600)
"""


def holder(folder, *more):
  return subprocess.Popen(
    [sys.executable, '-c', HOLD, str(folder), *more],
    stdout=subprocess.PIPE,
    text=True,
  )


def test_the_second_is_refused_and_told_who_is_there(tmp_path):
  process = holder(tmp_path)
  try:
    assert process.stdout.readline() == 'held\n'
    with (
      pytest.raises(ValueError) as error,
      folder_lock.held(str(tmp_path), 'MODEL_DIR'),
    ):
      raise AssertionError('both')
    said = str(error.value)
    assert said.startswith(f'MODEL_DIR={tmp_path}: another run is at work')
    assert f'process {process.pid} on ' in said
  finally:
    process.kill()
    process.communicate()
  # kill -9 let go of it.
  with folder_lock.held(str(tmp_path), 'MODEL_DIR'):
    pass


def test_a_child_that_outlives_it_does_not_hold_it(tmp_path):
  process = holder(tmp_path, 'fork')
  said = {process.stdout.readline().strip() for _ in range(2)}
  child = int((said - {'held'}).pop())
  try:
    process.kill()
    process.wait()
    os.kill(child, 0)  # it lives
    with folder_lock.held(str(tmp_path), 'MODEL_DIR'):
      pass
  finally:
    os.kill(child, signal.SIGKILL)
    process.stdout.close()


def test_two_of_one_process_are_two(tmp_path):
  with (
    folder_lock.held(str(tmp_path), 'MODEL_DIR'),
    pytest.raises(ValueError, match='another run'),
    folder_lock.held(str(tmp_path), 'MODEL_DIR'),
  ):
    pass
  with folder_lock.held(str(tmp_path), 'MODEL_DIR'):
    pass


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch, caplog):
  def flock(*_):
    raise OSError(errno.ENOLCK, 'No locks available')

  monkeypatch.setattr(fcntl, 'flock', flock)
  with folder_lock.held(str(tmp_path), 'MODEL_DIR'):
    assert 'no locks on that disk' in caplog.text
