"""Texts as files have them, row by row: nothing in them is taken on trust.

A null, a blank or a row of another kind is counted and left out; what is no
text at all is an error that names the place.
"""

import collections
import dataclasses
import json
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from vidlm.data.store import clip_reader, clip_schema

# Reasons, as they stand behind a number.
NULL = 'null'
BLANK = 'blank'


@dataclasses.dataclass(frozen=True)
class Question:
  """A question about a clip and its answer; None where a file has null."""

  clip_id: str | None
  question: str | None
  answer: str | None

  def fault(self, answered: bool = True) -> str | None:
    """Why it can't be asked, or answered if it has to be; None if it can."""
    said = (self.question, self.answer) if answered else (self.question,)
    if self.clip_id is None or None in said:
      return NULL
    return None if all(text and text.strip() for text in said) else BLANK


def spoken(texts: Sequence[str | None] | None) -> list[str]:
  """The texts of a row that say something."""
  return [text for text in texts or () if text and text.strip()]


def captions(folder: str) -> tuple[dict[str, list[str]], collections.Counter]:
  """Texts by clip id of a caption set, and what its other rows are.

  Args:
    folder: The set's.

  Returns:
    {clip id: texts that say something}, empty lists for clips that failed; and
    how many rows have no id, or one that comes again.

  Raises:
    FileNotFoundError: If the set isn't finished, or a file is missing.
    ValueError: If a file is damaged or belongs to another set.
  """
  from vidlm.data.store import caption_sets

  table = caption_sets.read_captions(folder)
  columns = (table[name].to_pylist() for name in ('clip_id', 'captions'))
  found: dict[str, list[str]] = {}
  odd: collections.Counter = collections.Counter()
  for clip_id, texts in zip(*columns, strict=True):
    own = spoken(texts)
    if clip_id is None:
      odd['without an id'] += 1
    elif clip_id in found:
      odd['of an id that comes again'] += 1
      found[clip_id] = own or found[clip_id]
    else:
      found[clip_id] = own
  return found, odd


def instructions(
  path: str, kinds: Collection[str] = ()
) -> tuple[list[Question], int]:
  """Questions of an instructions.parquet.

  Args:
    path: Its columns are clip_id, question, answer and, where kinds are asked
      for, kind.
    kinds: Only these; all by default.

  Returns:
    The questions, and how many rows are of other kinds.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is no Parquet file, or lacks a column of texts.
  """
  import pyarrow as pa
  import pyarrow.parquet as pq

  wanted = ['clip_id', 'question', 'answer', *(['kind'] if kinds else [])]
  if '://' not in path and not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such file of instructions')
  try:
    table = pq.read_table(path)
  except pa.ArrowInvalid as error:
    line = str(error).splitlines()[0]
    raise ValueError(f'{path}: no Parquet file ({line})') from error
  for name in wanted:
    if name not in table.column_names:
      raise ValueError(
        f'{path}: no column {name!r}, only {", ".join(table.column_names)}'
      )
    if not _is_text(table.schema.field(name).type):
      raise ValueError(
        f'{path}: column {name!r} is {table.schema.field(name).type}; need text'
      )
  rows = zip(*(table[name].to_pylist() for name in wanted), strict=True)
  kept = []
  for clip_id, question, answer, *kind in rows:
    if None in kind:  # nobody knows whether it was asked for
      kept.append(Question(None, question, answer))
    elif not kind or kind[0] in kinds:
      kept.append(Question(clip_id, question, answer))
  return kept, table.num_rows - len(kept)


def _is_text(kind: Any) -> bool:
  import pyarrow as pa

  if pa.types.is_dictionary(kind):
    return _is_text(kind.value_type)
  # A column of nulls alone has no type.
  return (
    pa.types.is_string(kind)
    or pa.types.is_large_string(kind)
    or pa.types.is_null(kind)
  )


def own_questions(
  reader: clip_reader.ClipReader,
) -> Iterator[tuple[str, list[Question]]]:
  """Yields each clip's id and questions, in the order of records.

  Raises:
    ValueError: If a clip has another number of answers.
  """
  index = reader.index()
  names = ('clip_id', 'questions', 'answers')
  columns = (index[name].to_pylist() for name in names)
  for clip_id, asked, answers in zip(*columns, strict=True):
    asked, answers = asked or (), answers or ()
    if len(asked) != len(answers):
      raise ValueError(
        f'{reader.data_dir}: clip {clip_id!r} has {len(asked)} questions and '
        f'{len(answers)} answers'
      )
    pairs = zip(asked, answers, strict=True)
    yield clip_id, [Question(clip_id, *pair) for pair in pairs]


def json_lines(path: str, *names: str) -> Iterator[list[str | None]]:
  """Yields the named texts of each line of JSON; blank lines are none.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If a line is no JSON, lacks one, or has something else there.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such JSON lines file')
  needed = ' and '.join(f'"{name}"' for name in names)
  with open(path, 'rb') as file:
    for number, line in enumerate(file, 1):
      if not line.strip():
        continue
      try:
        item = json.loads(line.decode('utf-8-sig'))
      except ValueError as error:  # UTF-8's or JSON's
        raise ValueError(f'{path}:{number}: no JSON ({error})') from error
      if not isinstance(item, dict) or not set(names) <= item.keys():
        raise ValueError(f'{path}:{number}: needs {needed}')
      texts = [item[name] for name in names]
      if not all(text is None or isinstance(text, str) for text in texts):
        raise ValueError(f'{path}:{number}: {needed} need to be texts')
      yield texts


def elsewhere(
  reader: clip_reader.ClipReader, clip_ids: Iterable[str]
) -> set[str]:
  """Which of these clips other splits of a reader's set have."""
  left, found = set(clip_ids), set[str]()
  for split in sorted(clip_schema.splits(reader.data_dir)):
    if split != reader.split and left:
      try:
        other = clip_reader.open_clips(reader.data_dir, split).clip_ids()
      except (FileNotFoundError, ValueError):  # it is not what was asked for
        continue
      found |= left.intersection(other)
      left -= found
  return found
