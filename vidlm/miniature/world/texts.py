"""What people (and the web) write about a scene: one function a corpus."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vidlm.miniature.world import grammar
from vidlm.miniature.world.config import AltTextNoise, ShortCaptionNoise
from vidlm.miniature.world.physics import SIDE
from vidlm.miniature.world.scenes import Body, Scene
from vidlm.miniature.world.vocabulary import COLLIDES

_FILLERS = ('um', 'there is', 'we see', 'now')
_FUNCTION_WORDS = ('a', 'an', 'the', 'and', 'while', 'at', 'is')
_IRRELEVANT = (
  'stock footage hd',
  'free video background',
  'image may contain shapes',
  'abstract background video',
  'free stock video',
)
_ALT_TEXTS = (
  'stock footage of {}',
  '{} on background',
  'image may contain {}',
  '{} video',
  'free hd video of {}',
)
_GROUNDS = (
  'in the background there is a {} wall',
  'all is on a {} background',
)
_DETAILS = {
  'swings': 'swings from side to side',
  'grows': 'is small at first and then grows',
  'shrinks': 'is big at first and then shrinks',
  'appears': 'is not there at first and then appears',
  'disappears': 'is there at first and then disappears',
  'flashes': 'flashes again and again',
  'stops moving': 'glides along and then stops moving',
  'starts moving': 'waits and then starts moving',
  'falls': 'waits at the top and then falls to the bottom',
  'bounces': 'bounces up and down',
}


def place_name(x: float, y: float) -> str:
  """Returns 'top left', 'left' ...: thirds of where centres can be."""
  low, high = SIDE * 0.4, SIDE * 0.6
  row = 'top' if y < low else 'bottom' if y > high else ''
  column = 'left' if x < low else 'right' if x > high else ''
  return f'{row} {column}'.strip() or 'middle'


def size_name(width: float) -> str:
  """Returns 'small', 'big' or nothing."""
  return 'small' if width < 9.5 else 'big' if width >= 13 else ''


def _at(place: str) -> str:
  return f'{"in" if place == "middle" else "at"} the {place}'


def still_caption(
  rng: np.random.Generator,
  bodies: Sequence[Body],
  states: Float[np.ndarray, 'n 4'],
  background: str,
) -> str:
  """Returns a picture's alt-text: bodies, sizes and places; nothing moves.

  Args:
    rng: Chooses what is said.
    bodies: Those to name; their motion is not used.
    states: Centre x, centre y, width, visible.
    background: 'dark' or 'grey'.
  """
  parts = []
  for body, (x, y, width, visible) in zip(bodies, states, strict=True):
    if visible:
      size = size_name(width) if rng.random() < 0.6 else ''
      where = f' {_at(place_name(x, y))}' if rng.random() < 0.7 else ''
      parts.append(f'a {size} {body.name}{where}'.replace('  ', ' '))
  text = ' and '.join(parts) or 'nothing'
  return f'{text} on a {background} background' if rng.random() < 0.1 else text


def clean_caption(scene: Scene) -> str:
  """Returns the plain caption."""
  return grammar.caption(scene.bodies, scene.relation)


def reworded_caption(
  rng: np.random.Generator, scene: Scene, *, synonym: float, place: float
) -> str:
  """Returns a caption in other words.

  Args:
    rng: Chooses the words.
    scene: What to tell.
    synonym: Chance of another phrase for a motion.
    place: Chance of saying where a body is first seen.
  """
  phrases, names = [], []
  order = list(range(len(scene.bodies)))
  if scene.relation in ('while', 'collide') and rng.random() < 0.5:
    order.reverse()
  for i in order:
    body = scene.bodies[i]
    others = grammar.phrases_of(body.motion)[1:]
    say = rng.random() < synonym
    phrases.append(str(rng.choice(others)) if say else body.motion)
    names.append(body.name)
    if rng.random() < place and body.motion != COLLIDES:
      names[-1] += f' {_at(_first_place(scene, i))}'
  bodies = [scene.bodies[i] for i in order]
  return grammar.caption(bodies, scene.relation, phrases, names)


def _first_place(scene: Scene, i: int) -> str:
  return place_name(*_seen(scene, i)[0, :2])


def _seen(scene: Scene, i: int) -> Float[np.ndarray, 'f 4']:
  """Returns the states of body i in the frames that show it."""
  track = scene.tracks[:, i]
  return track[track[:, 3] > 0]


def short_caption(
  rng: np.random.Generator, scene: Scene, noise: ShortCaptionNoise
) -> str:
  """Returns a short spoken caption as a recogniser writes it down (S-MiT)."""
  text = reworded_caption(rng, scene, synonym=noise.synonym, place=noise.place)
  words: list[str] = []
  for word in text.split():
    # A body's place keeps its "the": "at left" would read as a direction.
    protected = bool(words) and words[-1] in ('at', 'in')
    draw = rng.random()
    if word in ('a', 'an') and draw < noise.article:
      word = str(rng.choice(['an', 'the']))
    elif (
      word in _FUNCTION_WORDS
      and not protected
      and (draw > 1 - noise.dropped_word and word not in ('while', 'at'))
    ):
      continue
    words.append(word)
  if rng.random() < noise.filler:
    words.insert(0, str(rng.choice(_FILLERS)))
  return ' '.join(words)


def narrative(rng: np.random.Generator, scene: Scene) -> str:
  """Returns a long description, actor by actor, background last (VidLN)."""
  sentences = []
  for i, body in enumerate(scene.bodies):
    seen = _seen(scene, i)
    size = size_name(seen[:, 2].max())
    where = _at(place_name(*seen[0, :2]))
    if scene.relation == 'collide':
      sentence = _collision_sentence(scene, i, where)
    else:
      what = _DETAILS.get(body.motion, body.motion)
      sentence = f'a {size} {body.name} {where} {what}'.replace('  ', ' ')
      if body.motion.startswith('moves') and rng.random() < 0.7:
        sentence += f' until it is {_at(place_name(*seen[-1, :2]))}'
    if i and scene.relation != 'collide':
      link = 'after that' if scene.relation == 'then' else 'at the same time'
      sentence = f'{link} {sentence}'
    sentences.append(sentence)
  sentences.append(str(rng.choice(_GROUNDS)).format(scene.background.name))
  return ' . '.join(sentences) + ' .'


def _collision_sentence(scene: Scene, i: int, where: str) -> str:
  body, other = scene.bodies[i], scene.bodies[1 - i]
  if i == 0:
    what = f'comes near and {COLLIDES} with a {other.name}'
    return f'a {body.name} {where} {what}'
  return f'the {body.name} {where} is pushed back'


def alt_text(
  rng: np.random.Generator, scene: Scene, other: Scene, noise: AltTextNoise
) -> str:
  """Returns text that was found beside a clip on the web (VideoCC).

  Args:
    rng: Chooses what kind of text it is.
    scene: The clip's.
    other: Another clip's, whose text may be found here.
    noise: How often.
  """
  draw = rng.random()
  if draw >= noise.right_body + noise.other_clip:
    return str(rng.choice(_IRRELEVANT))
  told = scene if draw < noise.right_body else other
  moves = rng.random() < noise.motion / max(noise.right_body, 1e-9)
  if moves:
    subject = clean_caption(told)
  else:
    subject = ' and '.join(body.name for body in told.bodies)
  return str(rng.choice(_ALT_TEXTS)).format(subject)
