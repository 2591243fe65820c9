"""Videos inside other files: WebDataset tars and Hugging Face's Parquet.

A packed video is named by where it is: `tar:OFFSET:SIZE` or `row:NUMBER`, and
is copied to a temporary file while it is decoded: workers are given regular
files only. Names inside a tar are never used as paths.
"""

import dataclasses
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from vidlm.core import file_names

# Columns of Parquet files that hold videos, or images.
VIDEO_COLUMNS = ('video', 'mp4', 'video_bytes', 'bytes', 'image')
_ID_COLUMNS = ('clip_id', 'id', '__key__', 'key', 'video_id', 'videoID')
_COPY = 1 << 20


class DamagedError(Exception):
  """A tar or Parquet file that can't be read to its end; one line."""


@dataclasses.dataclass(frozen=True)
class Member:
  """A file in a tar, or a row of a Parquet file.

  Attributes:
    name: As the tar (as text; see `core.file_names`) or the row says; ''
      where it doesn't.
    packed: Where it is.
    size: Bytes; 0 where unknown.
  """

  name: str
  packed: str
  size: int = 0


@dataclasses.dataclass(frozen=True)
class LocalFile:
  """A file a worker can open.

  Attributes:
    path: '' where a packed video could not be copied.
    is_copy: Whether it is ours to delete.
    error: Why it could not be copied.
  """

  path: str
  is_copy: bool = False
  error: str = ''

  def delete(self) -> None:
    """Removes a copy."""
    if self.is_copy and self.path:
      os.unlink(self.path)


def members(path: str) -> Iterator[Member]:
  """Lists files in a tar, or rows of a Parquet file that have a video.

  Raises:
    DamagedError: When it comes to what it can't read; members before that
      have been yielded.
  """
  is_table = path.lower().endswith('.parquet')
  return _rows(path) if is_table else _tar_members(path)


def _tar_members(path: str) -> Iterator[Member]:
  total = os.path.getsize(path)
  try:
    # Uncompressed ones only: videos are read by their offset later.
    with tarfile.open(path, 'r:') as tar:
      for item in tar:
        # Links and devices are not videos, whatever they are called.
        if not item.isreg() or item.issparse():
          continue
        if item.offset_data + item.size > total:
          raise DamagedError(f'{path}: ends within {item.name!r}')
        yield Member(
          file_names.as_text(item.name),
          f'tar:{item.offset_data}:{item.size}',
          item.size,
        )
        # Else all are kept; typeshed doesn't know it.
        tar.members = []  # type: ignore[attr-defined]
      _check_end(path, tar.offset)
  except (tarfile.TarError, OSError, ValueError, EOFError) as error:
    raise DamagedError(
      f'{path}: damaged, or not a plain tar: {error}'
    ) from None


def _check_end(path: str, offset: int) -> None:
  """Refuses a damaged header, which tarfile takes for the archive's end."""
  with open(path, 'rb') as file:
    file.seek(offset)
    if file.read(512).strip(b'\0'):
      raise DamagedError(f'{path}: damaged at byte {offset}')


def _rows(path: str) -> Iterator[Member]:
  import pyarrow as pa
  import pyarrow.parquet as pq

  try:
    file = pq.ParquetFile(path)
    column = video_column(file.schema_arrow)
    if column is None:
      return
    wanted = [n for n in _ID_COLUMNS if n in file.schema_arrow.names][:1]
    if pa.types.is_struct(file.schema_arrow.field(column).type):
      wanted.append(f'{column}.path')
    number = 0
    for batch in file.iter_batches(batch_size=1024, columns=wanted):
      for row in batch.to_pylist() or [{}] * batch.num_rows:
        struct = row.pop(column, None) or {}
        name = next(iter(row.values()), None) or struct.get('path') or ''
        yield Member(str(name), f'row:{number}')
        number += 1
  except (pa.ArrowException, OSError) as error:
    raise DamagedError(f'{path}: damaged, or not Parquet: {error}') from None


def video_column(schema: Any) -> str | None:
  """Returns the column with bytes, or with {bytes, path}; None without one."""
  import pyarrow as pa

  for name in VIDEO_COLUMNS:
    if name not in schema.names:
      continue
    kind = schema.field(name).type
    if pa.types.is_struct(kind) and kind.get_field_index('bytes') >= 0:
      return name
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
      return name
  return None


class Unpacker:
  """Copies packed videos to temporary files; use as a context manager."""

  def __init__(self) -> None:
    self._folder = tempfile.mkdtemp(prefix='vidlm-packed-')
    self._made = 0
    self._table: _Table | None = None

  def __enter__(self) -> 'Unpacker':
    return self

  def __exit__(self, *error: object) -> None:
    shutil.rmtree(self._folder, ignore_errors=True)

  def local_files(
    self, entries: Iterable[Any]
  ) -> Iterator[tuple[Any, LocalFile]]:
    """Yields each entry and the file to decode: its own, or a copy.

    Args:
      entries: `listing.Entry`s with a path.
    """
    for entry in entries:
      if not entry.packed:
        yield entry, LocalFile(entry.path)
        continue
      suffix = os.path.splitext(entry.video)[1]
      try:
        path = self.fetch(entry.path, entry.packed, suffix)
      except DamagedError as error:
        yield entry, LocalFile('', True, str(error))
      else:
        yield entry, LocalFile(path, True)

  def fetch(self, path: str, packed: str, suffix: str) -> str:
    """Copies a video.

    Args:
      path: The tar or Parquet file.
      packed: Where in it.
      suffix: How the temporary file's name ends, such as '.mp4'.

    Returns:
      The temporary file; delete it when done.

    Raises:
      DamagedError: If it isn't there.
      OSError: If there is no space left.
    """
    self._made += 1
    target = os.path.join(self._folder, f'{self._made}{suffix}')
    kind, _, place = packed.partition(':')
    if kind == 'row':
      data = self._row(path, int(place))
      target += _image_suffix(data)
      with open(target, 'wb') as out:
        out.write(data)
      return target
    offset, size = map(int, place.split(':'))
    with open(path, 'rb') as source, open(target, 'wb') as out:
      source.seek(offset)
      while size > 0:
        data = source.read(min(size, _COPY))
        if not data:
          raise DamagedError(f'{path}: ends within a video')
        out.write(data)
        size -= len(data)
    return target

  def _row(self, path: str, number: int) -> bytes:
    if self._table is None or not self._table.has(path, number):
      self._table = _Table(path)
    return self._table.read(number)


def _image_suffix(data: bytes) -> str:
  """Returns an image's suffix; '' for all else: rows have no file names."""
  if data.startswith(b'\xff\xd8\xff'):
    return '.jpg'
  if data.startswith(b'\x89PNG'):
    return '.png'
  return '.webp' if data[:4] == b'RIFF' and data[8:12] == b'WEBP' else ''


class _Table:
  """Rows of a Parquet file in order: they can't be had one by one."""

  def __init__(self, path: str):
    self.path = path
    self._next = 0
    self._rows = self._read()

  def has(self, path: str, number: int) -> bool:
    return path == self.path and number >= self._next

  def read(self, number: int) -> bytes:
    for value in self._rows:
      self._next += 1
      if self._next > number:
        if isinstance(value, dict):
          value = value.get('bytes')
        if not value:
          raise DamagedError(f'{self.path}: row {number} has no bytes')
        return value
    raise DamagedError(f'{self.path}: no row {number}')

  def _read(self) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
      # Small buffers: a row group of videos is gigabytes.
      file = pq.ParquetFile(self.path, pre_buffer=False, buffer_size=_COPY)
      column = video_column(file.schema_arrow)
      for batch in file.iter_batches(batch_size=1, columns=[column]):
        yield batch.column(0)[0].as_py()
    except (pa.ArrowException, OSError) as error:
      raise DamagedError(f'{self.path}: damaged: {error}') from None
