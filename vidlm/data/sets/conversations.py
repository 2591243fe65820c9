"""The other instruction sets of the paper's Table 6.

  llava_instruct_150k.json (haotian-liu/LLaVA)
      [{id, image: "000000033471.jpg", conversations: [{from: "human",
        value: "<image>\\nWhat ..."}, {from: "gpt", value}, ...]}]
  VideoInstruct100K.json (mbzuai-oryx/Video-ChatGPT, ActivityNet videos)
      [{q, a, video_id: "v_k_ZXmr8pmrs"}], or, converted for training,
      [{id, video: "v_k_ZXmr8pmrs.pkl", conversations: [...]}]

An image is a clip of one frame. Each turn of a conversation is a question of
its own; `<image>` and `<video>` are cut out.
"""

import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vidlm.data.sets import files, rows, tables

_PLACEHOLDER = re.compile(r'<(image|video)>')


def read_llava(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads LLaVA's instructions, a row an image; entries without one are left.

  Args:
    annotations: JSON files.

  Raises:
    ValueError: For an entry of another kind; says where.
  """
  found: dict[str, list[rows.Question]] = {}
  for path in annotations:
    for where, item in tables.table_rows(path):
      image = item.get('image')
      if not image:
        continue
      found.setdefault(str(image), []).extend(_turns(item, where))
  for image, questions in found.items():
    bare = os.path.basename(image)
    coco = re.sub(r'^COCO_\w+?_(?=\d+\.)', '', bare)
    names = (image, bare, coco, f'COCO_train2014_{coco}')
    yield rows.Row(
      clip_id=os.path.splitext(image)[0],
      names=tuple(rows.VideoName(name) for name in dict.fromkeys(names)),
      questions=tuple(questions),
      source=os.path.splitext(coco)[0],
    )


def read_video_chatgpt(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads Video-ChatGPT's instructions, a row a video of ActivityNet.

  Args:
    annotations: JSON files of either form.

  Raises:
    ValueError: For an entry of another kind; says where.
  """
  found: dict[str, list[rows.Question]] = {}
  for path in annotations:
    for where, item in tables.table_rows(path):
      video = str(tables.need(item, ('video_id', 'video'), where))
      video = rows.bare_id(re.sub(r'\.(pkl|mp4)$', '', video))
      questions = found.setdefault(video, [])
      if 'conversations' in item:
        questions += _turns(item, where)
      else:
        questions.append(
          rows.Question(
            question=_clean(files.want(item, 'q', where)),
            answer=files.clean(files.want(item, 'a', where)),
            question_id=f'{video}_{len(questions)}',
          )
        )
  for video, questions in found.items():
    yield rows.Row(
      clip_id=f'v_{video}',
      names=(rows.VideoName(f'v_{video}'), rows.VideoName(video)),
      questions=tuple(questions),
      source=video,
    )


def _turns(item: dict[str, Any], where: str) -> list[rows.Question]:
  """Returns pairs of what is asked and what is answered."""
  turns = files.want(item, 'conversations', where)
  said = [
    (files.want(turn, 'from', where), files.want(turn, 'value', where))
    for turn in turns
  ]
  speakers = [speaker for speaker, _ in said]
  if speakers != ['human', 'gpt'] * (len(said) // 2) or not said:
    raise ValueError(
      f'{where}: speakers are {speakers[:6]}, not human and gpt by turns'
    )
  return [
    rows.Question(
      question=_clean(said[i][1]),
      answer=files.clean(said[i + 1][1]),
      question_id=f'{item.get("id", "")}_{i // 2}',
    )
    for i in range(0, len(said), 2)
  ]


def _clean(text: str) -> str:
  return files.clean(_PLACEHOLDER.sub('', str(text)))
