"""Runs a program that dies, or fails, when it touches a folder the n-th time.

  python at_moments.py FOLDER WHAT PROGRAM [ARGUMENT ...]

WHAT is `count:FILE` (writes a line a moment to FILE), `kill:N` (SIGKILL at the
N-th), `kill:N:MS` (so many milliseconds after it, in the midst of what native
code does meanwhile), `kill_at:PATTERN` (at the first that matches) or
`fail:PATTERN` (what matches can't be done: the disk is gone).

A moment is what Python's audit hooks tell of: files opened to be written,
folders made, names given and taken, in whatever library and thread. fsync has
no such event and is counted by itself.
"""

import errno
import os
import re
import runpy
import signal
import sys
import threading
import time

_EVENTS = ('os.rename', 'os.mkdir', 'os.remove', 'os.rmdir', 'os.link')


class Moments:
  """Counts, and acts at the one it was told."""

  def __init__(self, folder: str, what: str):
    self.folder = os.path.abspath(folder)
    self.kind, _, rest = what.partition(':')
    self.rest = rest
    self.count = 0
    self.lock = threading.Lock()
    if self.kind == 'count':
      self.log = os.open(rest, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

  def audit(self, event: str, args: tuple) -> None:
    """For `sys.addaudithook`."""
    if event == 'open':
      path, mode, flags = args
      written = flags & (os.O_WRONLY | os.O_RDWR) if flags else 'w' in str(mode)
      if not written:
        return
    elif event in _EVENTS:
      path = args[0]
    else:
      return
    if isinstance(path, bytes):
      path = os.fsdecode(path)
    if isinstance(path, str) and path.startswith(self.folder):
      target = args[1] if event in ('os.rename', 'os.link') else ''
      self.tick(f'{event} {path} {target}')

  def tick(self, label: str) -> None:
    """A moment."""
    with self.lock:
      self.count += 1
      number = self.count
    if self.kind == 'count':
      os.write(self.log, f'{label}\n'.encode())
    elif self.kind in ('fail', 'kill_at'):
      if not re.search(self.rest, label):
        return
      if self.kind == 'fail':
        raise OSError(errno.EIO, 'the disk is gone', label)
      self.die(0)
    else:
      wanted, *delay = map(int, self.rest.split(':'))
      if number == wanted:
        self.die(delay[0] / 1000 if delay else 0)

  def die(self, seconds: float) -> None:
    if not seconds:
      os.kill(os.getpid(), signal.SIGKILL)

    def later() -> None:
      time.sleep(seconds)
      os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=later, daemon=True).start()


def main() -> None:
  """Runs the program under watch."""
  folder, what, program, *arguments = sys.argv[1:]
  moments = Moments(folder, what)
  real = os.fsync

  def fsync(descriptor: int) -> None:
    path = os.readlink(f'/proc/self/fd/{descriptor}')
    if path.startswith(moments.folder):
      moments.tick(f'before fsync {path}')
    real(descriptor)

  os.fsync = fsync
  sys.addaudithook(moments.audit)
  sys.argv = [program, *arguments]
  sys.path.insert(0, os.path.dirname(os.path.abspath(program)))
  runpy.run_path(program, run_name='__main__')


if __name__ == '__main__':
  main()
