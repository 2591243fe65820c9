"""Rows of a table in any of the forms large sets come in, one at a time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vidlm.data.tables import reading, texts


def table_rows(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields where each row is, for messages, and the row.

  Args:
    path: A table; see `reading.rows`.

  Raises:
    ValueError: For another kind of file, or one that can't be read.
  """
  has_lines = texts.suffix(path) in (*reading.LINES, *reading.DELIMITED)
  for number, row in reading.rows(path):
    yield f'{path}:{number}' if has_lines else f'{path}: row {number}', row


def pick(row: Mapping[str, Any], names: Sequence[str]) -> Any:
  """Returns the first of some columns that is there and not empty, or None."""
  for name in names:
    value = row.get(name)
    if value is not None and value != '' and value != []:
      return value
  return None


def need(row: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
  """Returns what `pick` does.

  Raises:
    ValueError: If there is none; says where, and what is there.
  """
  value = pick(row, names) if isinstance(row, Mapping) else None
  if value is None:
    keys = ', '.join(map(str, row)) if isinstance(row, Mapping) else repr(row)
    raise ValueError(
      f'{where}: none of {", ".join(names)} (it has {keys[:200]})'
    )
  return value


def seconds(value: Any, where: str) -> float:
  """Returns seconds from a number or HH:MM:SS.mmm.

  Raises:
    ValueError: If it is neither; says where.
  """
  total = 0.0
  try:
    for part in str(value).strip().replace(',', '.').split(':'):
      total = 60 * total + float(part)
  except ValueError:
    total = math.nan
  if not math.isfinite(total) or total < 0:
    raise ValueError(f'{where}: {value!r} is neither seconds nor HH:MM:SS.mmm')
  return total
