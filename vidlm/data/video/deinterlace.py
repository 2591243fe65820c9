"""Interlaced frames, two moments woven into one picture, taken apart again.

libavfilter's bwdif makes a whole picture of a frame's first field, the moment
at which the frame is shown; what it makes depends on that frame and its two
neighbours alone. So only the frames wanted are filtered, each with the two
beside it, and a seek starts early enough to have them: the pixels are those of
a filter that ran from the file's beginning. Frames that aren't flagged as
interlaced are handed through as they are.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import av
from av.filter import Graph

# bwdif takes no picture of fewer rows or columns.
_SMALLEST = 4
# How often a seek goes further back for the frame before the first.
_TRIES = 4


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


def whole_frames(frames: Iterator[Any]) -> Iterator[Any]:
  """Yields frames, the interlaced ones as `Interlaced`.

  Args:
    frames: As they come from the decoder. An interlaced one is held back
      until the next is there; what they raise is raised after it.
  """
  before = held = None
  failed: Exception | None = None
  while True:
    try:
      frame = next(frames, None)
    except Exception as error:  # Whatever it is, the frame held comes first.
      frame, failed = None, error
    if held is not None:
      yield Interlaced(held, before, frame)
      before, held = held, None
    if failed is not None:
      raise failed
    if frame is None:
      return
    if frame.interlaced_frame:
      held = frame
    else:
      yield frame
      before = frame


def whole_frames_from(
  decode_from: Callable[[int], Iterator[Any]],
  target: int,
  origin: int,
  lead: int,
) -> Iterator[Any]:
  """Yields `whole_frames` from a key frame shown at or before the target.

  Args:
    decode_from: Seeks and yields frames, so begun.
    target: In ticks, as a frame's pts.
    origin: Where the stream begins.
    lead: Ticks that some frames last.
  """
  first, frames = _peek(decode_from(target), 1)
  if first and first[0].interlaced_frame:
    for back in range(_TRIES):
      # Leading frames of an open group don't decode without the group before:
      # a seek to just the frame before the target might find none that does.
      begun = min(target, _time(first[0], origin))
      if begun <= origin:
        break
      first, frames = _peek(decode_from(begun - (lead << 2 * back)), 2)
      if len(first) < 2 or _time(first[1], target) <= target:
        break
  yield from whole_frames(itertools.chain(first, frames))


def _peek(
  frames: Iterator[Any], number: int
) -> tuple[list[Any], Iterator[Any]]:
  """Takes the first frames off; an error among them stays for later."""
  taken: list[Any] = []
  try:
    for frame in itertools.islice(frames, number):
      taken.append(frame)
  except Exception as error:
    return taken, _raising(error)
  return taken, frames


def _raising(error: Exception) -> Iterator[Any]:
  raise error
  yield  # A generator, so that it raises when its turn comes.


def _time(frame: Any, unknown: int) -> int:
  ticks = frame.pts if frame.pts is not None else frame.dts
  return unknown if ticks is None else ticks


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
