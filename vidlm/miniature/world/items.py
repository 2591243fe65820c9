"""One item of a corpus: its scene and what is written about it.

Item i of a corpus depends on (seed, corpus, i) alone.
"""

import zlib
from typing import Any

import numpy as np

from vidlm.miniature.world import questions, scenes, texts
from vidlm.miniature.world.config import MiniatureConfig
from vidlm.miniature.world.physics import SIDE
from vidlm.miniature.world.vocabulary import (
  COLLIDES,
  COLOURS,
  MOTIONS,
  SHAPES,
)


def random_state(seed: int, corpus: str, index: int) -> np.random.Generator:
  """Returns the random state of item `index`, which no other item shares."""
  return np.random.default_rng([seed, zlib.crc32(corpus.encode()), index])


def make_item(
  corpus: str, index: int, config: MiniatureConfig, seed: int
) -> tuple[scenes.Scene, dict[str, Any]]:
  """Makes the scene of one clip and what is written about it.

  Args:
    corpus: One of CLIP_CORPORA.
    index: Which clip.
    config: Sizes and noise.
    seed: As in `make_corpora`.

  Returns:
    The scene; `caption`, `captions`, `questions`, `answers`, `label`.
  """
  rng = random_state(seed, corpus, index)
  times = scenes.frame_times(config.seconds, config.video_fps)
  motion: str | None = None
  looks: tuple[tuple[str, str], ...] = ()
  if corpus == 'test_classification':
    motion = tuple(MOTIONS)[index % len(MOTIONS)]
  elif corpus == 'test_retrieval':
    motion, looks = _descriptions(seed, config.test_retrieval)[index]
  scene = scenes.sample_scene(
    rng, times, motion=motion, looks=looks, two_bodies=config.two_bodies
  )
  captions = _captions(corpus, rng, scene, index, config, seed)
  asked = []
  if corpus == 'test_qa':
    pool = questions.ask(rng, scene.bodies, scene.relation)
    chosen = rng.permutation(len(pool))[: config.questions]
    asked = [pool[int(i)] for i in sorted(chosen)]
  return scene, {
    'caption': captions[0],
    'captions': captions,
    'questions': [item.question for item in asked],
    'answers': [item.answer for item in asked],
    # Two bodies may move in two ways: then there is no one class.
    'label': motion or '',
  }


def _captions(
  corpus: str,
  rng: np.random.Generator,
  scene: scenes.Scene,
  index: int,
  config: MiniatureConfig,
  seed: int,
) -> list[str]:
  if corpus == 'short_captions':
    return [texts.short_caption(rng, scene, config.speech)]
  if corpus == 'narratives':
    return [texts.narrative(rng, scene)]
  if corpus == 'web_clips':
    other = scenes.sample_scene(
      random_state(seed, 'web_clips_other', index),
      scenes.frame_times(config.seconds, config.video_fps),
      two_bodies=config.two_bodies,
    )
    return [texts.alt_text(rng, scene, other, config.alt_text)]
  plain = texts.clean_caption(scene)
  if corpus != 'test_captioning':
    return [plain]
  return [
    plain,
    *(
      texts.reworded_caption(rng, scene, synonym=0.4, place=0.15)
      for _ in range(config.references - 1)
    ),
  ]


def _descriptions(
  seed: int, count: int
) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
  """Returns `count` distinct (motion, looks), evenly over the motions.

  Raises:
    ValueError: If the world has fewer.
  """
  rng = random_state(seed, 'descriptions', 0)
  looks = [(colour, shape) for colour in COLOURS for shape in SHAPES]
  most = len(looks) * len(MOTIONS)
  if count > most:
    raise ValueError(
      f'MiniatureConfig.test_retrieval {count}: the world has {most} '
      'distinct descriptions only'
    )
  queues: dict[str, list[tuple[tuple[str, str], ...]]] = {}
  for motion in MOTIONS:
    order = [looks[i] for i in rng.permutation(len(looks))]
    queues[motion] = [
      (look, _partner(look)) if motion == COLLIDES else (look,)
      for look in order
    ]
  return [
    (motion, queues[motion][turn])
    for turn in range(len(looks))
    for motion in MOTIONS
  ][:count]


def _partner(look: tuple[str, str]) -> tuple[str, str]:
  """Returns the next colour and shape: no two collisions have the same pair."""
  colours, shapes = list(COLOURS), list(SHAPES)
  return (
    colours[(colours.index(look[0]) + 1) % len(colours)],
    shapes[(shapes.index(look[1]) + 1) % len(shapes)],
  )


def sample_still(rng: np.random.Generator, two_bodies: float) -> scenes.Scene:
  """Draws one frame with no, one or two bodies anywhere, of any size."""
  draw = rng.random()
  count = 2 if draw < two_bodies else 0 if draw > 0.97 else 1
  largest = 12.5 if count == 2 else 14.5
  while True:
    widths = rng.uniform(8.0, largest, count)
    margins = widths[:, None] / 2 + 0.5
    centres = rng.uniform(margins, SIDE - margins, (count, 2))
    apart = count < 2 or (
      np.abs(centres[0] - centres[1]).max() > widths.mean() + 0.5
    )
    if apart:
      break
  return scenes.sample_still(rng, centres, widths)
