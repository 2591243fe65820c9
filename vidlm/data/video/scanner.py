"""What kinds of file there are, and those of a folder: the one place.

`prepare`, `caption` and the readers of annotations all ask here, so that a
file is a video, a picture or an archive to all of them or to none. Hidden
files are nobody's: macOS leaves a `._name.mp4` beside every name.mp4.
"""

import os
import pathlib
from collections.abc import Iterator

# In lower case; names are compared without regard to it.
SUFFIXES = {
  'video': (
    '.mp4',
    '.m4v',
    '.mov',
    '.mkv',
    '.webm',
    '.avi',
    '.mpg',
    '.mpeg',
    '.ts',
    '.flv',
    '.wmv',
    '.3gp',
    '.ogv',
    '.gif',
  ),
  'image': ('.jpg', '.jpeg', '.png', '.webp'),
  # Files that hold videos or images: see `packed`.
  'archive': ('.tar', '.parquet'),
  'annotations': ('.json', '.jsonl', '.csv', '.tsv', '.txt', '.parquet'),
}


def suffixes(*kinds: str) -> tuple[str, ...]:
  """Returns the suffixes of all of these kinds of SUFFIXES."""
  return tuple(suffix for kind in kinds for suffix in SUFFIXES[kind])


def is_kind(name: str, *kinds: str) -> bool:
  """Returns whether a file of this name is of one of these kinds."""
  return name.lower().endswith(suffixes(*kinds))


def without_suffix(name: str, *kinds: str) -> str:
  """Returns the name without such a suffix; ids hold dots, which stay."""
  for suffix in suffixes(*kinds):
    if name.lower().endswith(suffix):
      return name[: -len(suffix)]
  return name


def scan(root: str | os.PathLike, *kinds: str) -> Iterator[str]:
  """Yields the names of files of these kinds below a folder, relative to it.

  A folder's own files come before those of its subfolders, both sorted. Links
  to folders are not followed; links to files are listed, and `resolve` tells
  where they lead.

  Args:
    root: The folder.
    *kinds: Keys of SUFFIXES.
  """
  wanted = suffixes(*kinds)
  top = pathlib.Path(root)
  for folder, subfolders, names in os.walk(top):
    subfolders[:] = _shown(subfolders)
    place = pathlib.Path(folder).relative_to(top).as_posix()
    prefix = '' if place == '.' else f'{place}/'
    for name in _shown(names):
      if name.lower().endswith(wanted):
        yield prefix + name


def names_in(folder: str | os.PathLike, *kinds: str) -> list[str]:
  """Lists files of these kinds in a folder, not below it, sorted."""
  return [name for name in _shown(os.listdir(folder)) if is_kind(name, *kinds)]


def _shown(names: list[str]) -> list[str]:
  return sorted(name for name in names if not name.startswith('.'))


def resolve(root: str | os.PathLike, name: str) -> str | None:
  """Returns the absolute path of a file in a folder; None if it leads out."""
  try:
    folder = pathlib.Path(root).resolve()
    path = (folder / name).resolve()
    # From Python 3.13 on a loop of links is no error, but stays a link.
    inside = path.is_relative_to(folder) and not path.is_symlink()
  except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL
    return None
  return str(path) if inside else None
