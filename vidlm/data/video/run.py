"""What is fed to a decoder from a keyframe on, and what comes out of it."""

import fractions
import heapq
from typing import Any, NamedTuple

from vidlm.data.video import timeline as timeline_lib

# Codecs of which a packet is a picture: what doesn't come out of the decoder
# is lost. Fields, hidden pictures and dummies make others differ.
_A_PICTURE_EACH = ('h264', 'hevc', 'mpeg1video', 'mpeg2video', 'libdav1d')
NEVER = 1 << 62  # in ticks


class Picture(NamedTuple):
  """A decoded frame; at the end of a run, None.

  Attributes:
    frame: What the decoder gave.
    at: When it is shown, in ticks.
    damaged: It, or a picture that it may refer to, isn't whole.
    aspect: Of its pixels, as the decoder has it by then; None if unknown.
    lost: When the first picture that didn't decode would have been shown, of
      those between the frame before and this.
  """

  frame: Any
  at: int
  damaged: bool
  aspect: fractions.Fraction | None
  lost: int


class Run:
  """What is fed to a decoder from a keyframe on, and what comes out of it."""

  def __init__(
    self, stream: Any, timeline: timeline_lib.Timeline | None, origin: int
  ):
    self._timeline = timeline
    self._at, self._number = origin, 0
    # Times of pictures that should come out, the earliest first.
    self._due: list[int] = []
    self._context = stream.codec_context
    self._strict = self._context.name in _A_PICTURE_EACH
    self._begin: int | None = None
    self._damaged = False

  def restart(self) -> None:
    """Forgets what was fed: it has come out, or never will."""
    self._begin = None
    self._damaged = False

  def fail(self) -> None:
    """Notes that a packet did not decode: others may refer to it."""
    self._damaged = True

  def feed(self, packet: Any) -> None:
    """Notes a packet that is to be decoded."""
    if packet.pts is None or packet.is_discard:
      return
    if self._begin is None:
      self._begin = packet.pts
    if packet.pts >= self._begin:
      heapq.heappush(self._due, packet.pts)

  def picture(self, frame: Any) -> Picture:
    """Returns what is known of a frame that came out."""
    self._at = self._time(frame)
    self._number += 1
    if frame.interlaced_frame:
      self._strict = False  # A packet may be half a picture.
    if frame.is_corrupt:
      self._damaged = True
    elif frame.key_frame:
      self._damaged = False
    aspect = self._context.sample_aspect_ratio
    lost = self._lost(self._at)
    return Picture(frame, self._at, self._damaged, aspect, lost)

  def last(self) -> Picture:
    """Returns the end of the run."""
    return Picture(None, NEVER, False, None, self._lost(NEVER))

  def _lost(self, before: int) -> int:
    """Returns the earliest time that was due before this, if any."""
    lost = NEVER
    while self._due and self._due[0] <= before:
      due = heapq.heappop(self._due)
      if due < before:
        lost = min(lost, due)
    return lost if self._strict else NEVER

  def _time(self, frame: Any) -> int:
    if self._timeline is not None and self._timeline.counted:
      rows = len(self._timeline.shown)
      return int(self._timeline.shown[min(self._number, rows - 1)])
    if frame.pts is not None:
      return frame.pts
    return frame.dts if frame.dts is not None else self._at + 1
