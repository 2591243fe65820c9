"""Ids of the videos of a folder: their names without suffix, all different.

An id is a function of the names that are in the folder, so it is the same on
every machine. Suffixes that came later change no id of a set that was there.
"""

import collections
import re
from collections.abc import Collection, Iterable

# How a clip of a film that is cut is called.
_CUT = re.compile(r'(.*)#(\d{4}|[1-9]\d{4,})', re.DOTALL)


def of_names(names: Iterable[str], later: Iterable[str] = ()) -> dict[str, str]:
  """Returns an id for each name.

  Args:
    names: Names with suffix, all different. The id is the name without it;
      with it where two would be the same.
    later: Further names, whose ids give way to those of `names`.
  """
  ids = _of_names(sorted(names), frozenset())
  ids.update(_of_names(sorted(later), frozenset(ids.values())))
  return ids


def _of_names(names: list[str], taken: Collection[str]) -> dict[str, str]:
  by_stem: dict[str, list[str]] = collections.defaultdict(list)
  for name in names:
    by_stem[name.rpartition('.')[0]].append(name)
  whole: set[str] = set()
  waiting = [
    name
    for stem, members in by_stem.items()
    if len(members) > 1 or stem in taken
    for name in members
  ]
  # A name that is an id as a whole may be another's name without suffix:
  # y.mp4 and y.mkv make a third, y.mp4.mp4, keep its own.
  while waiting:
    name = waiting.pop()
    if name not in whole:
      whole.add(name)
      waiting += by_stem.get(name, ())
  ids = {n: n if n in whole else n.rpartition('.')[0] for n in names}
  used = {*taken, *(ids[name] for name in names if ids[name] not in taken)}
  for name in names:
    if ids[name] in taken:
      ids[name] = _free(ids[name], used)
      used.add(ids[name])
  return ids


def _free(wanted: str, used: Collection[str]) -> str:
  number = 2
  while f'{wanted}~{number}' in used:
    number += 1
  return f'{wanted}~{number}'


def of_failed(film: str, films: Collection[str]) -> str:
  """Returns the id of a film that could not be cut.

  Args:
    film: Its id, which it keeps unless a clip of another film has it.
    films: The ids of all.
  """
  clip_id = film
  while _is_clip_of(clip_id, films) or (clip_id != film and clip_id in films):
    clip_id += '~'
  return clip_id


def _is_clip_of(clip_id: str, films: Collection[str]) -> bool:
  match = _CUT.fullmatch(clip_id)
  return match is not None and match[1] in films
