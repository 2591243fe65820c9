"""How a command ends."""

import errno
import os
import subprocess
import sys

import pytest

from vidlm.core import command_line

_LOUD = """
from vidlm.core import command_line

def run(args):
  for i in range(100_000):
    print('line', i)

import sys
loud = command_line.Command('loud', 'prints', lambda parser: None, run, False)
sys.exit(command_line.run('toy', 'a toy', [loud], ['loud']))
"""


def test_a_reader_that_has_seen_enough_is_no_error():
  process = subprocess.Popen(
    [sys.executable, '-c', _LOUD],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'line 0\n'
  process.stdout.close()
  assert process.stderr.read() == ''
  assert process.wait(timeout=60) == 141


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EIO])
def test_a_full_disk_is_one_line_and_a_broken_one_is_not(number, capsys):
  def run(args):
    raise OSError(number, os.strerror(number), '/runs/a')

  full = command_line.Command('full', 'fails', lambda parser: None, run, False)
  expected = SystemExit if number == errno.ENOSPC else OSError
  with pytest.raises(expected):
    command_line.run('toy', 'a toy', [full], ['full'])
  line = "error: [Errno 28] No space left on device: '/runs/a'\n"
  assert (line in capsys.readouterr().err) == (number == errno.ENOSPC)


def test_ctrl_c_is_one_line(capsys):
  def run(args):
    raise KeyboardInterrupt

  stopped = command_line.Command('stop', 'x', lambda parser: None, run, False)
  assert command_line.run('toy', 'a toy', [stopped], ['stop']) == 130
  assert capsys.readouterr().err == 'Ctrl-C: ended before it was done\n'


@pytest.mark.parametrize(
  ('value', 'message'),
  [
    (0, 'STEPS=0: need at least 1'),
    (3.5, 'STEPS=3.5: need a whole number'),
    ('3', "STEPS='3': need a whole number"),
  ],
)
def test_numbers_are_checked_by_name(value, message):
  command_line.check_positive(OTHER=1, NONE=None)
  with pytest.raises(ValueError, match=message):
    command_line.check_positive(STEPS=value)


def test_a_reader_that_left_is_seen_without_poll():
  """As `test_a_reader_that_has_seen_enough_is_no_error`, poll() hidden."""
  hidden = f'import select; del select.poll\n{_LOUD}'
  process = subprocess.Popen(
    [sys.executable, '-c', hidden],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stdout.readline() == 'line 0\n'
  process.stdout.close()
  assert process.stderr.read() == ''
  assert process.wait(timeout=60) == 141


@pytest.mark.parametrize('hide', ['', 'del select.poll'])
def test_a_pipe_that_breaks_elsewhere_is_no_reader_that_left(hide):
  code = f'import select; {hide}\n' + _LOUD.replace(
    "print('line', i)", 'raise BrokenPipeError("a worker")'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, timeout=60
  )
  assert done.returncode == 1
  assert 'BrokenPipeError: a worker' in done.stderr
