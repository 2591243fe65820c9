"""One writer a folder: a lock that ends with the process that holds it.

The kernel lets go of a flock when its process ends, by kill -9 too. A child
that was forked would hold it on, so it closes its copy.
"""

import contextlib
import errno
import fcntl
import os
import pathlib
import socket
import time
from collections.abc import Iterator

from absl import logging

from vidlm.core import files

LOCK = '.lock'
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Locks of this process, which its forks must not keep.
_held: set[int] = set()


def _forget() -> None:
  for descriptor in _held:
    os.close(descriptor)
  _held.clear()


os.register_at_fork(after_in_child=_forget)


@contextlib.contextmanager
def held(folder: str, flag: str) -> Iterator[None]:
  """Holds the folder while the body runs; makes it if need be.

  A store (gs://...) has no locks, and some mounted disks have none: there
  nothing is held, and for the latter that is said.

  Args:
    folder: What to hold.
    flag: What the user named it with, for the message.

  Raises:
    ValueError: If another process holds it, or it can't be made.
  """
  files.make_folder(folder, flag)
  if '://' in folder:
    yield
    return
  path = pathlib.Path(folder) / LOCK
  try:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
  except OSError as error:
    raise ValueError(
      f'{flag}={folder}: {error.strerror or error}; choose a folder that can '
      'be written'
    ) from error
  _held.add(descriptor)
  try:
    _take(descriptor, path, f'{flag}={folder}')
    yield
  finally:
    # A fork within the body has its own copy, and its own set.
    if descriptor in _held:
      _held.remove(descriptor)
      os.close(descriptor)


def _take(descriptor: int, path: pathlib.Path, name: str) -> None:
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    holder = os.pread(descriptor, 200, 0).decode(errors='replace').strip()
    raise ValueError(
      f'{name}: another run is at work there ({holder or "it does not say who"}'
      '); wait for its end, stop it, or choose another folder'
    ) from error
  except OSError as error:
    if error.errno not in _NO_LOCKS:
      raise
    logging.warning(
      '%s: no locks on that disk (%s); see to it that no other run writes '
      'there',
      name,
      error.strerror,
    )
    return
  began = time.strftime('%Y-%m-%d %H:%M:%S')
  said = f'process {os.getpid()} on {socket.gethostname()}, since {began}\n'
  os.ftruncate(descriptor, 0)
  os.pwrite(descriptor, said.encode(), 0)
