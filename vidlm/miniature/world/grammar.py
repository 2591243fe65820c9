"""The miniature's language: a plain caption, and reading bodies out of one.

`parse_caption` tolerates free text (an alt-text, a model's broken caption):
it finds "<colour> <shape>" and the motion said of it, and ignores the rest.
"""

import dataclasses
import re
from collections.abc import Iterable, Sequence

from vidlm.miniature.world.scenes import Body
from vidlm.miniature.world.vocabulary import (
  COLLIDES,
  COLOURS,
  MOTIONS,
  SHAPES,
)

_STEMS = {
  'swing': 'swings',
  'grow': 'grows',
  'bigger': 'grows',
  'larger': 'grows',
  'shrink': 'shrinks',
  'smaller': 'shrinks',
  'appear': 'appears',
  'shows': 'appears',
  'disappear': 'disappears',
  'vanish': 'disappears',
  'flash': 'flashes',
  'blink': 'flashes',
  'stop': 'stops moving',
  'sets': 'starts moving',
  'fall': 'falls',
  'fell': 'falls',
  'drop': 'falls',
  'bounc': 'bounces',
  'hop': 'bounces',
  'collid': COLLIDES,
  'hit': COLLIDES,
  'bump': COLLIDES,
  'rise': 'moves up',
  'rising': 'moves up',
  'sink': 'moves down',
}
_MOVE = re.compile(r'(mov(e|es|ed|ing)|go|goes|going|slid(e|es|ing))$')
_START = re.compile(r'start(s|ed|ing)?$')
_WAYS = {
  'left': 'left',
  'right': 'right',
  'up': 'up',
  'down': 'down',
  'upwards': 'up',
  'downwards': 'down',
  'top': 'up',
  'bottom': 'down',
}
_PLACES = ('at', 'in', 'on', 'from')  # "from the left" is no direction
_CLAUSE_END = ('then', 'while', 'until', 'after', 'before', *SHAPES)


@dataclasses.dataclass
class Mention:
  """A body that a text names, and the motion it says of it, if any."""

  colour: str | None
  shape: str
  motion: str | None = None

  @property
  def name(self) -> str:
    """Such as 'red bar'."""
    return f'{self.colour or "some"} {self.shape}'


def caption(
  bodies: Sequence[Body | Mention],
  relation: str,
  phrases: Sequence[str] | None = None,
  names: Sequence[str] | None = None,
) -> str:
  """Returns the plain caption, such as 'a red bar moves right'.

  Args:
    bodies: One or two.
    relation: 'alone', 'while', 'then' or 'collide'.
    phrases: Other phrases for their motions.
    names: Other names, such as 'big red bar at the left'.
  """
  phrases = phrases or [body.motion or '' for body in bodies]
  names = names or [body.name for body in bodies]
  if relation == 'collide':
    verb = phrases[0]
    preposition = 'with ' if verb == COLLIDES else ''
    return f'a {names[0]} {verb} {preposition}a {names[1]}'
  parts = [f'a {n} {p}' for n, p in zip(names, phrases, strict=True)]
  return f' {relation} '.join(parts)


def parse_caption(text: str) -> list[Mention]:
  """Finds the bodies a text names and how it says they move.

  Args:
    text: Any text.

  Returns:
    One mention a distinct (colour, shape), in order of appearance.
  """
  words = re.findall(r'[a-z]+', text.lower())
  found: dict[tuple[str | None, str], Mention] = {}
  current: Mention | None = None
  waiting: str | None = None  # "there appears a red bar"
  colour, colour_at = None, -9
  meets = False
  for i, word in enumerate(words):
    if word in COLOURS:
      colour, colour_at = word, i
    elif word in SHAPES:
      key = (colour if i - colour_at <= 3 else None, word)
      colour_at = -9
      current = found.setdefault(key, Mention(*key))
      if meets:
        current.motion = current.motion or COLLIDES
      if waiting:
        current.motion, waiting = current.motion or waiting, None
    else:
      motion = _motion_at(words, i)
      meets |= motion == COLLIDES
      if current is None:
        waiting = waiting or motion
      elif motion:
        current.motion = _choose(current.motion, motion)
  if meets:
    # "a red bar and a blue ring collide": said of both.
    for mention in found.values():
      mention.motion = mention.motion or COLLIDES
  return list(found.values())


def _choose(old: str | None, new: str) -> str:
  """Takes the first motion said, but "moves left and stops" is a stop."""
  return new if old is None or new in ('stops moving', 'starts moving') else old


def _motion_at(words: Sequence[str], i: int) -> str | None:
  """Returns the motion whose verb is words[i], if it is one."""
  word = words[i]
  if _MOVE.match(word):
    return _way_after(words, i)
  if _START.match(word):
    after = words[i + 1] if i + 1 < len(words) else 'moving'
    return 'starts moving' if after in ('moving', 'to', 'off') else None
  return next(
    (motion for stem, motion in _STEMS.items() if word.startswith(stem)), None
  )


def _way_after(words: Sequence[str], i: int) -> str | None:
  for j in range(i + 1, min(i + 9, len(words))):
    word = words[j]
    if word in _CLAUSE_END:
      return None
    if word == 'forth':
      return 'swings'
    before = words[j - 1]
    if before in ('the', 'top', 'bottom'):
      before = words[max(j - 2, 0)]
      if before == 'the':
        before = words[max(j - 3, 0)]
    if word in _WAYS and before not in _PLACES:
      return f'moves {_WAYS[word]}'
  return None


def parse_relation(text: str) -> str:
  """Returns 'alone', 'while', 'then' or 'collide', as the text tells it."""
  mentions = parse_caption(text)
  if any(mention.motion == COLLIDES for mention in mentions):
    return 'collide'
  if len(mentions) < 2:
    return 'alone'
  colours, shapes = '|'.join(COLOURS), '|'.join(SHAPES)
  follows = rf'\b(after that|then)( [a-z]+){{0,3}}? ({colours}) ({shapes})'
  return 'then' if re.search(follows, text.lower()) else 'while'


@dataclasses.dataclass(frozen=True)
class CaptionShares:
  """How right a set of captions is.

  Attributes:
    body: Share of the bodies that are named with colour and shape.
    body_and_motion: Share named with the right motion too.
    precision: Share of the named bodies that are there.
    captions: Number of captions.
  """

  body: float
  body_and_motion: float
  precision: float
  captions: int


def caption_shares(
  pairs: Iterable[tuple[str, Sequence[Body | Mention]]],
) -> CaptionShares:
  """Measures captions against what the simulator knows.

  Args:
    pairs: (caption, the bodies of its clip).

  Returns:
    The shares; 0 where there is nothing to count.
  """
  bodies = named = moved = said = there = captions = 0
  for text, truth in pairs:
    mentions = {(m.colour, m.shape): m for m in parse_caption(text)}
    wanted = {(body.colour, body.shape): body.motion for body in truth}
    captions += 1
    bodies += len(wanted)
    said += len(mentions)
    both = mentions.keys() & wanted.keys()
    named += len(both)
    there += len(both)
    moved += sum(mentions[key].motion == wanted[key] for key in both)
  return CaptionShares(
    named / max(bodies, 1),
    moved / max(bodies, 1),
    there / max(said, 1),
    captions,
  )


def phrases_of(motion: str) -> tuple[str, ...]:
  """Returns the plain phrase and its synonyms."""
  return (motion, *MOTIONS[motion].synonyms)
