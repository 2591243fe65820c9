"""Text without pictures that teaches a language model time in words.

UL2 knows what "at the left, then in the middle, then at the right" amounts
to; a language model trained on the miniature alone has to be told.
"""

import numpy as np
from jaxtyping import Float

from vidlm.miniature import questions, texts
from vidlm.miniature.config import MiniatureConfig
from vidlm.miniature.physics import SIDE
from vidlm.miniature.world import Scene

_KINDS = ('story', 'question', 'narration')
_SHARES = (0.55, 0.25, 0.2)


def story(scene: Scene, steps: int = 8) -> str:
  """A scene frame by frame, as 'a red bar at the left then middle ...'.

  Args:
    scene: What to tell.
    steps: Number of frames, evenly spaced.
  """
  frames = np.arange(steps) * len(scene.tracks) // steps
  tracks = scene.tracks[frames]
  return ' and '.join(
    f'a {body.name} {" then ".join(_told(tracks[:, i]))}'
    for i, body in enumerate(scene.bodies)
  )


def _told(track: Float[np.ndarray, 'f 4']) -> list[str]:
  """One or two words a frame: gone, its size if that changes, or a place."""
  if np.ptp(track[:, 2]) > 2:
    sizes = {'': 'medium'}
    words = [size := texts.size_name(w) for w in track[:, 2]]
    return [sizes.get(size, size) for size in words]
  # A lane or a collision moves a body by less than a third of the picture:
  # then say on which side of its own way it is.
  words = [texts.place_name(x, y) for x, y in track[:, :2]]
  if len(set(words)) == 1 and np.ptp(track[:, :2]) * 0 == 0:
    words = [_side(track, t) or words[t] for t in range(len(track))]
  return [
    word if visible else 'gone'
    for word, visible in zip(words, track[:, 3], strict=True)
  ]


def _side(track: np.ndarray, t: int) -> str:
  ways = np.ptp(track[:, :2], axis=0)
  axis = int(np.argmax(ways))
  if ways[axis] < 0.06 * SIDE:
    return ''
  middle = (track[:, axis].max() + track[:, axis].min()) / 2
  names = (('left', 'right'), ('top', 'bottom'))[axis]
  return names[int(track[t, axis] > middle)]


def text_example(
  rng: np.random.Generator, scene: Scene, config: MiniatureConfig
) -> dict[str, str]:
  """One line of language data.

  Args:
    rng: Chooses the kind and the wording.
    scene: What it is about.
    config: For the prompts.

  Returns:
    `kind`, `inputs`, `targets`. A story stands where a clip's frames would,
    with the prompt behind it.
  """
  kind = str(rng.choice(_KINDS, p=_SHARES))
  told = story(scene, int(rng.choice([8, 8, 4])))
  if kind == 'story':
    target = texts.reworded_caption(rng, scene, synonym=0.15, place=0.0)
    inputs = f'{told} {config.caption_prompt}'
    return {'kind': kind, 'inputs': inputs, 'targets': target}
  if kind == 'question':
    asked = questions.ask(rng, scene.bodies, scene.relation)
    item = asked[int(rng.integers(len(asked)))]
    context = told if rng.random() < 0.5 else texts.reworded_caption(
      rng, scene, synonym=0.3, place=0.1
    )
    prompt = config.question_prompt.format(question=item.question)
    return {'kind': kind, 'inputs': f'{context} {prompt}',
            'targets': item.answer}
  words = texts.narrative(rng, scene).split()
  cut = int(rng.integers(2, max(3, len(words) - 2)))
  return {'kind': kind, 'inputs': ' '.join(words[:cut]),
          'targets': ' '.join(words[cut:])}
