"""Interlaced frames, two moments woven into one picture, taken apart again.

libavfilter's bwdif makes a whole picture of a frame's first field, the moment
at which the frame is shown; what it makes depends on that frame and its two
neighbours alone. So only the frames wanted are filtered, each with the two
beside it, which `playback` has: the pixels are those of a filter that ran from
the file's beginning. Frames that aren't flagged as interlaced are handed
through as they are.
"""

from typing import Any

import av
from av.filter import Graph

# bwdif takes no picture of fewer rows or columns.
_SMALLEST = 4


class Interlaced:
  """An interlaced frame that gives the pixels of a whole one.

  All else (times, sizes, side data) is the decoded frame's.
  """

  def __init__(self, frame: Any, before: Any, after: Any):
    """Takes a decoded frame and those shown before and after, or None."""
    self._frame = frame
    self._neighbours = (before, after)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._frame, name)

  def to_ndarray(self, **how: Any) -> Any:
    """See PyAV's `VideoFrame.to_ndarray`."""
    return _whole(self._frame, *self._neighbours).to_ndarray(**how)


def _whole(frame: Any, before: Any, after: Any) -> Any:
  """Returns the picture of a frame's first field."""
  if min(frame.width, frame.height) < _SMALLEST:
    return frame
  graph = Graph()
  graph.threads = 1
  source = graph.add_buffer(
    width=frame.width,
    height=frame.height,
    format=frame.format,
    time_base=frame.time_base,
  )
  bwdif = graph.add('bwdif', 'mode=send_frame:deint=interlaced')
  sink = graph.add('buffersink')
  graph.link_nodes(source, bwdif, sink)
  try:
    graph.configure()
  except av.error.ArgumentError:  # A format that it can't be converted from.
    return frame
  earlier = [before] if _is_beside(before, frame) else []
  later = [after] if _is_beside(after, frame) else []
  for picture in (*earlier, frame, *later, None):
    graph.push(picture)
  for _ in earlier:  # One comes out for each that went in.
    graph.pull()
  return graph.pull()


def _is_beside(neighbour: Any, frame: Any) -> bool:
  """Returns whether motion can be told from a neighbour."""
  if neighbour is None or neighbour.is_corrupt:
    return False
  return (neighbour.width, neighbour.height, neighbour.format.name) == (
    frame.width,
    frame.height,
    frame.format.name,
  )
