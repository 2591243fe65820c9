"""Pictures that need not be decoded: nobody looks at them or needs them.

The decoder itself leaves a picture out where it is told that it is shown at
no wanted time, and the picture says that none refers to it. The others come out
bit by bit the same.
"""

import bisect
import collections
from collections.abc import Sequence
from typing import Any

# Codecs whose pictures say so, and whose decoders leave them out.
_CODECS = ('h264', 'hevc', 'mpeg1video', 'mpeg2video', 'mpeg4')
# More pictures than any codec reorders.
_REORDERED = 64


class Spare:
  """Decides, packet by packet, whether anybody looks at its picture.

  Attributes:
    left_out: Whether any may have been left out.
  """

  def __init__(self, stream: Any):
    """Looks at the stream's codec.

    Args:
      stream: What is decoded.
    """
    self._context = stream.codec_context
    self._can = self._context.name in _CODECS and not (
      self._context.name == 'hevc'
      and _has_layers(self._context.extradata or b'')
    )
    self.left_out = False
    # Between fields all pictures are needed: until one is known to be whole.
    self._whole = False
    self._wanted: Sequence[int] = ()
    self._before: collections.deque[int] = collections.deque(maxlen=_REORDERED)

  def begin(self, wanted: Sequence[int]) -> None:
    """Begins at a keyframe.

    Args:
      wanted: Ascending ticks; without any, every picture is decoded.
    """
    self._wanted = wanted
    self._before.clear()

  def saw(self, frame: Any) -> None:
    """Looks at a decoded frame: the neighbours of interlaced ones stay."""
    if frame.interlaced_frame:
      self.stop()
    self._whole = True

  def stop(self) -> None:
    """Leaves nothing out from now on."""
    self._can = self.left_out = False

  def decide(self, packet: Any) -> bool:
    """Tells the decoder whether the next packet's picture may be left out.

    Args:
      packet: With its time on the clock of `wanted`.

    Returns:
      Whether it may.
    """
    can = self._can and self._whole
    spare = can and packet.pts is not None and self._unseen(packet.pts)
    if self._context.name in _CODECS:
      self._context.skip_frame = 'NONREF' if spare else 'DEFAULT'
    self.left_out |= spare
    return spare

  def _unseen(self, shown: int) -> bool:
    """Returns whether a picture stored before hides it at the next time."""
    at = bisect.bisect_left(self._wanted, shown)
    # Beyond the last time, a picture tells that the one before is over.
    hidden = at < len(self._wanted) and any(
      shown < other <= self._wanted[at] for other in self._before
    )
    self._before.append(shown)
    return hidden


def _has_layers(extradata: bytes) -> bool:
  """Returns whether HEVC pictures may be referred to from a higher layer.

  Then one that its own layer doesn't refer to is needed all the same. The
  parameter set tells at a fixed place.
  """
  if extradata[:1] == b'\1':  # As in MP4 and Matroska.
    return len(extradata) < 22 or extradata[21] >> 3 & 7 != 1
  at = extradata.find(b'\0\0\1\x40')
  return at < 0 or len(extradata) < at + 7 or extradata[at + 6] >> 1 & 7 != 0
