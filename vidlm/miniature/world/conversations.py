"""Instruction data in two other styles (the paper's Table 6), from captions.

Both are written in the files of their originals, so that the readers of
`vidlm.data.sets.conversations` read them: LLaVA's conversations about single
pictures, and Video-ChatGPT's long answers about videos of ActivityNet. They
are made from captions alone, as theirs were.
"""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from vidlm.core import files
from vidlm.miniature.world import stills

IMAGES = 1200  # pictures with conversations


def write_llava(
  pictures: Iterable[tuple[str, bytes, str]], folder: str | os.PathLike[str]
) -> str:
  """Writes pictures, and conversations about what is seen in them.

  Args:
    pictures: (id, JPEG, caption) of each.
    folder: To fill with `images/` and the JSON file.

  Returns:
    Path of the file.
  """
  root = pathlib.Path(folder)
  files.make_folder(root / 'images')
  items = []
  for number, (name, jpeg, caption) in enumerate(pictures):
    files.write_bytes(root / f'images/{name}.jpg', jpeg, durable=False)
    turns: list[dict[str, str]] = []
    for question, answer in _about_picture(caption, number):
      lead = '' if turns else '<image>\n'
      turns.append({'from': 'human', 'value': f'{lead}{question}'})
      turns.append({'from': 'gpt', 'value': answer})
    items.append({'id': name, 'image': f'{name}.jpg', 'conversations': turns})
  return _write(root / 'llava_instruct.json', items)


def _about_picture(caption: str, number: int) -> list[tuple[str, str]]:
  """Returns LLaVA's three kinds: conversation, detail, reasoning."""
  found = stills.parse(caption)
  out = [('what is in the picture?', f'there is {caption}.')]
  if not found:
    return out
  body = found[number % len(found)]
  colour, shape = body.name.split()
  out.append((f'what colour is the {shape}?', f'the {shape} is {colour}.'))
  if body.place:
    place = stills.at(body.place)
    out.append((f'where is the {body.name}?', f'the {body.name} is {place}.'))
  detail = ' . '.join(
    f'there is a {seen.size} {seen.name} '.replace('  ', ' ')
    + (stills.at(seen.place) if seen.place else 'in the picture')
    for seen in found
  )
  out.append(('describe the picture in detail.', f'{detail} .'))
  why = f'it is {body.size or colour}'
  out.append(
    (
      f'why is the {shape} seen?',
      f'the {shape} is seen in the picture. that is why {why}.',
    )
  )
  return out


def write_video_chatgpt(
  narratives: Iterable[tuple[str, str]], folder: str | os.PathLike[str]
) -> str:
  """Writes questions that long answers are given to.

  Args:
    narratives: (clip id, long description) of each video.
    folder: Where the JSON file goes.

  Returns:
    Path of the file.
  """
  root = pathlib.Path(folder)
  files.make_folder(root)
  items = [
    {'video_id': f'v_{clip_id}', 'q': question, 'a': answer}
    for clip_id, text in narratives
    for question, answer in _about_video(text)
  ]
  return _write(root / 'video_instruct.json', items)


def _about_video(narrative: str) -> list[tuple[str, str]]:
  sentences = [s.strip() for s in narrative.split(' . ') if s.strip(' .')]
  told = ' . '.join(sentences[:-1]) or narrative
  return [
    ('what is happening in the video?', f'{told} .'),
    ('can you describe the video in detail?', narrative),
    ('what is in the background?', sentences[-1]),
  ]


def _write(path: pathlib.Path, items: Sequence[dict[str, Any]]) -> str:
  files.write_json(path, items, indent=1)
  return str(path)
