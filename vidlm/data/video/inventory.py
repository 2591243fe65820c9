"""What is in a folder of videos: each of its files is counted once."""

import collections
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from vidlm.core import file_names
from vidlm.data.video import scanner, sniff, walk

_SHOWN = 5
# What `vidlm prepare` and `vidlm caption` leave beside their sets.
FILE = 'files.json'


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
  """A file of the folder.

  Attributes:
    name: As text; see `core.file_names`.
    kind: 'video', 'image', or '' for one that is left out.
    reason: Why it is, one of `walk.REASONS`; else ''.
    followed: Whether it is had by following a link only.
  """

  name: str
  kind: str = ''
  reason: str = ''
  followed: bool = False


@dataclasses.dataclass(frozen=True)
class Counts:
  """What became of the files of a folder; the numbers add up to `found`.

  Attributes:
    found: All files below the folder.
    clips: Films, of which at least one clip was taken.
    stills: Pictures. They are no films: those that rows name are taken, as
      clips of one frame.
    skipped: All others, by reason: one of `walk.REASONS`, or of
      `reader.REASONS` for a film that could not be read.
  """

  found: int
  clips: int
  stills: int
  skipped: dict[str, int]

  def __str__(self) -> str:
    skipped = sum(self.skipped.values())
    text = (
      f'{_number(self.found, "file")} found: {_number(self.clips, "film")}, '
      f'{_number(self.stills, "still")}, {skipped} skipped'
    )
    reasons = ', '.join(f'{r} {n}' for r, n in self.skipped.items())
    return f'{text} ({reasons})' if reasons else text


@dataclasses.dataclass(frozen=True)
class Inventory:
  """All files of a folder.

  Attributes:
    folder: The folder.
    items: Its files, in the order of `walk`.
  """

  folder: scanner.Folder
  items: Sequence[Item]

  @property
  def videos(self) -> list[Item]:
    """The films, by name."""
    films = [item for item in self.items if item.kind == 'video']
    # As the system has them, not as text: so they always were sorted.
    return sorted(films, key=lambda item: file_names.as_name(item.name))

  def outcomes(
    self, outcomes: Mapping[str, str], by_rows: bool = False
  ) -> Iterator[tuple[Item, str]]:
    """Yields each file and what became of it.

    Args:
      outcomes: Name of a video -> '' if a clip of it was taken, else why not.
      by_rows: Whether rows said which files are wanted: what none of them
        names was left out for that.

    Yields:
      The file and 'clip', 'still', or the reason why it was skipped.
    """
    for item in self.items:
      reason = outcomes.get(item.name)
      if reason is None:
        reason = item.reason or ('no_row' if by_rows else '')
        if not reason and item.kind == 'video':
          reason = 'not_found'  # it came while we were at work
      is_still = item.kind == 'image' or (
        not item.kind and scanner.is_kind(item.name, 'image')
      )
      yield item, reason or ('still' if is_still else 'clip')

  def count(self, outcomes: Mapping[str, str], by_rows: bool = False) -> Counts:
    """Counts what `outcomes` yields."""
    counts = collections.Counter(
      outcome for _, outcome in self.outcomes(outcomes, by_rows)
    )
    clips, stills = counts.pop('clip', 0), counts.pop('still', 0)
    skipped = dict(sorted(counts.items()))
    return Counts(len(self.items), clips, stills, skipped)

  def report(
    self, outcomes: Mapping[str, str], by_rows: bool = False
  ) -> dict[str, Any]:
    """Returns the counts, and the names of what was skipped, for JSON."""
    names: dict[str, list[str]] = collections.defaultdict(list)
    for item, outcome in self.outcomes(outcomes, by_rows):
      if outcome not in ('clip', 'still'):
        names[outcome].append(item.name)
    counts = dataclasses.asdict(self.count(outcomes, by_rows))
    return {**counts, 'names': dict(sorted(names.items()))}

  def __str__(self) -> str:
    """What is there, before anybody has read it."""
    taken = {item.name: '' for item in self.items if item.kind == 'video'}
    text = str(self.count(taken))
    others = [i.name for i in self.items if i.reason == 'suffix_unknown']
    if others:
      ends = collections.Counter(_suffix(name) for name in others)
      text += f'; unknown suffixes: {_most_common(ends)}'
    return text

  def log(self) -> None:
    """Says what is there, and what leads out of it."""
    logging.info('%s: %s', file_names.as_text(self.folder.path), self)
    out = [i.name for i in self.items if i.reason == 'link_leads_out']
    if out:
      shown = ', '.join(map(repr, out[:_SHOWN]))
      more = f' and {len(out) - _SHOWN} more' if len(out) > _SHOWN else ''
      logging.warning(
        '%s: %s out of the folder: %s%s; --follow_links takes them',
        file_names.as_text(self.folder.path),
        '1 link leads' if len(out) == 1 else f'{len(out)} links lead',
        shown,
        more,
      )

  def require_videos(self) -> None:
    """Refuses a folder without any.

    Raises:
      ValueError: With what is there instead.
    """
    if not any(item.kind == 'video' for item in self.items):
      kinds = ' '.join(scanner.suffixes('video'))
      raise ValueError(
        f'{file_names.as_text(self.folder.path)}: no video in this folder: '
        f'{self}; looked for {kinds}'
      )


Videos = str | os.PathLike | scanner.Folder | Inventory


def folder_of(videos: Videos) -> scanner.Folder:
  """Returns the folder of videos.

  Args:
    videos: The folder, or what was made of it before.

  Raises:
    FileNotFoundError: If there is no such folder.
  """
  if isinstance(videos, Inventory):
    return videos.folder
  folder = scanner.Folder.of(videos)
  path = folder.path
  if not os.path.isdir(path):
    hint = '; it is a file: give its folder' if os.path.isfile(path) else ''
    raise FileNotFoundError(
      f'{file_names.as_text(path)}: no such folder of videos{hint}'
    )
  return folder


def take(videos: Videos) -> Inventory:
  """Lists all files of a folder of videos; see `folder_of`."""
  if isinstance(videos, Inventory):
    return videos
  folder = folder_of(videos)
  items = [_item(folder.path, found) for found in walk.walk(folder)]
  return Inventory(folder, items)


def _item(root: str, found: walk.Found) -> Item:
  kind, reason = '', found.reason
  if not reason:
    kind = sniff.kind_of(os.path.join(root, found.name)) or _kind(found.name)
    if kind not in ('video', 'image'):
      kind, reason = '', kind
  return Item(file_names.as_text(found.name), kind, reason, found.followed)


def _kind(name: str) -> str:
  for kind in ('video', 'image'):
    if scanner.is_kind(name, kind):
      return kind
  return 'suffix_unknown'


def _suffix(name: str) -> str:
  suffix = os.path.splitext(name)[1].lower()
  return suffix if 1 < len(suffix) <= 12 else '(none)'


def _most_common(counts: collections.Counter[str]) -> str:
  shown = ', '.join(f'{name} {n}' for name, n in counts.most_common(_SHOWN))
  rest = len(counts) - _SHOWN
  return f'{shown} and {rest} more' if rest > 0 else shown


def _number(count: int, what: str) -> str:
  return f'{count} {what}' if count == 1 else f'{count} {what}s'
