"""Examples addressed by number: clips, joined with the text that goes along.

TFDS can't read ArrayRecord through `as_dataset`, so neither can
`seqio.TfdsDataSource`. `ExampleTable` reads serialized clip records by index
and leaves parsing and decoding to `frame_cache`.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from vidlm.data.feed import tokens
from vidlm.data.store import clip_reader as clips_lib


@dataclasses.dataclass(frozen=True)
class ExampleTable:
  """Example i = one clip record (or none) with its prompt and texts.

  Attributes:
    clips: Reader of the clip set; None for text without clips.
    rows: int64[n], the clip record of each example; -1 for none.
    prompts: The instruction of each example.
    texts: The target texts of each example, one or several.
    ids: Distinct names of the examples: the clip id, with #1, #2 ... for
      further questions on one clip.
  """

  clips: Any
  rows: np.ndarray
  prompts: Sequence[str]
  texts: Sequence[Sequence[str]]
  ids: Sequence[str]

  def __len__(self) -> int:
    return len(self.rows)

  def lookup(self, indices: np.ndarray) -> tuple[list, list, list]:
    """Reads examples.

    Args:
      indices: int64[b], each in [0, len(self)).

    Returns:
      Serialized records (b'' where there is no clip), prompts, texts.
    """
    rows = self.rows[indices]
    wanted = [int(row) for row in rows if row >= 0]
    read = iter(self.clips.read(wanted)) if wanted else iter(())
    records = [next(read) if row >= 0 else b'' for row in rows]
    return (
      records,
      [self.prompts[i] for i in indices],
      [list(self.texts[i]) for i in indices],
    )


@dataclasses.dataclass(frozen=True)
class Component:
  """A part of a mixture; a task is a mixture of one.

  Attributes:
    name: The task's name.
    table: Its examples.
    vocabulary: What encodes its texts.
    rate: Its share, relative to the others'.
  """

  name: str
  table: ExampleTable
  vocabulary: tokens.TextVocabulary
  rate: float = 1.0


def check_alike(mixture: str, parts: Sequence[Component]) -> None:
  """Refuses parts whose texts would not be told apart by their ids.

  Raises:
    ValueError: If two of them differ in their vocabulary.
  """
  for part in parts[1:]:
    if part.vocabulary != parts[0].vocabulary:
      raise ValueError(
        f'mixture {mixture}: tasks {parts[0].name} and {part.name} differ in '
        'frames or vocabulary'
      )


def lookup(
  tables: Sequence[ExampleTable], chosen: np.ndarray, indices: np.ndarray
) -> tuple[list, list, list]:
  """Reads examples of several tables; see `ExampleTable.lookup`.

  Args:
    tables: Components of a mixture.
    chosen: int64[b], the table of each example.
    indices: int64[b], its index in that table.
  """
  nothing: list[Any] = [None] * len(indices)
  columns = nothing.copy(), nothing.copy(), nothing.copy()
  for c, table in enumerate(tables):
    places = np.flatnonzero(chosen == c)
    for column, values in zip(
      columns, table.lookup(indices[places]), strict=True
    ):
      for place, value in zip(places, values, strict=True):
        column[place] = value
  return columns


def caption_examples(
  clips: str,
  split: str,
  prompt: str,
  captions: str | None = None,
  limit: int | None = None,
) -> ExampleTable:
  """One example a clip, with every caption it has.

  Args:
    clips: Folder of a clip set.
    split: Its split.
    prompt: The instruction, such as 'Generate the alt-text:'.
    captions: Folder of a pseudo-caption set to use in place of the clips' own
      texts; clips that failed there are left out.
    limit: Only the first so many clips of the set.

  Raises:
    ValueError: If no clip has a text.
  """
  reader = clips_lib.open_clips(clips, split)
  ids = list(reader.clip_ids())
  chosen = ids[:limit]
  if captions:
    from vidlm.data.store import caption_sets as captions_lib

    table = captions_lib.read_captions(captions)
    rows = zip(
      table['clip_id'].to_pylist(), table['captions'].to_pylist(), strict=True
    )
    texts_of = {clip_id: texts for clip_id, texts in rows if texts}
  else:
    texts_of = dict(zip(ids, reader.texts(), strict=True))
  kept = [
    (row, clip_id)
    for row, clip_id in enumerate(chosen)
    if any(text.strip() for text in texts_of.get(clip_id, ()))
  ]
  if not kept:
    raise ValueError(f'{captions or clips}: no clip of {split} has a caption')
  return ExampleTable(
    clips=reader,
    rows=np.array([row for row, _ in kept], np.int64),
    prompts=[prompt] * len(kept),
    texts=[[t for t in texts_of[clip_id] if t.strip()] for _, clip_id in kept],
    ids=[clip_id for _, clip_id in kept],
  )


def question_examples(
  clips: str,
  split: str,
  prompt: str,
  instructions: str | None = None,
  kinds: Sequence[str] = (),
) -> ExampleTable:
  """One example a question.

  Args:
    clips: Folder of a clip set.
    split: Its split.
    prompt: A template with `{question}`, such as 'Answer in en: {question}'.
    instructions: An instructions.parquet (clip_id, question, answer, kind);
      by default the clips' own questions.
    kinds: Only these kinds of question.

  Raises:
    ValueError: If there is no question left, or the prompt has no place for
      one.
  """
  import pyarrow.parquet as pq

  reader = clips_lib.open_clips(clips, split)
  row_of = {clip_id: row for row, clip_id in enumerate(reader.clip_ids())}
  triples = []
  if instructions:
    for item in pq.read_table(instructions).to_pylist():
      if not kinds or item['kind'] in kinds:
        triples.append((item['clip_id'], item['question'], item['answer']))
  else:
    for clip_id, (questions, answers) in zip(
      row_of, reader.questions(), strict=True
    ):
      triples += [
        (clip_id, q, a) for q, a in zip(questions, answers, strict=True)
      ]
  triples = [item for item in triples if item[0] in row_of]
  if not triples:
    raise ValueError(f'{instructions or clips}: no question for {split}')
  return ExampleTable(
    clips=reader,
    rows=np.array([row_of[item[0]] for item in triples], np.int64),
    prompts=[_ask(prompt, item[1]) for item in triples],
    texts=[[item[2]] for item in triples],
    ids=_numbered([item[0] for item in triples]),
  )


def _ask(prompt: str, question: str) -> str:
  try:
    asked = prompt.format(question=question)
  except (KeyError, IndexError, ValueError) as error:
    raise ValueError(
      f'prompt {prompt!r}: the only thing to fill in is {{question}}'
    ) from error
  if question not in asked:
    raise ValueError(f'prompt {prompt!r}: has no {{question}} to fill in')
  return asked


def label_examples(clips: str, split: str, prompt: str) -> ExampleTable:
  """One example a clip that has a label, which is its text.

  Raises:
    ValueError: If none has.
  """
  reader = clips_lib.open_clips(clips, split)
  labels = reader.labels()
  kept = [row for row, label in enumerate(labels) if label]
  if not kept:
    raise ValueError(f'{clips}: no clip of {split} has a label')
  ids = reader.clip_ids()
  return ExampleTable(
    clips=reader,
    rows=np.array(kept, np.int64),
    prompts=[prompt] * len(kept),
    texts=[[labels[row]] for row in kept],
    ids=[ids[row] for row in kept],
  )


def _numbered(clip_ids: Sequence[str]) -> list[str]:
  seen: dict[str, int] = {}
  out = []
  for clip_id in clip_ids:
    n = seen.get(clip_id, 0)
    seen[clip_id] = n + 1
    out.append(f'{clip_id}#{n}' if n else clip_id)
  return out


def text_examples(path: str) -> ExampleTable:
  """Text without clips, from JSON lines of `inputs` and `targets`.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If a line lacks a column.
  """
  if not os.path.exists(path):
    raise FileNotFoundError(f'{path}: no such JSON lines file')
  prompts, texts = [], []
  with open(path, encoding='utf-8') as file:
    for number, line in enumerate(file, 1):
      item = json.loads(line)
      if not {'inputs', 'targets'} <= item.keys():
        raise ValueError(f'{path}:{number}: needs "inputs" and "targets"')
      prompts.append(item['inputs'])
      texts.append([item['targets']])
  return ExampleTable(
    clips=None,
    rows=np.full(len(prompts), -1, np.int64),
    prompts=prompts,
    texts=texts,
    ids=[f'text-{i}' for i in range(len(prompts))],
  )
