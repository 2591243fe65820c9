"""Finds the videos that annotations name, in a folder."""

import collections
import dataclasses
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from absl import logging

from vidlm.core import file_names
from vidlm.data.video import inventory as inventories
from vidlm.data.video import listing, scanner

Entry = listing.Entry
_SHOWN = 5


class Lookup:
  """The files of a folder by name, for the rows of one annotation file."""

  def __init__(self, videos: inventories.Videos):
    """Takes a folder; it is listed when a name isn't there as it is written.

    Raises:
      FileNotFoundError: If there is no such folder.
    """
    self._videos = videos
    self._folder = inventories.folder_of(videos)
    self._shown = file_names.as_text(self._folder.path)
    self._root = os.path.realpath(self._folder.path)
    self._close: dict[str, list[str]] | None = None

  def locate_all(self, entries: Iterable[Entry]) -> list[Entry]:
    """Finds the video of each entry, and says where a name differs.

    Args:
      entries: With the name of a video. Where there is no file of just this
        name, each suffix of a video, then of a picture, is tried; last, a
        name that differs in upper and lower case only, or in how Unicode
        writes an accent, if that leaves no doubt.

    Returns:
      Entries with paths, or with a reason why they have none.
    """
    named = list(entries)
    located = [self._locate(entry) for entry in named]
    rows: dict[str, set[str]] = collections.defaultdict(set)
    for before, (after, _) in zip(named, located, strict=True):
      rows[after.video].add(before.video)
    result, changed = [], {}
    for before, (after, is_close) in zip(named, located, strict=True):
      if is_close:
        rivals = rows[after.video] - {before.video}
        if any(_differ(before.video, rival) for rival in rivals):
          after = _doubtful(before, [after.video], min(rivals))
        else:
          changed[before.video] = after.video
      result.append(after)
    self._say(changed)
    return result

  def _locate(self, entry: Entry) -> tuple[Entry, bool]:
    """Returns the entry, and whether its file is called a little otherwise."""
    path: str | None = None
    for name in _names(entry.video):
      path = scanner.resolve(self._folder, name)
      if path is None:
        return self._missing(entry, 'outside_folder', 'leads out of'), False
      for suffix in ('', *scanner.suffixes('video', 'image')):
        if os.path.isfile(path + suffix):
          return self._found(entry, path + suffix), False
    close = self._close_to(os.path.relpath(path, self._root)) if path else ()
    if len(close) > 1:
      return _doubtful(entry, close), False
    for name in close:
      path = os.path.join(self._root, file_names.as_name(name))
      return self._found(entry, path), True
    return self._missing(entry, 'not_found', 'not in'), False

  def _found(self, entry: Entry, path: str) -> Entry:
    name = os.path.relpath(path, self._root)
    # With its suffix it may be a link that the name alone wasn't.
    if scanner.resolve(self._folder, name) is None:
      return self._missing(entry, 'outside_folder', 'leads out of')
    return dataclasses.replace(entry, video=file_names.as_text(name), path=path)

  def _missing(self, entry: Entry, reason: str, why: str) -> Entry:
    message = file_names.printable(f'{entry.video}: {why} {self._shown}')
    video = file_names.printable(entry.video)
    return dataclasses.replace(
      entry, video=video, reason=reason, message=message
    )

  def _close_to(self, name: str) -> Sequence[str]:
    if self._close is None:
      self._close = collections.defaultdict(list)
      for item in inventories.take(self._videos).items:
        if item.kind:
          bare = scanner.without_suffix(item.name, 'video', 'image')
          for key in {folded(item.name), folded(bare)}:
            self._close[key].append(item.name)
    return self._close.get(folded(name), ())

  def _say(self, changed: Mapping[str, str]) -> None:
    if not changed:
      return
    shown = [f'{a!r} is {b!r}' for a, b in [*changed.items()][:_SHOWN]]
    rest = len(changed) - len(shown)
    logging.warning(
      '%s: %d videos that rows name were found under names that differ in '
      'case or accents alone: %s%s',
      self._shown,
      len(changed),
      ', '.join(shown),
      f' and {rest} more' if rest else '',
    )


def _doubtful(entry: Entry, close: Sequence[str], rival: str = '') -> Entry:
  shown = ' and '.join(map(repr, sorted(close)[:_SHOWN]))
  why = f', which a row calls {rival!r}' if rival else ': which is it?'
  return dataclasses.replace(
    entry,
    reason='not_found',
    message=file_names.printable(
      f'{entry.video}: differs in case or accents alone from {shown}{why}'
    ),
  )


def _differ(name: str, rival: str) -> bool:
  """Whether two rows that mean one file spell more than its suffix apart."""
  bare, other = (
    scanner.without_suffix(n, 'video', 'image') for n in (name, rival)
  )
  return bare != other or (bare != name and other != rival)


def folded(name: str) -> str:
  """Returns what names have in common that differ in case or accents alone."""
  lower = unicodedata.normalize('NFC', name).casefold()
  return unicodedata.normalize('NFC', lower)


def _names(text: str) -> Sequence[str]:
  """A name as it stands there, and as we write one that is no UTF-8."""
  try:
    os.fsencode(text)
  except UnicodeEncodeError:  # half a character, out of JSON: no file's name
    return ()
  return list(dict.fromkeys((text, file_names.as_name(text))))
