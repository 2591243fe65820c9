"""ActivityNet Captions (ground-truth segments) and ActivityNet-QA.

train.json, val_1.json, val_2.json
    {"v_<id>": {"duration", "timestamps": [[s, e]], "sentences": [...]}}
    of captions.zip (ranjaykrishna/densevid_eval)
train_q.json ... test_q.json   [{video_name, question, question_id}]
train_a.json ... test_a.json   [{answer, type, question_id}]
    (MILVLG/activitynet-qa); video_name has no `v_`, question_id has one
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vidlm.data.sets import files, rows

# `type` of ActivityNet-QA's answers, as its paper names them.
KINDS = (
  'motion',
  'spatial',
  'temporal',
  'yes/no',
  'color',
  'object',
  'location',
  'number',
  'other',
)


def read(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads captions, a row a segment.

  A segment is called v_<id>[<start>-<end>], as in PaLI's evaluation; where
  two of a split are the same, the second ends in ~2. Ends that lie before
  their starts are swapped; ends after the video's are cut when decoding.

  Args:
    annotations: Files; each is a split, called as the file is (`val_2`).

  Raises:
    ValueError: For a file of another kind; says which and where.
  """
  for path in annotations:
    if re.search(r'_ids$', files.stem(path)):
      continue  # lists of ids in captions.zip; the JSONs hold the same
    content = files.read_json(path)
    if not isinstance(content, dict):
      raise ValueError(
        f'{path}: not captions of ActivityNet; for *_q.json and *_a.json '
        'prepare activitynet_qa'
      )
    split = re.sub(r'\W+', '_', files.stem(path)).lower()
    for video, item in content.items():
      yield from _segments(path, video, item, split)


def _segments(
  path: str, video: str, item: Any, split: str
) -> Iterator[rows.Row]:
  where = f'{path}: {video}'
  spans = files.want(item, 'timestamps', where)
  sentences = files.want(item, 'sentences', where)
  if len(spans) != len(sentences):
    raise ValueError(
      f'{where}: {len(spans)} timestamps, {len(sentences)} sentences'
    )
  youtube = video.removeprefix('v_')
  seen: dict[str, int] = {}
  for span, sentence in zip(spans, sentences, strict=True):
    if not isinstance(span, list) or len(span) != 2:
      raise ValueError(f'{where}: {span!r} is not a start and an end')
    start, end = sorted(files.number(seconds, where) for seconds in span)
    clip_id = f'v_{youtube}[{start:g}-{end:g}]'
    seen[clip_id] = seen.get(clip_id, 0) + 1
    if seen[clip_id] > 1:
      clip_id = f'{clip_id}~{seen[clip_id]}'
    yield rows.Row(
      clip_id=clip_id,
      names=(
        rows.VideoName(f'v_{youtube}', start, end),
        rows.VideoName(youtube, start, end),
      ),
      texts=files.texts(sentence),
      split=split,
      source=youtube,
    )


def read_questions(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Yields ActivityNet-QA, a row a video with all its questions.

  Args:
    annotations: For each split its *_q.json and *_a.json.

  Raises:
    ValueError: If one of the two is missing, or a question has no answer.
  """
  questions = {_part(path, 'q'): path for path in annotations}
  answers = {_part(path, 'a'): path for path in annotations}
  questions.pop('', None)
  answers.pop('', None)
  if not questions or set(questions) != set(answers):
    raise ValueError(
      f'{annotations[0]}: need a *_q.json and a *_a.json for each split; '
      f'questions for {sorted(questions)}, answers for {sorted(answers)}'
    )
  for stem, path in questions.items():
    answer_of = {
      files.want(item, 'question_id', answers[stem]): item
      for item in files.read_json(answers[stem])
    }
    found: dict[str, list[rows.Question]] = {}
    for number, item in enumerate(files.read_json(path)):
      where = f'{path}: question {number}'
      question_id = str(files.want(item, 'question_id', where))
      if question_id not in answer_of:
        raise ValueError(f'{where}: no answer for {question_id}')
      video = rows.bare_id(files.want(item, 'video_name', where))
      answer = answer_of[question_id]
      found.setdefault(video, []).append(
        rows.Question(
          question=files.clean(files.want(item, 'question', where)),
          answer=files.clean(files.want(answer, 'answer', where)),
          question_id=question_id,
          kind=_kind(answer.get('type')),
        )
      )
    for video, asked in found.items():
      yield rows.Row(
        clip_id=f'v_{video}',
        names=(rows.VideoName(f'v_{video}'), rows.VideoName(video)),
        questions=tuple(asked),
        split=rows.split_name(stem, 'test'),
        source=video,
      )


def _part(path: str, letter: str) -> str:
  """Returns the path without `_q.json`; '' for other files."""
  match = re.fullmatch(rf'(.+)_{letter}\.json', os.path.basename(path))
  return match[1] if match else ''


def _kind(value: Any) -> str:
  if isinstance(value, int) and 0 <= value < len(KINDS):
    return KINDS[value]
  return '' if value is None else str(value)
