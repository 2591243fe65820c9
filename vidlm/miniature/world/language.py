"""Text without pictures that teaches a language model time in words.

UL2 knows what "left, then in the middle, then right" amounts to; a language
model that is trained on the miniature alone has to be told.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vidlm.miniature.world import questions, texts
from vidlm.miniature.world.config import MiniatureConfig
from vidlm.miniature.world.physics import SIDE
from vidlm.miniature.world.scenes import Scene

_KINDS = ('story', 'question', 'narration')
_SHARES = (0.7, 0.2, 0.1)


def story(scene: Scene, steps: int = 8, by_frame: bool = False) -> str:
  """Tells a scene in words, one word a body and frame.

  Args:
    scene: What to tell.
    steps: Number of frames, evenly spaced.
    by_frame: Frame after frame, 'red bar left red bar middle ...', as frames
      come; otherwise body after body, 'red bar left middle ...'.
  """
  tracks = scene.tracks[np.arange(steps) * len(scene.tracks) // steps]
  told = [_told(tracks[:, i]) for i in range(len(scene.bodies))]
  if not by_frame:
    return ' and '.join(
      f'{body.name} {" ".join(words)}'
      for body, words in zip(scene.bodies, told, strict=True)
    )
  words = []
  for t in range(steps):
    seen = [
      f'{body.name} {told[i][t]}'
      for i, body in enumerate(scene.bodies)
      if tracks[t, i, 3]
    ]
    words += seen or ['nothing']
  return ' '.join(words)


def _told(track: Float[np.ndarray, 'f 4']) -> list[str]:
  """Returns the one thing that changes: size, place, or being there."""
  ways = np.ptp(track[:, :2], axis=0)
  axis = int(np.argmax(ways))
  if np.ptp(track[:, 2]) > 2:
    words = _thirds(track[:, 2], ('small', 'medium', 'big'))
  elif ways[axis] > 2:
    words = _along(track[:, axis], axis)
  else:
    words = ['there'] * len(track)
  return [
    word if visible else 'gone'
    for word, visible in zip(words, track[:, 3], strict=True)
  ]


def _thirds(values: Float[np.ndarray, ' f'], names: Sequence[str]) -> list[str]:
  """Returns which third of their own range each value is in."""
  third = np.ptp(values) / 3
  low, high = values.min() + third, values.max() - third
  return [names[0 if v < low else 2 if v > high else 1] for v in values]


def _along(centres: Float[np.ndarray, ' f'], axis: int) -> list[str]:
  """Returns thirds of the picture or, for a short way, of the way itself."""
  first, last = (('left', 'right'), ('top', 'bottom'))[axis]
  names = (first, 'middle', last)
  low, high = SIDE * 0.4, SIDE * 0.6
  if centres.min() > low or centres.max() < high:
    return _thirds(centres, names)
  return [names[0 if c < low else 2 if c > high else 1] for c in centres]


def text_example(
  rng: np.random.Generator, scene: Scene, config: MiniatureConfig
) -> dict[str, str]:
  """Returns one line of language data.

  Args:
    rng: Chooses the kind and the wording.
    scene: What it is about.
    config: For the prompts.

  Returns:
    `kind`, `inputs`, `targets`. A story stands where a clip's frames would,
    with the prompt behind it.
  """
  kind = str(rng.choice(_KINDS, p=_SHARES))
  by_frame = rng.random() < 0.5
  # Two bodies in eight frames are more words than a small model reads.
  told = story(scene, 4 if by_frame and len(scene.bodies) > 1 else 8, by_frame)
  if kind == 'story':
    target = texts.reworded_caption(rng, scene, synonym=0.15, place=0.0)
    inputs = f'{told} {config.caption_prompt}'
    return {'kind': kind, 'inputs': inputs, 'targets': target}
  if kind == 'question':
    asked = questions.ask(rng, scene.bodies, scene.relation)
    item = asked[int(rng.integers(len(asked)))]
    context = (
      told
      if rng.random() < 0.5
      else texts.reworded_caption(rng, scene, synonym=0.3, place=0.1)
    )
    prompt = config.question_prompt.format(question=item.question)
    return {
      'kind': kind,
      'inputs': f'{context} {prompt}',
      'targets': item.answer,
    }
  words = texts.narrative(rng, scene).split()
  cut = int(rng.integers(2, max(3, len(words) - 2)))
  return {
    'kind': kind,
    'inputs': ' '.join(words[:cut]),
    'targets': ' '.join(words[cut:]),
  }
