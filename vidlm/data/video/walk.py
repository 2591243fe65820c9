"""Every file below a folder, each once, and why one is left out.

A folder's own files come before those of its subfolders, both sorted by name,
so that the order is the same on every machine. Links are never followed in
circles, nor to what is listed anyway.
"""

import dataclasses
import os
from collections.abc import Iterator

# Why a file is no clip, before anybody has tried to read it as a video; the
# other reasons are `reader.REASONS`.
REASONS = {
  'suffix_unknown': 'not called as videos or pictures are',
  'hidden': 'its name, or that of a folder it is in, begins with a dot',
  'link_leads_out': 'a link out of what is listed; --follow_links takes it',
  'link_repeats': 'a link to a folder that is listed anyway',
  'link_loop': 'a link that leads back to itself',
  'not_a_file': 'a pipe, a socket or a device',
  'name_unreadable': 'the system could not say what this is',
  'folder_unreadable': 'a folder that could not be listed',
  'no_video_stream': 'sound only',
  'no_row': 'no row of the annotations names it',
}


@dataclasses.dataclass(frozen=True)
class Folder:
  """A folder of videos, as the flags say.

  Attributes:
    path: Where it is.
    follow_links: Also take what links below it lead to outside.
  """

  path: str
  follow_links: bool = False

  @classmethod
  def of(cls, folder: 'str | os.PathLike | Folder') -> 'Folder':
    """Returns the folder at a path, links that leave it not followed."""
    return folder if isinstance(folder, Folder) else cls(os.fspath(folder))


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
  """A file, or what stands where one could.

  Attributes:
    name: Relative to the folder, with '/', as the system gives it.
    reason: One of REASONS if it is none to look at; mostly ''.
    followed: Whether it is had by following a link only.
  """

  name: str
  reason: str = ''
  followed: bool = False


def walk(
  folder: str | os.PathLike | Folder, hidden: bool = True
) -> Iterator[Found]:
  """Yields every file below a folder once.

  Args:
    folder: The folder.
    hidden: Also what is hidden, with that reason.
  """
  yield from _Walk(Folder.of(folder), hidden).run()


def resolve(folder: str | os.PathLike | Folder, name: str) -> str | None:
  """Returns where a file of a folder is; None if it leads out.

  Args:
    folder: The folder.
    name: Relative to it. It stays in the path, also where it is a link: what
      a link leads to may be called in any way.
  """
  folder = Folder.of(folder)
  try:
    root = os.path.realpath(folder.path)
    path = os.path.normpath(os.path.join(root, name))
    real = os.path.realpath(path)
    # A loop of links is no error, but stays a link.
    if os.path.islink(real):
      return None
  except (OSError, ValueError):  # such as a NUL
    return None
  if _is_below(path, root):
    return path if folder.follow_links or _is_below(real, root) else None
  # An absolute name, through a link to the folder.
  return real if _is_below(real, root) else None


def _is_below(path: str, root: str) -> bool:
  return path == root or path.startswith(root.rstrip('/') + '/')


@dataclasses.dataclass(frozen=True)
class _Place:
  """A folder to be listed, and what its files are called and are."""

  path: str
  prefix: str = ''
  hidden: bool = False
  followed: bool = False

  def file(self, entry: os.DirEntry, reason: str, link: bool = False) -> Found:
    return Found(self.prefix + entry.name, reason, self.followed or link)

  def folder(self, entry: os.DirEntry, link: bool = False) -> '_Place':
    return _Place(
      entry.path,
      f'{self.prefix}{entry.name}/',
      self.hidden or entry.name.startswith('.'),
      self.followed or link,
    )


class _Walk:
  def __init__(self, folder: Folder, hidden: bool):
    self._follow = folder.follow_links
    self._hidden = hidden
    self._root = os.path.realpath(folder.path)
    # Folders outside that are listed, by where they really are.
    self._seen = {self._root}

  def run(self) -> Iterator[Found]:
    # A stack of our own: folders nest deeper than Python calls.
    places = [_Place(self._root)]
    while places:
      place = places.pop()
      subfolders: list[_Place] = []
      for found in self._list(place):
        if isinstance(found, _Place):
          subfolders.append(found)
        else:
          yield found
      places += reversed(subfolders)

  def _list(self, place: _Place) -> Iterator[Found | _Place]:
    try:
      with os.scandir(place.path) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    except OSError:
      name = place.prefix.rstrip('/') or '.'
      yield Found(name, 'folder_unreadable', place.followed)
      return
    for entry in entries:
      hidden = place.hidden or entry.name.startswith('.')
      if hidden and not self._hidden:
        continue
      try:
        found = self._look(place, entry, hidden)
      except OSError:
        found = place.file(entry, 'name_unreadable')
      if found is not None:
        yield found

  def _look(
    self, place: _Place, entry: os.DirEntry, hidden: bool
  ) -> Found | _Place | None:
    """Returns a file, a folder to be listed, or None for one that was."""
    if entry.is_symlink():
      return place.file(entry, 'hidden') if hidden else self._link(place, entry)
    if not entry.is_dir():
      return place.file(entry, _reason(hidden, entry.is_file()))
    if place.followed and not self._is_new(os.path.realpath(entry.path)):
      return None
    return place.folder(entry)

  def _link(self, place: _Place, entry: os.DirEntry) -> Found | _Place:
    real = os.path.realpath(entry.path)
    if os.path.islink(real):
      return place.file(entry, 'link_loop')
    is_folder = os.path.isdir(real)
    leaves = not _is_below(real, self._root)
    if is_folder and self._is_listed(real):
      return place.file(entry, 'link_repeats')
    if not self._follow and (leaves or is_folder):
      return place.file(entry, 'link_leads_out')
    if is_folder:
      new = self._is_new(real)
      return (
        place.folder(entry, link=True)
        if new
        else place.file(entry, 'link_repeats')
      )
    # What leads nowhere is a video that isn't there.
    is_file = os.path.isfile(real) or not os.path.exists(real)
    return place.file(entry, _reason(False, is_file), link=leaves)

  def _is_listed(self, real: str) -> bool:
    """Whether a folder is listed without following any link."""
    if not _is_below(real, self._root):
      return False
    parts = os.path.relpath(real, self._root).split('/')
    return not any(part.startswith('.') for part in parts if part != '.')

  def _is_new(self, real: str) -> bool:
    new = real not in self._seen
    self._seen.add(real)
    return new


def _reason(hidden: bool, is_file: bool) -> str:
  if hidden:
    return 'hidden'
  return '' if is_file else 'not_a_file'
