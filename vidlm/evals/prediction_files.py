"""Predictions, and plain references, in the files people exchange."""

import csv
import json
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vidlm.core import ids
from vidlm.evals import densevid

_IDS = ('question_id', 'clip_id', 'image_id', 'video_id', 'id', 'video')
_TEXTS = ('prediction', 'answer', 'caption', 'captions', 'text', 'sentence')
Pairs = list[tuple[str, Any]]


class _Pairs(list):
  """A JSON object as pairs, so that a key that is there twice is seen."""


def _load(path: pathlib.Path) -> Any:
  if not path.exists():
    raise FileNotFoundError(f'{path}: no such file')
  try:
    with path.open(encoding='utf-8-sig', newline='') as file:
      if path.suffix == '.jsonl':
        return list(_json_lines(file))
      if path.suffix in ('.csv', '.tsv'):
        delimiter = '\t' if path.suffix == '.tsv' else ','
        return list(csv.DictReader(file, delimiter=delimiter))
      return json.load(file, object_pairs_hook=_Pairs)
  except (ValueError, csv.Error) as error:
    raise ValueError(f'{path}: not readable ({error})') from None


def _json_lines(lines: Iterable[str]) -> Iterator[Any]:
  for number, line in enumerate(lines, 1):
    if line.strip():
      try:
        yield json.loads(line.rstrip())
      except json.JSONDecodeError as error:
        where = f'line {number}, column {error.colno}'
        raise ValueError(f'{where}: {error.msg}') from None


def _first(row: Mapping[str, Any], names: Sequence[str], where: str) -> Any:
  for name in names:
    if row.get(name) is not None:
      return row[name]
  raise ValueError(
    f'{where}: none of the columns {", ".join(names)}; it has '
    f'{", ".join(map(str, row))}'
  )


def _from_rows(rows: Sequence[Any], path: pathlib.Path) -> Iterator:
  for number, row in enumerate(rows):
    where = f'{path}: row {number}'
    if not isinstance(row, _Pairs | Mapping):
      raise ValueError(f'{where} is no object with an id and a text')
    row = dict(row)
    yield str(_first(row, _IDS, where)), _first(row, _TEXTS, where)


def _plain(value: Any) -> Any:
  """Keeps lists of texts; pairs that stand for an object become one."""
  if isinstance(value, _Pairs):
    return {key: _plain(item) for key, item in value}
  return value


def read_texts(path: str | os.PathLike[str]) -> Pairs:
  """Reads a text, or a list of texts, for each id.

  Args:
    path: JSON of {id: text}, of {video: {question: text}} (NExT-OE; the id is
      video_question), of rows with an id and a text (COCO's, VQA's), or what
      `vidlm eval --output` wrote; or .jsonl, .csv, .tsv of rows.

  Returns:
    Pairs in the file's order; ids that are there twice are kept.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind; says where.
  """
  path = pathlib.Path(path)
  content = _load(path)
  if isinstance(content, _Pairs):
    inner = dict(content).get('predictions')
    content = inner if isinstance(inner, _Pairs) else content
  if not isinstance(content, _Pairs):
    if not isinstance(content, list):
      raise ValueError(f'{path}: neither an object nor a list')
    return [(key, _plain(text)) for key, text in _from_rows(content, path)]
  pairs: Pairs = []
  for key, value in content:
    if isinstance(value, _Pairs):
      pairs += [(f'{key}_{inner}', _plain(text)) for inner, text in value]
    else:
      pairs.append((str(key), _plain(value)))
  return pairs


def read_predictions(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
  """Reads one text per id; see `read_texts`.

  A list of one text counts as that text, as in pycocoevalcap.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind or empty, or an id has several texts or
      none.
  """
  found = []
  for key, value in read_texts(path):
    if isinstance(value, list) and len(value) == 1:
      value = value[0]
    if not isinstance(value, str):
      raise ValueError(f'{path}: the prediction of {key!r} is no text: {value}')
    found.append((key, value))
  if not found:
    raise ValueError(f'{path}: no prediction in it')
  return found


def is_submission(path: str | os.PathLike[str]) -> bool:
  """Returns whether a file is densevid_eval's: {"results": {video: [...]}}."""
  path = pathlib.Path(path)
  if path.suffix != '.json':
    return False
  content = _load(path)
  return isinstance(content, _Pairs) and 'results' in dict(content)


def read_submission(
  path: str | os.PathLike[str],
) -> dict[str, list[densevid.Segment]]:
  """Reads a submission to ActivityNet's captioning task.

  Args:
    path: JSON of {"results": {video: [{"sentence", "timestamp": [s, e]}]}}.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind; says where.
  """
  results = dict(_load(pathlib.Path(path)))['results']
  if not isinstance(results, _Pairs):
    raise ValueError(f'{path}: "results" is no object of videos')
  found: dict[str, list[densevid.Segment]] = {}
  for video, items in ids.by_id(results, f'videos of {path}').items():
    try:
      found[video] = [_segment(dict(item)) for item in items]
    except (KeyError, TypeError, ValueError):
      raise ValueError(
        f'{path}: {video} needs a list of {{"sentence", "timestamp": [s, e]}}, '
        'a text and two numbers of seconds'
      ) from None
  return found


def _segment(item: Mapping[str, Any]) -> densevid.Segment:
  start, end = item['timestamp']
  if not isinstance(item['sentence'], str) or not (
    math.isfinite(start) and math.isfinite(end)
  ):
    raise ValueError('no text, or no time')
  return densevid.Segment(start, end, item['sentence'])
