"""Reads captions of stills back: which bodies, how big, and where."""

import dataclasses
import re

from vidlm.miniature.world.vocabulary import COLOURS, SHAPES

_BODY = re.compile(
  rf'(?:(small|big) )?({"|".join(COLOURS)}) ({"|".join(SHAPES)})'
  r'(?: (?:at|in) the ((?:top|bottom) (?:left|right)|top|bottom|left|right'
  r'|middle))?'
)


@dataclasses.dataclass(frozen=True)
class Seen:
  """A body as a caption of one picture tells of it.

  Attributes:
    name: Such as 'red bar'.
    size: 'small', 'big' or ''.
    place: Such as 'top left'; '' where none is told.
  """

  name: str
  size: str = ''
  place: str = ''


def parse(text: str) -> list[Seen]:
  """Finds the bodies of a caption, each name once, in order of appearance.

  Args:
    text: Any text.
  """
  found = {
    f'{colour} {shape}': Seen(f'{colour} {shape}', size, place)
    for size, colour, shape, place in reversed(_BODY.findall(text.lower()))
  }
  return list(reversed(found.values()))


def at(place: str) -> str:
  """Returns 'at the left', 'in the middle'."""
  return f'{"in" if place == "middle" else "at"} the {place}'
