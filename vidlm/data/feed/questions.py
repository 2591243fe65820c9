"""Examples that ask: questions of a clip set, or of an instructions.parquet."""

import collections
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vidlm.data.feed import joins, text_rows
from vidlm.data.feed.coverage import Coverage, Share
from vidlm.data.feed.example_table import ExampleTable
from vidlm.data.store import clip_reader as clips_lib


def question_examples(
  clips: str,
  split: str,
  prompt: str,
  instructions: str | None = None,
  kinds: Sequence[str] = (),
  limit: int | None = None,
  unanswered: bool = False,
) -> ExampleTable:
  """One example a question.

  Args:
    clips: Folder of a clip set.
    split: Its split.
    prompt: A template with `{question}`, such as 'Answer in en: {question}'.
    instructions: An instructions.parquet (clip_id, question, answer, kind);
      by default the clips' own questions.
    kinds: Only these kinds of question.
    limit: Only questions about the first so many clips of the set.
    unanswered: Keep questions of the clips whose answer is blank.

  Raises:
    ValueError: If there is no question left, or the prompt has no place for
      one.
  """
  reader = clips_lib.open_clips(clips, split)
  ids = list(reader.clip_ids())
  row_of = {clip_id: row for row, clip_id in enumerate(ids[:limit])}
  if instructions:
    asked = _instructed(reader, ids, limit, instructions, kinds)
  else:
    asked = _own(reader, row_of, unanswered)
  if not asked.questions:
    raise ValueError(
      f'{instructions or clips}: no question for {split}: '
      f'{"; ".join(map(str, asked.shares))}'
    )
  return ExampleTable(
    clips=reader,
    rows=np.array([row_of[own.clip_id] for own in asked.questions], np.int64),
    prompts=[_ask(prompt, own.question) for own in asked.questions],
    texts=[[own.answer or ''] for own in asked.questions],
    ids=asked.names,
    fixed_prompt=_ask(prompt, ''),
    coverage=Coverage(
      len(asked.questions),
      asked.shares,
      [*asked.notes, *joins.behind(limit, len(ids), 'clips')],
    ),
    blank=asked.blank,
  )


class _Asked(NamedTuple):
  """What is asked.

  Attributes:
    names: Of the examples.
    questions: Without any fault.
    shares: What they were taken of.
    notes: What else is to be known.
    blank: Names of what has a fault.
  """

  names: Sequence[str]
  questions: Sequence[Any]
  shares: Sequence[Share]
  notes: Sequence[str] = ()
  blank: Collection[str] = ()


def _own(
  reader: clips_lib.ClipReader, row_of: Mapping[str, int], unanswered: bool
) -> _Asked:
  """The questions that clips have themselves."""
  named, blank, faults = [], set(), collections.Counter[str]()
  silent = 0
  for clip_id, questions in text_rows.own_questions(reader):
    if clip_id not in row_of:
      continue
    found = [own.fault(not unanswered) for own in questions]
    silent += all(found)
    # A question keeps its number where one before it is blank.
    names = _numbered([clip_id] * len(questions))
    for name, own, fault in zip(names, questions, found, strict=True):
      if fault:
        faults[fault] += 1
        blank.add(name)
      else:
        named.append((name, own))
  shares = [
    joins.of_clips(
      reader, len(row_of) - silent, {'without a question': silent}
    ),
    Share('questions', len(named), faults),
  ]
  kept = [name for name, _ in named]
  return _Asked(kept, [own for _, own in named], shares, blank=blank)


def _instructed(
  reader: clips_lib.ClipReader,
  ids: Sequence[str],
  limit: int | None,
  path: str,
  kinds: Sequence[str],
) -> _Asked:
  """Questions of an instructions.parquet."""
  rows, others = text_rows.instructions(path, kinds)
  found = [(str(own.clip_id), own, own.fault()) for own in rows]
  faults = collections.Counter(fault for *_, fault in found if fault)
  named = [clip_id for clip_id, _, fault in found if not fault]
  share = joins.joined(path, named, faults, reader, ids, limit)
  wanted = set(ids[:limit])
  asked = [
    own for clip_id, own, fault in found if not fault and clip_id in wanted
  ]
  met = {own.clip_id for own in asked}
  notes = [f'about {len(met)} of {len(wanted)} clips']
  if others:
    notes.append(f'{others} rows of other kinds')
  names = _numbered([str(own.clip_id) for own in asked])
  return _Asked(names, asked, [share], notes)


def _ask(prompt: str, question: str) -> str:
  try:
    asked = prompt.format(question=question)
  except (AttributeError, LookupError, ValueError) as error:
    raise ValueError(
      f'prompt {prompt!r}: the only thing to fill in is {{question}}'
    ) from error
  if question not in asked:
    raise ValueError(f'prompt {prompt!r}: has no {{question}} to fill in')
  return asked


def _numbered(clip_ids: Sequence[str]) -> list[str]:
  seen: dict[str, int] = {}
  out = []
  for clip_id in clip_ids:
    n = seen.get(clip_id, 0)
    seen[clip_id] = n + 1
    out.append(f'{clip_id}#{n}' if n else clip_id)
  return out
