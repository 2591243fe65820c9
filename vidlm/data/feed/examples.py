"""Examples of clip sets: clips, joined with the text that goes along.

What can't be an example, a clip without a text, a row that names no clip, a
null, is left out and counted (`coverage`). A blank text is none, in training as
in evaluation.
"""

import collections

import numpy as np

from vidlm.data.feed import example_table, joins, questions, text_rows
from vidlm.data.feed.coverage import Coverage, Share
from vidlm.data.store import clip_reader as clips_lib

Component = example_table.Component
ExampleTable = example_table.ExampleTable
check_alike = example_table.check_alike
lookup = example_table.lookup
question_examples = questions.question_examples


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
  joined: list[Share] = []
  notes = joins.behind(limit, len(ids), 'clips')
  if captions:
    texts_of, odd = text_rows.captions(captions)
    joined = [joins.joined(captions, texts_of, odd, reader, ids, limit)]
  else:
    stored = [texts or () for texts in reader.index()['texts'].to_pylist()]
    texts_of = dict(zip(ids, map(text_rows.spoken, stored), strict=True))
    blank = sum(map(len, stored)) - sum(map(len, texts_of.values()))
    notes += [f'{blank} blank captions left out'] if blank else []
  texts = [texts_of.get(clip_id) for clip_id in ids[:limit]]
  kept = [row for row, own in enumerate(texts) if own]
  left = {
    f'without a row in {captions}': texts.count(None),
    'without a caption': texts.count([]),
  }
  shares = [joins.of_clips(reader, len(kept), left), *joined]
  if not kept:
    raise ValueError(
      f'{captions or clips}: no clip of {split} has a caption: '
      f'{"; ".join(map(str, shares))}'
    )
  return ExampleTable(
    clips=reader,
    rows=np.array(kept, np.int64),
    prompts=[prompt] * len(kept),
    texts=[texts_of[ids[row]] for row in kept],
    ids=[ids[row] for row in kept],
    fixed_prompt=prompt,
    coverage=Coverage(len(kept), shares, notes),
    blank=[ids[row] for row, own in enumerate(texts) if not own],
  )


def label_examples(
  clips: str, split: str, prompt: str, limit: int | None = None
) -> ExampleTable:
  """One example a clip that has a label, which is its text.

  Args:
    clips: Folder of a clip set.
    split: Its split.
    prompt: The instruction.
    limit: Only the first so many clips of the set.

  Raises:
    ValueError: If none has.
  """
  reader = clips_lib.open_clips(clips, split)
  ids = reader.clip_ids()
  labels = [label.strip() for label in reader.labels()]
  kept = [row for row, label in enumerate(labels[:limit]) if label]
  left = {'without a label': labels[:limit].count('')}
  if not kept:
    raise ValueError(f'{clips}: no clip of {split} has a label')
  return ExampleTable(
    clips=reader,
    rows=np.array(kept, np.int64),
    prompts=[prompt] * len(kept),
    texts=[[labels[row]] for row in kept],
    ids=[ids[row] for row in kept],
    fixed_prompt=prompt,
    coverage=Coverage(
      len(kept),
      [joins.of_clips(reader, len(kept), left)],
      joins.behind(limit, len(ids), 'clips'),
    ),
  )


def text_examples(path: str, limit: int | None = None) -> ExampleTable:
  """Text without clips, from JSON lines of `inputs` and `targets`.

  Args:
    path: The file.
    limit: Only the first so many lines.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If a line lacks a column, or none has a text.
  """
  lines = list(text_rows.json_lines(path, 'inputs', 'targets'))
  left = collections.Counter[str]()
  pairs = []
  for inputs, targets in lines[:limit]:
    if inputs is None or targets is None:
      left[text_rows.NULL] += 1
    elif not targets.strip():
      left[text_rows.BLANK] += 1
    else:
      pairs.append((inputs, targets))
  share = Share(f'lines of {path}', len(pairs), left)
  if not pairs:
    raise ValueError(f'{path}: no text in it: {share}')
  return ExampleTable(
    clips=None,
    rows=np.full(len(pairs), -1, np.int64),
    prompts=[inputs for inputs, _ in pairs],
    texts=[[targets] for _, targets in pairs],
    ids=[f'text-{i}' for i in range(len(pairs))],
    coverage=Coverage(
      len(pairs), [share], joins.behind(limit, len(lines), 'lines')
    ),
  )
