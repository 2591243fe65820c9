"""MSR-VTT: captions, the retrieval splits people use, and MSRVTT-QA.

Files it knows by what is in them:

  train_val_videodatainfo.json, test_videodatainfo.json, MSRVTT_data.json
      {"videos": [{video_id, split, url, "start time", "end time"}],
       "sentences": [{video_id, caption}]}        (the challenge's own)
  MSR_VTT.json          {"annotations": [{image_id, caption}]}   (m-bain's zip)
  a list                [{"video": "video7010.mp4", "caption": [...]}]
  MSRVTT_JSFUSION_test.csv   key,vid_key,video_id,sentence: 1k-A; `,` or `;`
  MSRVTT_train.9k.csv, .7k   video_id; also .txt lists of m-bain's zip
  train_qa.json         [{answer, category_id, id, question, video_id: int}]

Public code read: m-bain/frozen-in-time, layer6ai-labs/xpool,
antoyang/just-ask.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from absl import logging

from vidlm.data.sets import files, rows

_TRAIN, _VAL = 6513, 497  # videos, in the order of their numbers


class _Captions:
  """What all the caption files together say of each video."""

  def __init__(self) -> None:
    self.texts: dict[str, list[str]] = {}
    self.split: dict[str, str] = {}
    self.source: dict[str, str] = {}
    self.span: dict[str, tuple[float, float]] = {}

  def add(self, other: '_Captions') -> None:
    """Adds what another file says of videos that are not known yet.

    The merged JSON has the captions of the parts: they count once.
    """
    for name in ('texts', 'split', 'source', 'span'):
      setattr(self, name, getattr(other, name) | getattr(self, name))


def read(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads captions.

  Lists of ids and the 1k-A file define the splits (`train_9k`, `test_1ka`);
  without them they are those of the JSON files, or, where these name none, the
  official ranges (0-6512 train, 6513-7009 val, 7010-9999 test).

  Args:
    annotations: Files, in any order.

  Yields:
    A row a video; of 1k-A with its one sentence.

  Raises:
    ValueError: For a file of another kind, or lists without captions.
  """
  captions = _Captions()
  lists: dict[str, list[str]] = {}
  pairs: list[tuple[str, str]] = []
  for path in annotations:
    if path.lower().endswith('.json'):
      read_from = _Captions()
      _read_json(path, read_from)
      captions.add(read_from)
    elif _is_pairs(path):
      pairs += [
        (row['video_id'].strip(), row['sentence'])
        for _, row in files.csv_rows(path, ('video_id', 'sentence'))
      ]
    else:
      lists[_list_split(path)] = files.read_ids(path)
  if lists and not captions.texts:
    raise ValueError(
      f'{annotations[0]}: only lists of ids; give the JSON of captions too'
    )
  for video, text in pairs:
    yield _row(video, captions, [text], 'test_1ka')
  for split, ids in lists.items():
    bare = sum(video not in captions.texts for video in ids)
    if bare:
      logging.warning(
        '%s: %d of %d videos have no captions in the JSON files given; the '
        'lists need those of train, val and test',
        split,
        bare,
        len(ids),
      )
    for video in ids:
      yield _row(video, captions, captions.texts.get(video, []), split)
  if not lists and not pairs:
    for video, texts in captions.texts.items():
      split = captions.split.get(video) or official_split(video)
      yield _row(video, captions, texts, split)


def read_questions(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Yields MSRVTT-QA, a row a video with all its questions.

  Args:
    annotations: train_qa.json, val_qa.json, test_qa.json, or some of them.

  Raises:
    ValueError: For a file of another kind; says which.
  """
  for path in annotations:
    split = rows.split_name(files.stem(path), 'test')
    found: dict[str, list[rows.Question]] = {}
    content = files.read_json(path)
    if not isinstance(content, list):
      raise ValueError(f'{path}: not the list of questions of MSRVTT-QA')
    for number, item in enumerate(content):
      where = f'{path}: question {number}'
      video = video_name(files.want(item, 'video_id', where))
      found.setdefault(video, []).append(
        rows.Question(
          question=files.clean(files.want(item, 'question', where)),
          answer=files.clean(files.want(item, 'answer', where)),
          question_id=str(item.get('id', '')),
          kind=files.clean(item['question']).partition(' ')[0].lower(),
        )
      )
    for video, questions in found.items():
      yield rows.Row(
        clip_id=video,
        names=(rows.VideoName(video),),
        questions=tuple(questions),
        split=split,
      )


def video_name(value: Any) -> str:
  """Returns 'video7010' of 7010, '7010', 'video7010' or 'video7010.mp4'."""
  text = str(value).strip().removesuffix('.mp4')
  return f'video{text}' if text.isdigit() else text


def official_split(video: str) -> str:
  """Returns the split a video's number stands for; 'test' where it has none."""
  digits = re.fullmatch(r'video(\d+)', video)
  if not digits:
    return 'test'
  number = int(digits[1])
  if number < _TRAIN:
    return 'train'
  return 'val' if number < _TRAIN + _VAL else 'test'


def _read_json(path: str, captions: _Captions) -> None:
  content = files.read_json(path)
  if isinstance(content, dict) and 'sentences' in content:
    _read_challenge(path, content, captions)
    return
  if isinstance(content, dict) and 'annotations' in content:
    content, id_key = content['annotations'], 'image_id'
  else:
    id_key = 'video'
  if not isinstance(content, list):
    raise ValueError(
      f'{path}: not captions of MSR-VTT (need "sentences", "annotations" or a '
      'list of {"video", "caption"})'
    )
  for number, item in enumerate(content):
    where = f'{path}: caption {number}'
    if isinstance(item, dict) and 'question' in item:
      raise ValueError(f'{path}: these are questions; prepare msrvtt_qa')
    video = video_name(files.want(item, id_key, where))
    texts = files.texts(files.want(item, 'caption', where))
    captions.texts.setdefault(video, []).extend(texts)


def _read_challenge(
  path: str, content: dict[str, Any], captions: _Captions
) -> None:
  for number, item in enumerate(content.get('videos') or ()):
    where = f'{path}: video {number}'
    video = video_name(files.want(item, 'video_id', where))
    captions.split[video] = rows.split_name(str(item.get('split', '')), '')
    captions.source[video] = rows.youtube_id(str(item.get('url', '')))
    # The keys do have spaces.
    start, end = item.get('start time'), item.get('end time')
    if start is not None and end is not None:
      captions.span[video] = (
        files.number(start, where),
        files.number(end, where),
      )
  for number, item in enumerate(content['sentences']):
    where = f'{path}: sentence {number}'
    video = video_name(files.want(item, 'video_id', where))
    texts = files.texts(files.want(item, 'caption', where))
    captions.texts.setdefault(video, []).extend(texts)


def _is_pairs(path: str) -> bool:
  _, header = next(files.csv_lines(path), (0, []))
  return 'sentence' in [cell.strip() for cell in header]


def _list_split(path: str) -> str:
  """Returns 'train_9k' of MSRVTT_train.9k.csv, 'val_jsfusion' of m-bain's."""
  words = re.split(r'\W+|_', files.stem(path))
  kept = [w for w in words if w.lower() not in ('msrvtt', 'msr', 'vtt', 'list')]
  return '_'.join(kept).lower() or 'train'


def _row(
  video: str, captions: _Captions, texts: Sequence[str], split: str
) -> rows.Row:
  source = captions.source.get(video, '')
  names = [rows.VideoName(video)]
  if source and video in captions.span:
    names += rows.cut_from_youtube(source, *captions.span[video])
  return rows.Row(
    clip_id=video,
    names=tuple(names),
    texts=files.texts(list(texts)),
    split=split,
    source=source,
  )
