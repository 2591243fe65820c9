"""Reads what people know about their clips: JSON lines, CSV, TSV, Parquet."""

import csv
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from vidlm.core import file_names
from vidlm.data.video import inventory as inventories
from vidlm.data.video import listing, lookup

# What a column holds -> its name unless told otherwise. The first three are
# required.
COLUMNS = {
  'id': 'clip_id',
  'video': 'path',
  'caption': 'caption',
  'start': 'start',
  'end': 'end',
  'question': 'question',
  'answer': 'answer',
  'label': 'label',
  'split': 'split',
}
_REQUIRED = ('id', 'video', 'caption')


def read_annotations(
  path: str,
  videos: inventories.Videos,
  columns: Mapping[str, str] | None = None,
) -> list[listing.Entry]:
  """Reads one clip a row.

  Captions, questions and answers may be one text or a list (in CSV: a list as
  JSON). Times are seconds or HH:MM:SS.mmm; without them a clip is its whole
  file. How videos are looked for is `lookup.Lookup`'s.

  Args:
    path: A .jsonl, .json (a list), .csv (also with ; or tabs), .tsv or
      .parquet file.
    videos: Folder the video names are relative to.
    columns: Names that differ from COLUMNS, such as {'caption': 'sentence'};
      {'caption': ''} for clips without captions.

  Returns:
    Clips in the order of rows. A video that is missing, or whose path leads
    out of the folder, is an entry with a reason.

  Raises:
    FileNotFoundError: If there is no such file or folder.
    ValueError: For a missing column, a clip id used twice, or a row that makes
      no sense; the message names file and row.
  """
  files = lookup.Lookup(videos)
  names = _column_names(columns or {})
  explicit = set(columns or {})
  try:
    rows = list(_read_rows(path))
  except UnicodeDecodeError as error:
    raise ValueError(f'{path}: not UTF-8: {error}') from None
  if not rows:
    raise ValueError(f'{path}: no rows')
  present = {key for _, row in rows for key in row}
  for kind, name in names.items():
    required = kind in _REQUIRED or kind in explicit
    if name and name not in present and required:
      raise ValueError(
        f'{path}: no column {name!r} for the {kind}; it has '
        f'{", ".join(sorted(present))}; name it by --{kind}_column'
      )
  entries: dict[str, listing.Entry] = {}
  lines: dict[str, int] = {}
  for line, row in rows:
    values = {kind: row.get(name) for kind, name in names.items() if name}
    try:
      entry = _entry(values)
    except ValueError as error:
      raise ValueError(f'{path}: row {line}: {error}') from None
    if entry.clip_id in entries:
      raise ValueError(
        f'{path}: rows {lines[entry.clip_id]} and {line} both have the clip '
        f'id {entry.clip_id!r}; give one row a clip, its captions as a list'
      )
    entries[entry.clip_id] = entry
    lines[entry.clip_id] = line
  return files.locate_all(entries.values())


def _column_names(columns: Mapping[str, str]) -> dict[str, str]:
  unknown = set(columns) - set(COLUMNS)
  if unknown:
    raise ValueError(
      f'columns {sorted(unknown)}: unknown; there are {", ".join(COLUMNS)}'
    )
  return {**COLUMNS, **columns}


def _read_rows(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  """Yields the number of each row, as an editor counts lines, and the row."""
  if not os.path.isfile(path):
    raise FileNotFoundError(f'{path}: no such annotation file')
  suffix = pathlib.Path(path).suffix.lower()
  if suffix == '.parquet':
    import pyarrow.parquet as pq

    yield from enumerate(pq.read_table(path).to_pylist(), 1)
  elif suffix in ('.jsonl', '.ndjson'):
    yield from _read_json_lines(path)
  elif suffix == '.json':
    with open(path, encoding='utf-8-sig') as file:
      try:
        rows = json.load(file)
      except json.JSONDecodeError as error:
        raise ValueError(f'{path}: not JSON: {error}') from None
    if not isinstance(rows, list):
      raise ValueError(f'{path}: not a list of rows')
    yield from enumerate(_objects(rows, path), 1)
  elif suffix in ('.csv', '.tsv'):
    yield from _read_csv(path, '\t' if suffix == '.tsv' else None)
  else:
    raise ValueError(f'{path}: need .jsonl, .json, .csv, .tsv or .parquet')


def _objects(rows: list[Any], path: str) -> Iterator[dict[str, Any]]:
  for number, row in enumerate(rows, 1):
    if not isinstance(row, dict):
      raise ValueError(f'{path}: row {number}: not an object with columns')
    yield row


def _read_json_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
  # -sig, here and below: some editors begin a file with a byte order mark.
  with open(path, encoding='utf-8-sig') as file:
    for number, line in enumerate(file, 1):
      if not line.strip():
        continue
      try:
        row = json.loads(line)
      except json.JSONDecodeError as error:
        raise ValueError(f'{path}: row {number}: not JSON: {error}') from None
      if not isinstance(row, dict):
        raise ValueError(f'{path}: row {number}: not an object with columns')
      yield number, row


def _read_csv(
  path: str, delimiter: str | None
) -> Iterator[tuple[int, dict[str, Any]]]:
  with open(path, encoding='utf-8-sig', newline='') as file:
    if delimiter is None:
      header = file.readline()
      file.seek(0)
      delimiter = max(',;\t', key=header.count)
    reader = csv.DictReader(file, delimiter=delimiter)
    for row in reader:
      if None in row or None in row.values():
        raise ValueError(
          f'{path}: row {reader.line_num}: not as many cells as columns'
        )
      yield reader.line_num, row


def _entry(values: Mapping[str, Any]) -> listing.Entry:
  clip_id = values.get('id')
  name = values.get('video')
  if clip_id is None or str(clip_id) == '':
    raise ValueError('no clip id')
  if not isinstance(name, str) or not name:
    raise ValueError(f'clip {clip_id}: no video')
  questions = _texts(values.get('question'))
  answers = _texts(values.get('answer'))
  if len(questions) != len(answers):
    raise ValueError(
      f'clip {clip_id}: {len(questions)} questions, {len(answers)} answers'
    )
  return listing.Entry(
    clip_id=file_names.printable(str(clip_id)),
    video=name,
    path=None,
    start=_seconds(values.get('start')),
    end=_seconds(values.get('end')),
    texts=_texts(values.get('caption')),
    questions=questions,
    answers=answers,
    label=str(values.get('label') or ''),
    split=str(values.get('split') or 'train'),
  )


def _texts(value: Any) -> tuple[str, ...]:
  """Returns one text or a list of them, stripped, without the empty ones."""
  if isinstance(value, str) and value.lstrip().startswith('['):
    try:
      parsed = json.loads(value)
    except json.JSONDecodeError:
      parsed = None  # a caption that happens to begin with a bracket
    if isinstance(parsed, list) and all(isinstance(t, str) for t in parsed):
      value = parsed
  if value is None or (isinstance(value, float) and math.isnan(value)):
    return ()
  if not isinstance(value, list | tuple):
    value = [value]
  if any(isinstance(text, list | dict) for text in value):
    raise ValueError(f'{value!r}: neither a text nor a list of texts')
  texts = (str(text).strip() for text in value if text is not None)
  return tuple(text for text in texts if text)


def _seconds(value: Any) -> float | None:
  """Returns seconds from a number, its text, or HH:MM:SS.mmm."""
  if value is None or value == '':
    return None
  try:
    seconds = 0.0
    for part in str(value).split(':'):
      seconds = 60 * seconds + float(part)
  except ValueError:
    raise ValueError(f'{value!r}: neither seconds nor HH:MM:SS.mmm') from None
  if math.isnan(seconds):
    return None  # how pandas writes an empty cell
  if math.isinf(seconds):
    raise ValueError(f'{value!r}: not a time')
  return seconds
