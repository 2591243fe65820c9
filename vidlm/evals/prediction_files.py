"""Predictions, and plain references, in the files people exchange."""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from vidlm.core import ids
from vidlm.data.tables import columns, jsons, reading, texts
from vidlm.evals import densevid, text_rows

TextFile = text_rows.TextFile
Pairs = text_rows.Pairs
File = TextFile | str | os.PathLike[str]


class _Pairs(list):
  """A JSON object as pairs, so that a key that is there twice is seen."""


def _load(path: str) -> Any:
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such file')
  if texts.suffix(path) in reading.LINES:
    found = [value for _, value in jsons.values(path, _Pairs)]
    # A single object is one row, or the whole in a line.
    return found[0] if len(found) == 1 and _is_whole(found[0]) else found
  return jsons.content(path, _Pairs)


def _is_whole(value: Any) -> bool:
  if not isinstance(value, _Pairs):
    return isinstance(value, list)
  names = [name for name, _ in value]
  return not columns.find(names, columns.IDS)


def _plain(value: Any) -> Any:
  """Keeps lists of texts; pairs that stand for an object become one."""
  if isinstance(value, _Pairs):
    return {key: _plain(item) for key, item in value}
  if isinstance(value, list):
    return [_plain(item) for item in value]
  return value


def _is_json(path: str) -> bool:
  """Returns whether a file is JSON: by its name, a .txt by its first letter."""
  kind = texts.suffix(path)
  if kind == '.txt':
    first = next((line for _, line in texts.lines(path) if line.strip()), '')
    return first.lstrip().startswith(('{', '['))
  return kind not in (*reading.PARQUET, *reading.DELIMITED)


def read_texts(file: File, known: Collection[str] = ()) -> Pairs:
  """Reads a text, or a list of texts, for each id.

  Args:
    file: JSON of {id: text}, of {video: {question: text}} (NExT-OE; the id is
      video_question), of rows with an id and a text (COCO's, VQA's), or what
      `vidlm eval --output` wrote; a table, see `reading.rows`; or the folder of
      a caption set.
    known: Ids that are annotated, to tell which column has them.

  Returns:
    Pairs in the file's order; ids that are there twice are kept.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind, or two columns could be meant; says
      where.
  """
  file = text_rows.of(file)
  if os.path.isdir(file.path):
    from vidlm.data.store import caption_sets

    table = caption_sets.read_captions(file.path)
    return text_rows.read(table.to_pylist(), file, known)
  if not os.path.exists(file.path):
    raise FileNotFoundError(f'{file.path}: no such file')
  if not _is_json(file.path):
    table = [row for _, row in reading.rows(file.path)]
    return text_rows.read(table, file, known)
  return _of_json(_load(file.path), file, known)


def _of_json(content: Any, file: TextFile, known: Collection[str]) -> Pairs:
  if isinstance(content, _Pairs):
    inner = dict(content).get('predictions')
    content = inner if isinstance(inner, _Pairs) else content
  if not isinstance(content, _Pairs):
    if not isinstance(content, list):
      raise ValueError(f'{file.path}: neither an object nor a list')
    rows = [row for _, row in reading.rows_of(_plain(content), file.path)]
    return text_rows.read(rows, file, known)
  table = _table(content, file)
  if table is not None:
    return text_rows.read(table, file, known)
  pairs: Pairs = []
  for key, value in content:
    if isinstance(value, _Pairs):
      pairs += [(f'{key}_{inner}', _plain(text)) for inner, text in value]
    else:
      pairs.append((str(key), text_rows.chosen(_plain(value), file)))
  return pairs


def _table(content: _Pairs, file: TextFile) -> list[dict[str, Any]] | None:
  """Returns the rows of an object that holds a table; None if it has texts."""
  plain = _plain(content)
  names = {'ids': columns.find(plain, columns.IDS)}
  said = (
    *(*columns.PREDICTED, *columns.ANSWERS, *columns.CAPTIONS),
    *(*columns.TEXTS, *columns.TRUE),
  )
  if names['ids'] and columns.find(plain, said):
    table = reading.columns_of(plain)
    if table is not None:
      return table
  for name in ('data', 'rows', 'annotations', 'results', 'predictions'):
    rows = plain.get(name)
    if isinstance(rows, list) and rows and isinstance(rows[0], dict):
      return [row for _, row in reading.rows_of(rows, file.path)]
  # {id: {"pred": ..., "question": ...}}: a row each, called by its key.
  own = [value for value in plain.values() if isinstance(value, Mapping)]
  if (
    own and len(own) == len(content) and all(columns.find(v, said) for v in own)
  ):
    return [{**dict(value), 'id': key} for key, value in _rows_by_id(content)]
  return None


def _rows_by_id(content: _Pairs) -> Sequence[tuple[str, Any]]:
  rows = [(key, _plain(value)) for key, value in content]
  return [
    (key, {n: v for n, v in row.items() if not columns.find([n], columns.IDS)})
    for key, row in rows
  ]


def read_predictions(
  file: File, known: Collection[str] = ()
) -> list[tuple[str, str]]:
  """Reads one text per id; see `read_texts`.

  A list of one text counts as that text, as in pycocoevalcap.

  Args:
    file: See `read_texts`.
    known: See `read_texts`.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind or empty, or an id has several texts or
      none.
  """
  file, found = text_rows.of(file), []
  for key, value in read_texts(file, known):
    if isinstance(value, list) and len(value) == 1:
      value = value[0]
    if not isinstance(value, str):
      several = isinstance(value, list) and len(value) > 1
      advice = '; choose one of several by --sample=0' if several else ''
      raise ValueError(
        f'{file.path}: the prediction of {key!r} is no text: {value}{advice}'
      )
    found.append((key, value))
  if not found:
    raise ValueError(f'{file.path}: no prediction in it')
  return found


def is_submission(path: str | os.PathLike[str]) -> bool:
  """Returns whether a file is densevid_eval's: {"results": {video: [...]}}."""
  path = os.fspath(path)
  if texts.suffix(path) != '.json' or os.path.isdir(path):
    return False
  content = _load(path)
  if not isinstance(content, _Pairs):
    return False
  results = dict(content).get('results')
  rows = not isinstance(results, _Pairs) and isinstance(results, list)
  return results is not None and not (rows and isinstance(results[0], _Pairs))


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
  results = dict(_load(os.fspath(path)))['results']
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
