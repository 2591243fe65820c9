"""Names that are another's: clip.MP4 is clip.mp4, unless that is ambiguous."""

import collections
import unicodedata
from collections.abc import Collection, Mapping

from vidlm.core import messages
from vidlm.data.video import scanner


def match(found: Collection[str], wanted: Collection[str]) -> dict[str, str]:
  """Finds names that differ only in what systems change of them.

  That is upper and lower case, how letters with accents are written, blanks at
  the ends, and a video's suffix that one of the two doesn't have.

  Args:
    found: Names, some of which may be wanted.
    wanted: The names there should be.

  Returns:
    {name that isn't wanted: the wanted one it stands for}; none that two could
    stand for, or that could stand for two.
  """
  known = set(wanted)
  strangers = [name for name in dict.fromkeys(found) if name not in known]
  if not strangers:
    return {}
  whole, bare = _by(_fold, known), _by(_bare, known)
  proposed: dict[str, str] = {}
  for name in strangers:
    alike = whole.get(_fold(name)) or [
      # clip.avi isn't clip.mp4: one of them has to be without a suffix.
      other
      for other in bare.get(_bare(name), ())
      if _fold(name) == _bare(name) or _fold(other) == _bare(other)
    ]
    if len(alike) == 1:
      proposed[name] = alike[0]
  claims = collections.Counter([*proposed.values(), *known.intersection(found)])
  return {name: other for name, other in proposed.items() if claims[other] == 1}


def describe(renamed: Mapping[str, str]) -> str:
  """Says of names what they were taken for: the first few, and a count."""
  pairs = (f'{name!r} for {other!r}' for name, other in renamed.items())
  return f'{len(renamed)} taken by another name: {messages.some(pairs)}'


def _by(key, names: Collection[str]) -> dict[str, list[str]]:
  found: dict[str, list[str]] = {}
  for name in names:
    found.setdefault(key(name), []).append(name)
  return found


def _fold(name: str) -> str:
  return unicodedata.normalize('NFC', name.strip()).casefold()


def _bare(name: str) -> str:
  return scanner.without_suffix(_fold(name), 'video', 'image')
