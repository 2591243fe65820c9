"""Finds the videos of a set in a folder, whatever they are called there."""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator

from absl import logging

from vidlm.core import file_names
from vidlm.data.sets import rows
from vidlm.data.video import inventory as inventories
from vidlm.data.video import listing, lookup, packed, scanner

Entry = listing.Entry


class VideoFolder:
  """The videos, images and folders of frames below a folder, also packed ones.

  It is walked once; hidden files and links that lead out of it are left out.
  """

  def __init__(self, videos: inventories.Videos):
    """Lists the folder.

    Raises:
      FileNotFoundError: If there is none.
    """
    self._folder = inventories.folder_of(videos)
    self.root = self._folder.path
    self._by_path: dict[str, str] = {}
    self._by_name: dict[str, str] = {}
    self._loose: dict[str, list[str]] = {}
    self._close: dict[str, set[str]] = {}
    self._packed: dict[str, tuple[str, str]] = {}
    self._members: dict[tuple[str, str], str] = {}
    self.damaged: list[str] = []
    for name in map(file_names.as_text, _list(self._folder)):
      if scanner.is_kind(name, 'archive'):
        self._add_members(name)
      else:
        self._add(name)
    if not self._by_path:
      kinds = ' '.join(scanner.suffixes('video'))
      raise ValueError(
        f'{file_names.as_text(self.root)}: no video in this folder (looked '
        f'for {kinds}, images, frames, .tar, .parquet): '
        f'{inventories.take(self._folder)}'
      )

  def _add(self, name: str) -> None:
    bare = _without_suffix(name)
    for key in (name, bare):
      self._by_path.setdefault(key, name)
      self._by_name.setdefault(key.rpartition('/')[2], name)
      close = lookup.folded(key.rpartition('/')[2])
      self._close.setdefault(close, set()).add(name)
    self._loose.setdefault(_loose(bare.rpartition('/')[2]), []).append(name)

  def _add_members(self, name: str) -> None:
    path = self._resolve(name)
    if path is None:
      return
    try:
      for member in packed.members(path):
        number = member.packed.partition(':')[2]
        if member.packed.startswith('tar:'):
          inner = member.name
          if not scanner.is_kind(inner, 'video', 'image'):
            continue
        else:
          inner = f'#{number}'
        place = f'{name}/{inner}'
        self._packed[place] = (path, member.packed)
        short = f'{name.rpartition("/")[2]}/{inner}'
        self._members[os.path.realpath(path), short] = place
        self._by_path.setdefault(short, place)
        self._add(place)
        if member.packed.startswith('row:') and member.name:
          bare = _without_suffix(member.name)
          self._by_path.setdefault(bare, place)
          self._by_name.setdefault(bare.rpartition('/')[2], place)
    except packed.DamagedError as error:
      # Rows before the damage are there; those after it are not found.
      self.damaged.append(str(error))
      logging.warning('%s', error)

  def find(self, row: rows.Row) -> tuple[Entry, bool]:
    """Looks for a row's video.

    First the member of the archive that the row is from; then each of its
    names as a path, then anywhere below the folder; then a file whose name
    differs in case or accents only, but for YouTube's ids, where case counts;
    last, one that differs only in what downloaders change (spaces, brackets,
    underscores); each of these two if there is just one.

    Returns:
      The entry, with a reason where there is no file, and whether the file
      was found under a changed name.
    """
    if row.reason:
      failed = dataclasses.replace(
        entry(row), reason=row.reason, message=row.message
      )
      return failed, False
    for name in row.names:
      if _leads_out(name.name):
        return self._failed(row, 'outside_folder', 'leads out of'), False
    for name in row.names:
      member = os.path.realpath(name.archive), name.name
      if name.archive and member in self._members:
        found = self._found(row, name, self._members[member])
        return found or self._failed(row, 'not_found', 'not in'), False
    for names in (self._by_path, self._by_name):
      for name in row.names:
        if name.name in names:
          found = self._found(row, name, names[name.name])
          if found:
            return found, False
    for alike in (self._called_close, self._called_loosely):
      for name in row.names:
        candidates = alike(name.name.rpartition('/')[2])
        if len(candidates) == 1:
          found = self._found(row, name, candidates[0])
          if found:
            return found, True
    return self._failed(row, 'not_found', 'not in'), False

  def _called_close(self, name: str) -> list[str]:
    found = self._close.get(lookup.folded(name), ())
    bare = _without_suffix(name)
    if not _is_exact(bare):
      return list(found)
    bases = ((file, file.rpartition('/')[2]) for file in found)
    return [file for file, base in bases if _without_suffix(base) == bare]

  def _called_loosely(self, name: str) -> list[str]:
    return [] if _is_exact(name) else self._loose.get(_loose(name), [])

  def _found(
    self, row: rows.Row, name: rows.VideoName, file: str
  ) -> Entry | None:
    path, where = self._packed.get(file, ('', ''))
    if not where:
      path = self._resolve(file) or ''
    if not path:
      return None
    return dataclasses.replace(
      entry(row),
      video=file,
      path=path,
      start=name.start,
      end=name.end,
      seconds=name.seconds,
      packed=where,
    )

  def _resolve(self, name: str) -> str | None:
    return scanner.resolve(self._folder, file_names.as_name(name))

  def _failed(self, row: rows.Row, reason: str, why: str) -> Entry:
    name = row.names[0].name
    return dataclasses.replace(
      entry(row), reason=reason, message=f'{name}: {why} {self.root}'
    )


def entry(row: rows.Row) -> Entry:
  """Returns a row as an entry without a video."""
  return Entry(
    clip_id=row.clip_id,
    video=row.names[0].name,
    path=None,
    texts=row.texts,
    questions=tuple(q.question for q in row.questions),
    answers=tuple(q.answer for q in row.questions),
    label=row.label,
    split=row.split,
  )


def _list(folder: scanner.Folder) -> Iterator[str]:
  """Lists videos, images, then folders with images, each sorted.

  A row's name tells whether a folder is one video's frames or many pictures.
  """
  images: list[str] = []
  folders: dict[str, None] = {}
  for name in scanner.scan(folder, 'video', 'archive', 'image'):
    if scanner.is_kind(name, 'image'):
      images.append(name)
      folders[name.rpartition('/')[0]] = None
    else:
      yield name
  folders.pop('', None)
  yield from images
  yield from folders


def _without_suffix(name: str) -> str:
  return scanner.without_suffix(name, 'video', 'image')


def _loose(name: str) -> str:
  """Returns what stays of a name when downloaders have cleaned it."""
  return re.sub(r'[\W_]+', '', name)


def _is_exact(name: str) -> bool:
  """Returns whether each `-` and `_` of an id counts, as in YouTube's."""
  return re.fullmatch(r'(v_)?[A-Za-z0-9_-]{11}(_\d+_\d+)?', name) is not None


def _leads_out(name: str) -> bool:
  return name.startswith('/') or '..' in name.split('/') or '\0' in name


def locate_all(
  found: Iterable[rows.Row], folder: VideoFolder
) -> tuple[list[Entry], list[dict[str, str]]]:
  """Returns entries of all rows, and the files found under a changed name."""
  entries, renamed = [], []
  for row in found:
    located, changed = folder.find(row)
    entries.append(located)
    if changed:
      renamed.append(
        {
          'clip_id': row.clip_id,
          'wanted': row.names[0].name,
          'video': located.video,
        }
      )
  return entries, renamed
