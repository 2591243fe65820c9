"""JSON and JSON lines; which of the two a file is, its content says.

The json module reads them, not pyarrow's reader: that one takes texts that
look like times for times, and names no lines.
"""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from vidlm.data.tables import texts

Pairs = Callable[[list[tuple[str, Any]]], Any]


def content(path: texts.PathLike, pairs: Pairs | None = None) -> Any:
  """Reads what a file holds; of JSON lines a list.

  Args:
    path: Path of the file.
    pairs: Makes something else than a dict of an object.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is no JSON; names the line.
  """
  text = texts.whole(path)
  try:
    return _parse(text, pairs)
  except json.JSONDecodeError as error:
    if not error.msg.startswith('Extra data'):
      raise ValueError(_told(path, error)) from None
  except (ValueError, RecursionError) as error:
    raise ValueError(f'{os.fspath(path)}: not JSON ({error})') from None
  return [value for _, value in _lines(path, pairs)]


def values(
  path: texts.PathLike, pairs: Pairs | None = None
) -> Iterator[tuple[int, Any]]:
  """Yields the values of JSON lines with their lines, one at a time.

  A file that holds one list instead gives its items, numbered from 1.

  Args:
    path: Path of the file.
    pairs: Makes something else than a dict of an object.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is no JSON; names the line.
  """
  first = next((line for _, line in texts.lines(path) if line.strip()), '')
  # A list, or an object over several lines.
  if first.lstrip().startswith('[') or first.strip() == '{':
    found = content(path, pairs)
    yield from enumerate(found if isinstance(found, list) else [found], 1)
  else:
    yield from _lines(path, pairs)


def _lines(
  path: texts.PathLike, pairs: Pairs | None
) -> Iterator[tuple[int, Any]]:
  for number, line in texts.lines(path):
    if not line.strip():
      continue
    try:
      yield number, _parse(line.strip(), pairs)
    except json.JSONDecodeError as error:
      raise ValueError(_told(path, error, number)) from None
    except (ValueError, RecursionError) as error:
      raise ValueError(
        f'{os.fspath(path)}: line {number}: not JSON ({error})'
      ) from None


def _parse(text: str, pairs: Pairs | None) -> Any:
  if pairs is None:  # Quicker, for files of gigabytes.
    return json.loads(text)
  return json.loads(text, object_pairs_hook=pairs)


def _told(
  path: texts.PathLike, error: json.JSONDecodeError, line: int | None = None
) -> str:
  return (
    f'{os.fspath(path)}: line {line or error.lineno}, column {error.colno}: '
    f'not JSON ({error.msg}); is the file whole?'
  )
