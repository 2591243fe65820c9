"""Video Localized Narratives, and the Oops-QA built on them.

  OVIS_train.jsonl, UVO_sparse_train.jsonl, oops_train.jsonl ... (up to 2.3 GB)
      {vidln_id, dataset_id, video_id, actor_narratives: [{actor_name,
       caption, traces ...}]}, one narrative a line
  qa_text_output.json
      {dataset, split, annotations: [{video_name: "train/NAME", qa_pairs:
       [{question_id, question, answer}]}]}

Files are read a line at a time and the mouse traces, most of them, dropped at
once. Source: google/video-localized-narratives.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from vidlm.data.sets import files, rows


def read(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads narratives, a row a video.

  A narrative is the captions of its actors in the order listed, the
  background last, as in the examples of the paper's Table 8; a video with
  several narratives has several texts. The clip is called
  <dataset>/<video id>, for the sets share YouTube ids.

  Args:
    annotations: The jsonl files; Kinetics, Oops, OVIS and UVO may be mixed.

  Raises:
    ValueError: For a line of another kind; says which.
  """
  found: dict[tuple[str, str], list[str]] = {}
  for path in annotations:
    for number, item in files.json_lines(path):
      where = f'{path}:{number}'
      dataset = str(files.want(item, 'dataset_id', where))
      video = str(files.want(item, 'video_id', where))
      text = _narrative(item, where)
      found.setdefault((dataset, video), []).append(text)
  for (dataset, video), texts in found.items():
    yield rows.Row(
      clip_id=f'{dataset}/{video}',
      names=_names(dataset, video),
      texts=files.texts(texts),
      split=rows.split_name(dataset),
      source=_source(dataset, video),
    )


def _narrative(item: dict[str, Any], where: str) -> str:
  actors = files.want(item, 'actor_narratives', where)
  captions = files.texts(
    [files.want(actor, 'caption', where) for actor in actors]
  )
  return ' '.join(captions)


def _names(dataset: str, video: str) -> tuple[rows.VideoName, ...]:
  """Returns where the videos, or folders of frames, may be.

  The four sets may lie side by side in folders called as their dataset or its
  first word, or all in one.
  """
  names = []
  span = rows.split_span(video)
  seconds = max(span[2] - span[1], 0.0) if span else 0.0
  for folder in (dataset, dataset.split('_')[0], _split_folder(dataset), ''):
    prefix = f'{folder}/' if folder else ''
    names.append(rows.VideoName(f'{prefix}{video}', seconds=seconds))
  if span:
    names += [
      name for name in rows.cut_from_youtube(*span) if name.start is not None
    ]
  return tuple(names)


def _split_folder(dataset: str) -> str:
  """Returns `train` or `val`: how Oops arranges its videos."""
  return dataset.rsplit('_', 1)[-1]


def _source(dataset: str, video: str) -> str:
  if dataset.lower().startswith(('kinetics', 'uvo')):
    return rows.source_id(f'{video}.mp4')
  return video


def read_questions(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Yields Oops-QA, a row a video with all its questions.

  Args:
    annotations: qa_text_output.json files.

  Raises:
    ValueError: For a file of another kind; says which.
  """
  for path in annotations:
    content = files.read_json(path)
    videos = files.want(content, 'annotations', path)
    split = rows.split_name(str(content.get('split', '')), '')
    for number, item in enumerate(videos):
      where = f'{path}: video {number}'
      name = str(files.want(item, 'video_name', where))
      pairs = files.want(item, 'qa_pairs', where)
      video = re.sub(r'^(train|val)/', '', name)
      yield rows.Row(
        clip_id=name,
        names=(rows.VideoName(name), rows.VideoName(video)),
        questions=tuple(_question(pair, where) for pair in pairs),
        split=split or rows.split_name(name),
        source=video,
      )


def _question(pair: Any, where: str) -> rows.Question:
  return rows.Question(
    question=files.clean(files.want(pair, 'question', where)),
    answer=files.clean(files.want(pair, 'answer', where)),
    question_id=str(files.want(pair, 'question_id', where)),
  )
