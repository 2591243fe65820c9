"""Rows of a table as texts by id: which column is the id, which the text."""

import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from absl import logging

from vidlm.data.tables import aliases, cells, columns

Row = Mapping[str, Any]
Pairs = list[tuple[str, Any]]
PREDICTION, ANNOTATION = 'prediction', 'annotation'
_FLAGS = {
  PREDICTION: ('--id_column', '--prediction_column'),
  ANNOTATION: ('--annotation_id_column', '--annotation_column'),
}
_WHAT = {PREDICTION: 'the predictions', ANNOTATION: 'the annotations'}
_FAILED = 'failed'  # As caption sets say it of a clip.


@dataclasses.dataclass(frozen=True)
class TextFile:
  """A file of texts by id, and what is asked of its columns.

  Attributes:
    path: The file, or the folder of a caption set.
    id_column: Column of the ids; by default one that is known.
    text_column: Column of the texts; by default the one that is known.
    sample: Which of several texts of a clip counts, from 0.
    role: 'prediction' or 'annotation': what the texts are.
    kind: 'caption' or 'question'; '' for either.
  """

  path: str
  id_column: str | None = None
  text_column: str | None = None
  sample: int | None = None
  role: str = PREDICTION
  kind: str = ''

  def __fspath__(self) -> str:
    return self.path


def of(file: 'TextFile | str | os.PathLike[str]', **more: Any) -> TextFile:
  """Returns the file as one of texts; `more` is what is known by now."""
  if isinstance(file, TextFile):
    return dataclasses.replace(file, **more)
  return TextFile(os.fspath(file), **more)


def read(
  rows: Sequence[Row], file: TextFile, known: Collection[str] = ()
) -> Pairs:
  """Returns id and text of each row, in the file's order.

  Args:
    rows: Of the table.
    file: Where they are from, and what is asked of them.
    known: Ids that are annotated, to tell which column has them.

  Raises:
    ValueError: If no column is known, or two could be meant; names them and
      the flag.
  """
  if not rows:
    return []
  try:
    rows = _one_sample(_without_failed(rows, file), file)
    ids, names = _ids(rows, file, known)
    texts = _text_columns(rows, names, file)
  except ValueError as error:
    error.args = (f'{file.path}: {error}',)  # Keeps the whole it may have.
    raise
  return [
    (key, chosen(cells.unlisted(_plain(columns.value(row, texts))), file))
    for key, row in zip(ids, rows, strict=True)
  ]


def chosen(value: Any, file: TextFile) -> Any:
  """Returns the one of several texts that is asked for; else what there is."""
  if isinstance(value, list) and len(value) > 1 and file.sample is not None:
    if not 0 <= file.sample < len(value):
      raise ValueError(
        f'{file.path}: --sample={file.sample}: there are {len(value)} texts of '
        'an id, from 0'
      )
    return value[file.sample]
  return value


def _plain(value: Any) -> Any:
  if isinstance(value, bytes):
    return cells.as_text(value)
  return list(value) if isinstance(value, tuple) else value


def _without_failed(rows: Sequence[Row], file: TextFile) -> Sequence[Row]:
  """Leaves out the clips of our own sets that have no caption."""
  if not {'status', 'error'} <= set(rows[0]):
    return rows
  kept = [row for row in rows if row.get('status') != _FAILED]
  if len(kept) < len(rows):
    logging.warning(
      '%s: %d of %d rows have failed and hold no text',
      file.path,
      len(rows) - len(kept),
      len(rows),
    )
  return kept


def _one_sample(rows: Sequence[Row], file: TextFile) -> Sequence[Row]:
  """Keeps the sample that is asked for, of a row for each."""
  samples = {str(row.get('sample')) for row in rows if 'sample' in row}
  if len(samples) < 2 or file.role != PREDICTION:
    return rows
  if file.sample is None or str(file.sample) not in samples:
    raise ValueError(
      f'several samples of a clip ({", ".join(sorted(samples)[:5])}): choose '
      'one by --sample=0'
    )
  return [row for row in rows if str(row.get('sample')) == str(file.sample)]


def _ids(
  rows: Sequence[Row], file: TextFile, known: Collection[str]
) -> tuple[list[str], Sequence[str]]:
  """Returns the id of each row, and the columns it is from."""
  flag, _ = _FLAGS[file.role]
  if file.id_column is not None:
    names = [columns.named(rows, file.id_column, flag)]
    return _values(rows, names), names
  found = columns.find(columns.header(rows), columns.IDS)
  if not found:
    raise columns.lacking(
      'no column is known to hold ids',
      columns.header(rows),
      f'name it by {flag}=',
    )
  if known and len(found) > 1:
    parts = _composed(rows, found, set(known))
    if parts:
      own = [_values(rows, [part]) for part in parts]
      return ['_'.join(pair) for pair in zip(*own, strict=True)], parts
    found = _annotated(rows, found, set(known), flag)
  there = [name for name in found if name in rows[0]]
  names = found if _apart(rows, found) else there[:1]
  return _values(rows, names), names


def _apart(rows: Sequence[Row], names: Sequence[str]) -> bool:
  """Returns whether no row has two of the columns."""
  return all(sum(name in row for name in names) <= 1 for row in rows)


def _values(rows: Sequence[Row], names: Sequence[str]) -> list[str]:
  found = []
  for number, row in enumerate(rows, 1):
    value = columns.value(row, names)
    if cells.is_missing(value):
      raise ValueError(f'row {number} has no {names[0]!r}')
    # Whole numbers are floats where a table had a gap once.
    whole = isinstance(value, float) and value.is_integer()
    found.append(cells.as_text(int(value) if whole else value))
  return found


def _annotated(
  rows: Sequence[Row], found: Sequence[str], known: set[str], flag: str
) -> list[str]:
  """Returns the column that has the annotated ids.

  Raises:
    ValueError: If two have some, and differ.
  """
  have = {
    name: [str(row.get(name)) for row in rows if name in row] for name in found
  }
  right = [n for n in found if known.intersection(have[n])]
  right = right or [n for n in found if aliases.match(have[n], known)]
  if not right:
    return list(found)
  # The others have ids that would be refused.
  fitting = [
    n
    for n in right
    if len(set(have[n])) == len(have[n]) and known >= {*have[n]}
  ]
  if len(fitting) == 1:
    return fitting
  right = fitting or right
  return columns.only(rows, right, 'the ids', flag)[:1]


def _composed(
  rows: Sequence[Row], found: Sequence[str], known: set[str]
) -> tuple[str, ...]:
  """Returns a video's and a question's column, if joined they make the ids."""
  names = {columns.folded(name): name for name in found}
  for video in ('video', 'videoid', 'videoname', 'clipid', 'vid'):
    for question in ('qid', 'questionid'):
      if video in names and question in names:
        parts = names[video], names[question]
        if any('_'.join(str(r.get(p)) for p in parts) in known for r in rows):
          return parts
  return ()


def _text_columns(
  rows: Sequence[Row], taken: Sequence[str], file: TextFile
) -> list[str]:
  """Returns the column of the texts."""
  _, flag = _FLAGS[file.role]
  if file.text_column is not None:
    return [columns.named(rows, file.text_column, flag)]
  names = [name for name in columns.header(rows) if name not in taken]
  usual, others = _known(file)
  found = columns.find(names, usual) or columns.find(names, others)
  return columns.only(rows, found, _WHAT[file.role], flag)


def _known(file: TextFile) -> tuple[Sequence[str], Sequence[str]]:
  """Returns how the texts may be called; then, where none is called so."""
  own: Sequence[str] = columns.CAPTIONS
  other: Sequence[str] = columns.ANSWERS
  if file.kind == 'question':
    own, other = other, own
  if file.role == ANNOTATION:
    usual = (*columns.TRUE, *own, *columns.TEXTS, 'prediction')
    return usual, other
  if file.kind == 'question':
    # A question's file may well hold the caption it was asked about.
    return (*columns.PREDICTED, *own, *columns.TEXTS), other
  return (*columns.PREDICTED, *own, *other, *columns.TEXTS), ()
