"""Texts of files as people have them: packed or not, UTF-8 or UTF-16."""

import codecs
import contextlib
import gzip
import io
import os
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, TextIO, cast

PathLike = str | os.PathLike[str]

_PACKED = b'\x1f\x8b'  # gzip's first bytes, whatever the file is called.
_MARKS = (
  # UTF-32's mark begins with UTF-16's.
  (codecs.BOM_UTF32_LE, 'utf-32'),
  (codecs.BOM_UTF32_BE, 'utf-32'),
  (codecs.BOM_UTF8, 'utf-8-sig'),
  (codecs.BOM_UTF16_LE, 'utf-16'),
  (codecs.BOM_UTF16_BE, 'utf-16'),
)
_HEAD = 1 << 12
_CHUNK = 1 << 16
# Ends a line of text: Python's splitlines knows more, which captions may hold.
_MARK = '\ufeff'


def suffix(path: PathLike) -> str:
  """Returns what a file is by its name, in lower case: '.csv' of a.CSV.gz."""
  name = os.fspath(path).lower().removesuffix('.gz')
  return pathlib.PurePath(name).suffix


@contextlib.contextmanager
def open_bytes(path: PathLike) -> Iterator[io.BufferedReader]:
  """Opens a file, unpacked if it is packed by gzip.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is a folder, or damaged where it is packed.
  """
  if os.path.isdir(path):
    raise ValueError(f'{os.fspath(path)}: a folder; need a file')
  with open(path, 'rb') as file:
    if not file.peek(2).startswith(_PACKED):
      yield file
      return
    try:
      with gzip.GzipFile(fileobj=file) as packed:
        yield io.BufferedReader(cast(Any, packed))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
      raise ValueError(
        f'{os.fspath(path)}: damaged gzip ({error}); copy it again'
      ) from None


def encoding_of(head: bytes) -> str:
  """Returns how a text is encoded, told by its first bytes.

  Without a mark it is UTF-8, unless every other byte is zero: then some tool
  wrote UTF-16 without one.
  """
  for mark, name in _MARKS:
    if head.startswith(mark):
      return name
  even, odd = head[::2].count(0), head[1::2].count(0)
  # Other letters than Latin ones have no zeros, commas and line ends do.
  if max(even, odd) > len(head) // 128 and max(even, odd) > 4 * min(even, odd):
    return 'utf-16-be' if even > odd else 'utf-16-le'
  return 'utf-8'


@contextlib.contextmanager
def open_text(path: PathLike) -> Iterator[TextIO]:
  """Opens a text, without its mark; line ends are kept as they are.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is neither UTF-8 nor UTF-16; names the line.
  """
  try:
    with open_bytes(path) as file:
      encoding = encoding_of(_peek(file))
      with io.TextIOWrapper(file, encoding, newline='') as text:
        yield text
  except UnicodeDecodeError as error:
    raise ValueError(_undecodable(path, error)) from None


def _peek(file: Any) -> bytes:
  return file.peek(_HEAD)[:_HEAD]


def _undecodable(path: PathLike, error: UnicodeDecodeError) -> str:
  """Reads up to what can't be decoded, to tell its line."""
  found, line = error, 1
  newlines = io.IncrementalNewlineDecoder(None, translate=True)
  with open_bytes(path) as file:
    decoder = codecs.getincrementaldecoder(encoding_of(_peek(file)))()
    chunk = b'.'
    while chunk:
      chunk = file.read(_CHUNK)
      try:
        line += newlines.decode(decoder.decode(chunk, not chunk)).count('\n')
      except UnicodeDecodeError as again:
        found, chunk = again, b''
        before = found.object[: found.start].decode(found.encoding, 'ignore')
        line += newlines.decode(before).count('\n')
  shown = found.object[found.start : found.start + 4].hex(' ')
  return (
    f'{os.fspath(path)}: line {line}: not {found.encoding.upper()} (bytes '
    f'{shown}); save the file as UTF-8'
  )


def lines(path: PathLike) -> Iterator[tuple[int, str]]:
  """Yields lines with their numbers from 1, as an editor counts them.

  Line ends, of whatever system, are cut off, and so are marks at the start of
  a line: files with one are put together, too.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is neither UTF-8 nor UTF-16; names the line.
  """
  with open_text(path) as text:
    for number, line in enumerate(text, 1):
      yield number, line.rstrip('\r\n').lstrip(_MARK)


def whole(path: PathLike) -> str:
  """Returns all of a text, line ends as they are.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is neither UTF-8 nor UTF-16; names the line.
  """
  with open_text(path) as text:
    return text.read().lstrip(_MARK)


def entries(path: PathLike) -> list[str]:
  """Reads a list, one entry a line: class names, templates, ids.

  Blanks around entries, blank lines, marks and any system's line ends are no
  part of it.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is neither UTF-8 nor UTF-16; names the line.
  """
  found = (line.strip() for _, line in lines(path))
  return [entry for entry in found if entry]
