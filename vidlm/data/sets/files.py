"""Annotation files as people have them, read with one clear line on trouble."""

import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vidlm.data.tables import dialects, jsons
from vidlm.data.tables import texts as texts_lib
from vidlm.data.video import scanner


def archives(videos: str | scanner.Folder) -> list[str]:
  """Lists tars and Parquet files anywhere below a folder, sorted.

  Raises:
    FileNotFoundError: If there is no such folder, or none in it.
  """
  folder = scanner.Folder.of(videos)
  paths = [
    pathlib.Path(folder.path, name) for name in scanner.scan(folder, 'archive')
  ]
  found = [str(path) for path in sorted(paths) if path.is_file()]
  if not found:
    kinds = ' or '.join(scanner.suffixes('archive'))
    raise FileNotFoundError(f'{folder.path}: no {kinds} below it')
  return found


def expand(paths: Sequence[str]) -> list[str]:
  """Lists annotation files; a folder stands for those in it, sorted.

  Raises:
    FileNotFoundError: For a path that isn't there, or a folder without files.
  """
  found: list[str] = []
  for path in paths:
    if os.path.isdir(path):
      names = scanner.names_in(path, 'annotations')
      if not names:
        kinds = ' '.join(scanner.suffixes('annotations'))
        raise FileNotFoundError(
          f'{path}: no annotation file in it (looked for {kinds})'
        )
      found += [os.path.join(path, name) for name in names]
    elif os.path.isfile(path):
      found.append(path)
    else:
      raise FileNotFoundError(f'{path}: no such annotation file')
  return found


def stem(path: str) -> str:
  """Returns the name of a file without folder and suffix."""
  return pathlib.Path(path).stem


def read_json(path: str) -> Any:
  """Reads a JSON file's content.

  Raises:
    ValueError: If it isn't JSON; the message names the file.
  """
  return jsons.content(path)


def json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields line numbers and objects of a JSON lines file, one at a time.

  Raises:
    ValueError: For a line that isn't an object; the message names it.
  """
  for number, row in jsons.values(path):
    if not isinstance(row, dict):
      raise ValueError(f'{path}:{number}: not an object')
    yield number, row


def delimiter(path: str) -> str:
  """Returns the likeliest delimiter of a CSV file."""
  return dialects.choose(path).delimiter


def csv_lines(
  path: str, separator: str | None = None
) -> Iterator[tuple[int, list[str]]]:
  """Yields line numbers and cells of a CSV file, blank lines left out.

  Cells are texts as they stand: an answer 'none' or '1' stays one.

  Args:
    path: Path of the file.
    separator: Between cells; by default `delimiter`.
  """
  dialect = dialects.Dialect(separator) if separator else None
  yield from dialects.cells(path, dialect)


def csv_rows(
  path: str, required: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
  """Yields line numbers and rows of a CSV file with a header.

  Raises:
    ValueError: If a required column is missing, or a row has other than the
      header's number of cells.
  """
  lines = csv_lines(path)
  header = [cell.strip() for cell in next(lines, (0, []))[1]]
  missing = [name for name in required if name not in header]
  if missing:
    raise ValueError(
      f'{path}: no column {missing[0]!r}; it has {", ".join(header) or "none"}'
    )
  for number, cells in lines:
    if len(cells) != len(header):
      raise ValueError(
        f'{path}:{number}: {len(cells)} cells for {len(header)} columns'
      )
    yield number, dict(zip(header, cells, strict=True))


def read_ids(path: str) -> list[str]:
  """Reads the ids of a list: one a line, or a CSV or JSON list of them.

  A first line that says what follows (`video_id`) is left out, and so are
  suffixes of video files.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it holds none.
  """
  if not os.path.isfile(path):
    raise FileNotFoundError(f'{path}: no such list of ids')
  if path.lower().endswith('.json'):
    rows = read_json(path)
    if not isinstance(rows, list):
      raise ValueError(f'{path}: not a list of ids')
    ids = [str(row) for row in rows]
  else:
    ids = [entry.strip('"').strip() for entry in texts_lib.entries(path)]
  if ids and ids[0].lower() in ('video_id', 'videoid', 'id', 'clip_id'):
    ids = ids[1:]
  ids = [name.removesuffix('.mp4') for name in ids]
  if not ids:
    raise ValueError(f'{path}: no ids in it')
  return list(dict.fromkeys(ids))


def want(row: Mapping[str, Any], key: str, where: str) -> Any:
  """Returns a field that must be there.

  Raises:
    ValueError: If it isn't; says where, and what is there.
  """
  if not isinstance(row, Mapping) or row.get(key) is None:
    keys = ', '.join(map(str, row)) if isinstance(row, Mapping) else repr(row)
    raise ValueError(f'{where}: no {key!r} (it has {keys[:200]})')
  return row[key]


def number(value: Any, where: str) -> float:
  """Returns a finite number.

  Raises:
    ValueError: If it isn't one; says where.
  """
  try:
    result = float(value)
  except (TypeError, ValueError):
    result = float('nan')
  if result != result or result in (float('inf'), float('-inf')):
    raise ValueError(f'{where}: {value!r} is not a number')
  return result


def clean(text: Any) -> str:
  """Strips a text of the white space around it."""
  return str(text).strip()


def texts(value: Any) -> tuple[str, ...]:
  """Returns one text or a list of them, stripped, without the empty ones."""
  values = value if isinstance(value, list | tuple) else [value]
  cleaned = (clean(text) for text in values if text is not None)
  return tuple(text for text in cleaned if text)
