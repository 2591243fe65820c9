"""Whether an MP4 file's own index of its frames can be believed."""

import itertools
import os
from typing import Any


def is_whole(container: Any, stream: Any, path: str) -> bool:
  """Returns whether a file's own index of its frames can be believed.

  It lists every frame, all of them lie within the file, and it lasts as long
  as the header says.

  Args:
    container: The open file.
    stream: Its film.
    path: The file.
  """
  entries = stream.index_entries
  number = len(entries)
  if 'mp4' not in container.format.name or not stream.duration or number < 2:
    return False
  if stream.frames > number or _has_fragments(path):
    return False
  size = os.path.getsize(path)
  times = []
  for entry in entries:
    if entry.pos < 0 or entry.pos + entry.size > size:
      return False
    if not entry.is_discard:
      times.append(entry.timestamp)
  if len(times) < 2 or any(b < a for a, b in itertools.pairwise(times)):
    return False
  last = times[-1] - times[-2]
  # The last frame's duration isn't listed: as long as the one before's, more
  # or less. A file where it isn't is read.
  return abs(times[-1] + last - times[0] - stream.duration) <= last


def _has_fragments(path: str) -> bool:
  """Returns whether an MP4 file may hold frames that its index doesn't list."""
  size = os.path.getsize(path)
  at = 0
  with open(path, 'rb') as file:
    while at + 8 <= size:
      file.seek(at)
      head = file.read(16)
      length, kind = int.from_bytes(head[:4], 'big'), head[4:8]
      if kind == b'moof':
        return True
      if length == 1:
        length = int.from_bytes(head[8:16], 'big')
      if length < 8:  # 0: up to the end.
        return False
      at += length
  return False
