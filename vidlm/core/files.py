"""Files that are there whole or not at all, and the folders they lie in.

A file is written under a hidden name beside it (`.NAME.TOKEN.partial`), forced
to the disk, given its name, and the name is forced to the disk with the folder.
A process killed at any moment leaves the old content or the new; an error
leaves no hidden file behind, a kill may (see `partials`).

A path with a scheme (gs://...) goes through etils.epath, which needs what that
scheme needs; an upload that has ended is on the store's disks.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import secrets
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from vidlm.core import file_names

PathLike = str | os.PathLike[str]

_PARTIAL = '.partial'
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)


@contextlib.contextmanager
def partial(
  path: PathLike, *, durable: bool = True, sole: bool = False
) -> Iterator[Any]:
  """Gives a path to write to; what lies there at the end becomes the file.

  Args:
    path: The file's; its folder is there.
    durable: Survive the machine too. False for what is made anew in a moment:
      waiting for the disk takes some 10 ms a file.
    sole: Nobody else writes this file at the same time. One hidden name then
      serves all, so that what a killed writer left is overwritten, not kept:
      for files of gigabytes.

  Yields:
    A `pathlib.Path` that isn't there yet; an `epath.Path` for a remote one.

  Raises:
    ValueError: If it can't be written, because the disk is full for example.
      Other errors of the body pass as they are.
  """
  path = _path(path)
  temporary = _hidden(path, sole)
  try:
    with _told(path, _NO_ROOM):
      yield temporary
    with _told(path):
      publish(temporary, path, durable=durable)
  except BaseException:
    # Whatever goes wrong with the cleaning must not hide the first error.
    with contextlib.suppress(Exception):
      temporary.unlink()
    raise


@contextlib.contextmanager
def writer(
  path: PathLike, *, durable: bool = True, sole: bool = False
) -> Iterator[BinaryIO]:
  """Opens a binary file that appears once the body has ended; see `partial`.

  Raises:
    ValueError: If it can't be written.
  """
  with partial(path, durable=durable, sole=sole) as temporary:
    with _told(path):
      file = temporary.open('wb')
    with file:
      yield file


def write_bytes(path: PathLike, data: bytes, *, durable: bool = True) -> None:
  """Writes a file, whole or not at all; see `partial`.

  Raises:
    ValueError: If it can't be written.
  """
  with writer(path, durable=durable) as file, _told(path):
    file.write(data)


def write_text(path: PathLike, text: str) -> None:
  """Writes a file of UTF-8, whole or not at all.

  Raises:
    ValueError: If it can't be written.
  """
  write_bytes(path, text.encode())


def write_json(path: PathLike, value: Any, **style: Any) -> None:
  """Writes JSON, whole or not at all: indented by 2, a newline at its end.

  Args:
    path: The file's.
    value: For `json.dumps`.
    **style: Of `json.dumps`, where a file has always been written otherwise.

  Raises:
    ValueError: If it can't be written.
  """
  write_text(path, json.dumps(value, **{'indent': 2, **style}) + '\n')


def write_json_lines(path: PathLike, rows: Iterable[Any], **style: Any) -> None:
  """Writes a line of JSON a row, whole or not at all; rows may be a stream.

  Raises:
    ValueError: If it can't be written.
  """
  with writer(path) as file:
    for row in rows:
      file.write(json.dumps(row, **style).encode() + b'\n')


def create(path: PathLike, data: bytes) -> bool:
  """Writes a file unless it is there; of several writers exactly one does.

  Returns:
    Whether this call did.

  Raises:
    ValueError: If it can't be written, or on a store: there the upload itself
      would have to be conditional.
  """
  if _is_remote(path):
    raise ValueError(f'{os.fspath(path)}: create-if-absent is for disks only')
  path = pathlib.Path(path)
  temporary = _hidden(path)
  try:
    with _told(path):
      with temporary.open('xb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
      try:
        os.link(temporary, path)
      except OSError as error:
        # NFS may repeat a request whose answer was lost; the count is certain.
        if os.stat(temporary).st_nlink != 2:
          if isinstance(error, FileExistsError):
            return False
          raise
      sync_folder(path.parent)
      return True
  finally:
    temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def partial_folder(path: PathLike) -> Iterator[Any]:
  """Gives a folder to fill, which becomes `path` once the body has ended.

  What a killed writer left is removed first: one process at a time.

  Yields:
    A `pathlib.Path`; an `epath.Path` for a remote one.

  Raises:
    ValueError: If it can't be made, or `path` is there and not empty.
  """
  target = _path(path)
  temporary = _hidden(target, sole=True)
  _remove_tree(temporary)
  make_folder(temporary)
  try:
    with _told(target, _NO_ROOM):
      yield temporary
    with _told(target):
      if _is_remote(target):
        temporary.rename(target)
      else:
        for folder, _, names in os.walk(temporary):
          for name in names:
            sync(os.path.join(folder, name))
          sync_folder(folder)
        publish(temporary, target, durable=False)
        sync_folder(target.parent)
  except BaseException:
    with contextlib.suppress(Exception):
      _remove_tree(temporary)
    raise


def make_folder(path: PathLike, flag: str = '') -> None:
  """Makes a folder and those above it, unless they are there.

  Args:
    path: The folder's.
    flag: What the user gave the path with, for the message.

  Raises:
    ValueError: If that can't be, or what we write with can't take its name.
  """
  folder = _path(path)
  shown = file_names.printable(os.fspath(path))
  if flag == '--output' and shown != os.fspath(path):
    raise ValueError(
      f'{flag}={shown}: this name is no UTF-8, and what sets are written with '
      'takes no other; choose another folder'
    )
  try:
    if _is_remote(path):
      folder.mkdir(parents=True, exist_ok=True)
      return
    missing = [folder] if not folder.exists() else []
    while missing and not missing[-1].parent.exists():
      missing.append(missing[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
      sync_folder(made.parent)
  except OSError as error:
    raise ValueError(
      f'{flag and flag + "="}{os.fspath(path)}: {error.strerror or error}; '
      'choose a folder that can be written'
    ) from error


def check_there(folder: PathLike, flag: str = '') -> None:
  """Checks that a folder on a disk hasn't vanished since it was made.

  Args:
    folder: The folder's path; what a scheme leads to is not looked at.
    flag: What the user gave it with, for the message.

  Raises:
    ValueError: If it has, as a mount does that was lost.
  """
  if not _is_remote(folder) and not os.path.isdir(folder):
    raise ValueError(
      f'{flag and flag + "="}{os.fspath(folder)}: is gone since this run '
      'began; bring it back (a mount?) and run the same command again'
    )


def publish(
  source: PathLike, target: PathLike, *, durable: bool = True
) -> None:
  """Gives a finished file its final name, once its content is on the disk."""
  if _is_remote(source):
    _path(source).replace(target)
    return
  if durable:
    sync(source)
  os.replace(source, target)
  if durable:
    sync_folder(os.path.dirname(target) or '.')


def sync(path: PathLike) -> None:
  """Waits until the content of a file is on the disk."""
  descriptor = os.open(path, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def sync_folder(folder: PathLike) -> None:
  """Waits until the names in a folder are on the disk."""
  try:
    sync(folder)
  except OSError as error:
    # Some mounted stores know no such thing; their names need none.
    if error.errno not in _NO_FOLDER_SYNC:
      raise


def partials(folder: PathLike) -> list[pathlib.Path]:
  """What killed writers have left in a folder of ours, hidden."""
  return sorted(pathlib.Path(folder).glob(f'.*{_PARTIAL}'))


def sha256(path: PathLike) -> str:
  """SHA-256 of a file's bytes in hex."""
  with _path(path).open('rb') as file:
    return hashlib.file_digest(file, 'sha256').hexdigest()


def _is_remote(path: PathLike) -> bool:
  return '://' in os.fspath(path)


def _path(path: PathLike) -> Any:
  if not _is_remote(path):
    return pathlib.Path(path)
  from etils import epath

  return epath.Path(path)


def _hidden(path: Any, sole: bool = False) -> Any:
  token = '' if sole else f'.{secrets.token_hex(4)}'
  return path.parent / f'.{path.name}{token}{_PARTIAL}'


def _remove_tree(folder: Any) -> None:
  if not folder.exists():
    return
  if _is_remote(folder):
    folder.rmtree()
  else:
    shutil.rmtree(folder)


@contextlib.contextmanager
def _told(path: PathLike, only: tuple[int, ...] = ()) -> Iterator[None]:
  """Turns a system's error into a line for the user."""
  try:
    yield
  except OSError as error:
    if only and error.errno not in only:
      raise
    advice = 'make it writable'
    if error.errno in _NO_ROOM:
      advice = 'no room for it: free some space'
    elif error.errno == errno.ENOENT:
      advice = 'make its folder'
    raise ValueError(
      f'{os.fspath(path)}: cannot be written ({error.strerror or error}); '
      f'{advice} and run the same command again, finished files are kept'
    ) from error
