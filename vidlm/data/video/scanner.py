"""What kinds of file there are, and those of a folder: the one place.

`prepare`, `caption` and the readers of annotations all ask here, so that a
file is a video, a picture or an archive to all of them or to none. Hidden
files are nobody's: macOS leaves a `._name.mp4` beside every name.mp4.
"""

import os
from collections.abc import Iterator

from vidlm.data.video import walk

Folder = walk.Folder
resolve = walk.resolve

# The suffixes of videos that always were listed; see `clip_ids`.
FIRST = (
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
)
# By demuxer, in the order of `decoding`'s list of those allowed. Of a name
# without suffix each is tried in this order.
_LATER = (
  # mov, mp4, 3gp, 3g2, mj2
  *('.qt', '.3gpp', '.3g2', '.3gp2', '.mj2', '.mp4v', '.mpg4', '.f4v', '.ismv'),
  *('.mk3d', '.divx'),  # matroska, avi
  *('.mts', '.m2ts', '.m2t', '.tp', '.trp', '.tod'),  # mpegts
  *('.vob', '.m2p', '.mpe', '.evo', '.vro'),  # mpeg
  *('.asf', '.wm', '.dvr-ms'),  # asf
  '.ogm',
  # Streams without a container: mpegvideo, h264, hevc
  *('.m1v', '.m2v', '.mpv', '.mp2v'),
  *('.h264', '.264', '.avc', '.h265', '.265', '.hevc'),
)
# In lower case; names are compared without regard to it.
SUFFIXES = {
  'video': (*FIRST, *_LATER),
  # Some of them are films: see `sniff`.
  'image': ('.jpg', '.jpeg', '.png', '.apng', '.webp', '.avif'),
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


def scan(root: str | os.PathLike | Folder, *kinds: str) -> Iterator[str]:
  """Yields the names of files of these kinds below a folder, relative to it.

  A folder's own files come before those of its subfolders, both sorted. Links
  to folders are followed only if the folder says so; links to files are
  listed, and `resolve` tells where they lead.

  Args:
    root: The folder.
    *kinds: Keys of SUFFIXES.
  """
  folder = Folder.of(root)
  wanted = suffixes(*kinds)
  for found in walk.walk(folder, hidden=False):
    if found.name.lower().endswith(wanted) and (
      not found.reason or _is_link_to_file(folder, found)
    ):
      yield found.name


def _is_link_to_file(folder: Folder, found: walk.Found) -> bool:
  path = os.path.join(folder.path, found.name)
  return found.reason == 'link_leads_out' and not os.path.isdir(path)


def names_in(folder: str | os.PathLike, *kinds: str) -> list[str]:
  """Lists files of these kinds in a folder, not below it, sorted."""
  return sorted(
    name
    for name in os.listdir(folder)
    if not name.startswith('.') and is_kind(name, *kinds)
  )
