"""One reader of tables, whatever tool wrote them.

  .csv .tsv .txt     cells between commas, semicolons, tabs or bars
  .jsonl .ndjson     an object a line
  .json              a list of objects, objects of a line each, or columns
  .parquet .pq       any

and each of them packed by gzip, with or without .gz behind the name.
"""

import gzip
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vidlm.data.tables import dialects, jsons, texts

DELIMITED = ('.csv', '.tsv', '.txt')
LINES = ('.jsonl', '.ndjson')
PARQUET = ('.parquet', '.pq')
KINDS = 'CSV, TSV, JSON lines, JSON or Parquet, or one of them in gzip'
# What the rows are in, where an object says more than them.
_WRAPPERS = ('data', 'rows', 'annotations', 'results', 'predictions')
_BATCH = 1024


def is_json(path: texts.PathLike) -> bool:
  """Returns whether a file is JSON, by its name: one value, or lines."""
  return texts.suffix(path) in ('.json', *LINES)


def rows(path: texts.PathLike) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields the rows of a table, with their lines in the file where it has some.

  Rows of JSON in one piece and of Parquet are numbered from 1. Cells of text
  files are texts as they stand; see `cells` for lists among them.

  Args:
    path: Path of the table.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind, or can't be read; names the line.
  """
  kind = texts.suffix(path)
  if not os.path.exists(path):
    raise FileNotFoundError(f'{os.fspath(path)}: no such file')
  if kind in PARQUET:
    return _parquet_rows(path)
  if kind in LINES:
    return _objects(jsons.values(path), path)
  if kind == '.json':
    return rows_of(jsons.content(path), path)
  if kind == '.tsv':
    return dialects.rows(path, '\t,;|')
  if kind in DELIMITED:
    return dialects.rows(path)
  raise ValueError(
    f'{os.fspath(path)}: need .jsonl, .json, .csv, .tsv or .parquet, also with '
    '.gz'
  )


def rows_of(
  value: Any, path: texts.PathLike
) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields the rows that a JSON value holds, numbered from 1.

  Args:
    value: A list of objects; {"annotations": such a list, ...}; or columns,
      {name: list} or, as pandas writes them, {name: {index: cell}}.
    path: Of the file, for messages.

  Raises:
    ValueError: If it is no table.
  """
  if isinstance(value, list):
    return _objects(enumerate(value, 1), path)
  if isinstance(value, Mapping):
    lists = [key for key in _WRAPPERS if isinstance(value.get(key), list)]
    if len(lists) == 1 and all(isinstance(r, dict) for r in value[lists[0]]):
      return _objects(enumerate(value[lists[0]], 1), path)
    table = columns_of(value)
    if table is not None:
      return _objects(enumerate(table, 1), path)
  raise ValueError(f'{os.fspath(path)}: not a list of rows')


def columns_of(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
  """Returns the rows of {name: list} or {name: {index: cell}}; None of others.

  Lists have to be as long as each other, and indexes the same.
  """
  columns = list(value.values())
  if len(columns) < 2:
    return None
  if all(isinstance(column, list) for column in columns):
    lengths = {len(column) for column in columns}
    if len(lengths) != 1:
      return None
    return [
      dict(zip(value, cells, strict=True))
      for cells in zip(*columns, strict=True)
    ]
  if all(isinstance(column, Mapping) for column in columns):
    index = list(columns[0])
    if any(list(column) != index for column in columns):
      return None
    return [{name: value[name][key] for name in value} for key in index]
  return None


def _objects(
  values: Iterable[tuple[int, Any]], path: texts.PathLike
) -> Iterator[tuple[int, dict[str, Any]]]:
  for number, row in values:
    if not isinstance(row, Mapping):
      raise ValueError(
        f'{os.fspath(path)}: row {number}: not an object with columns'
      )
    yield number, dict(row)


def _parquet_rows(
  path: texts.PathLike,
) -> Iterator[tuple[int, dict[str, Any]]]:
  import pyarrow as pa
  import pyarrow.parquet as pq

  number = 0
  try:
    with texts.open_bytes(path) as file:
      # What is packed can't be jumped about in: into memory.
      packed = isinstance(getattr(file, 'raw', None), gzip.GzipFile)
      source = io.BytesIO(file.read()) if packed else file
      with pq.ParquetFile(source) as table:
        for batch in table.iter_batches(batch_size=_BATCH):
          for row in batch.to_pylist():
            number += 1
            yield number, row
  except (pa.ArrowException, OSError) as error:
    raise ValueError(
      f'{os.fspath(path)}: not Parquet, or damaged behind row {number} '
      f'({error})'
    ) from None
