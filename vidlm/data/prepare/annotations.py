"""Reads what people know about their clips, a row of a table a clip."""

import math
import os
from collections.abc import Mapping
from typing import Any

from vidlm.core import file_names
from vidlm.data.tables import cells, reading
from vidlm.data.tables import columns as columns_lib
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
  JSON or Python write it). Times are seconds or HH:MM:SS.mmm; without them a
  clip is its whole file. How videos are looked for is `lookup.Lookup`'s.

  Args:
    path: A table; see `reading.rows`.
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
  if not os.path.isfile(path):
    raise FileNotFoundError(f'{path}: no such annotation file')
  rows = list(reading.rows(path))
  if not rows:
    raise ValueError(f'{path}: no rows')
  present = {key for _, row in rows for key in row}
  for kind, name in names.items():
    required = kind in _REQUIRED or kind in explicit
    if name and name not in present and required:
      raise columns_lib.lacking(
        f'{path}: no column {name!r} for the {kind}',
        sorted(present),
        f'name it by --{kind}_column',
      )
    if name and f'{name} (2)' in present:
      raise ValueError(
        f'{path}: two columns {name!r}: which is the {kind}? Rename one, or '
        f'name another by --{kind}_column'
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


def _entry(values: Mapping[str, Any]) -> listing.Entry:
  clip_id = values.get('id')
  name = values.get('video')
  if clip_id is None or str(clip_id) == '':
    raise ValueError('no clip id')
  if not isinstance(name, str) or not name:
    raise ValueError(f'clip {clip_id}: no video')
  questions = cells.texts(values.get('question'))
  answers = cells.texts(values.get('answer'))
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
    texts=cells.texts(values.get('caption')),
    questions=questions,
    answers=answers,
    label=str(values.get('label') or '').strip(),
    split=str(values.get('split') or '').strip() or 'train',
  )


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
