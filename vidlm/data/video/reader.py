"""Finds, decodes and converts single frames of an open video stream."""

import fractions
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import av
import numpy as np
from jaxtyping import Float

from vidlm.data.video import (
  converter,
  orientation,
  playback,
  refusals,
  sampling,
  seeking,
  sparing,
)
from vidlm.data.video import run as run_lib
from vidlm.data.video import timeline as timeline_lib

REASONS = refusals.REASONS
DecodeError = refusals.DecodeError
check_size = refusals.check_size
reasons = refusals.reasons
RgbConverter = converter.RgbConverter


# Pictures that a decoder holds back while it puts them in order.
_TAIL = 4


class FrameReader:
  """Reads the frames shown at given times, seeking where that saves work."""

  def __init__(
    self,
    container: Any,
    stream: Any,
    limits: sampling.Limits,
    timeline: timeline_lib.Timeline | None = None,
  ):
    """Reads nothing yet.

    Args:
      container: An open file.
      stream: Its film.
      limits: What decoding may cost.
      timeline: Of the film, unless it is an MP4 file with a good index.
    """
    self._limits = limits
    self._stream = stream
    self._timeline = timeline
    self._packets: seeking.Packets = (
      seeking.IndexedPackets(container, stream)
      if timeline is None
      else seeking.ScannedPackets(container, stream, timeline)
    )
    self._origin = self._packets.origin
    self._spare = sparing.Spare(stream)
    self._orientation = orientation.Persistence()
    self._decoded = 0
    self._aspect: fractions.Fraction | None = None
    self._first_aspect = stream.codec_context.sample_aspect_ratio
    # Where the first picture would have been shown that is not sound.
    self._fault: int | None = None

  @property
  def damage(self) -> str:
    """What is wrong with the file, one line; '' if nothing is known to be."""
    return '' if self._timeline is None else self._timeline.damage

  def end(self) -> float:
    """Returns where the video ends, in seconds."""
    if self._timeline is None:
      return float(self._stream.duration * self._stream.time_base)
    return self._seconds(self._timeline.end)

  def pixel_aspect(self) -> fractions.Fraction | None:
    """Returns the aspect of the last frame's pixels, if it is no longer the
    first frame's."""
    return self._aspect

  def tail_fault(self) -> float | None:
    """Returns where the film ends if what failed is its last pictures."""
    if self._timeline is None or self._fault is None:
      return None
    last = self._timeline.shown[~self._timeline.lost][-_TAIL:].min()
    return self._seconds(self._fault) if self._fault >= last else None

  def _seconds(self, ticks: int) -> float:
    return float((ticks - self._origin) * self._stream.time_base)

  def frames_at(
    self, times: Float[np.ndarray, ' T']
  ) -> Iterator[tuple[Any, int]]:
    """Yields, for each time, the frame shown and its timestamp in ticks.

    Args:
      times: Ascending seconds from the start of the stream.

    Raises:
      DecodeError: If a frame that is needed can't be had.
    """
    wanted = [self._ticks(time) for time in times]
    film = playback.Playback(self._packets, self._decode, self._spare, wanted)
    for position in range(len(wanted)):
      try:
        picture, frame = film.at(position)
      finally:
        self._fault = film.fault
      changed = picture.aspect != self._first_aspect
      aspect = picture.aspect or fractions.Fraction(1)
      self._aspect = aspect if changed else None
      yield frame, picture.at

  def all_frames(self) -> Iterator[tuple[float, Any]]:
    """Yields every frame with its time in seconds."""
    for picture in self._decode(next(self._packets.starts(self._origin)), ()):
      if picture.frame is not None:
        yield self._seconds(picture.at), picture.frame

  def _ticks(self, time: float) -> int:
    # A thousandth of a tick makes up for 0.3 being less than 3 * 0.1.
    offset = time / float(self._stream.time_base)
    return self._origin + math.floor(offset + 1e-3)

  def _decode(
    self, packets: Iterable[seeking.Item], wanted: Sequence[int]
  ) -> Iterator[run_lib.Picture]:
    """Decodes a run of packets; the last picture is none.

    Args:
      packets: From a keyframe on.
      wanted: Ascending ticks; a picture that is shown at none of them and
        that no other refers to may be left out. None are if there are none.
    """
    run = run_lib.Run(self._stream, self._timeline, self._origin)
    self._spare.begin(wanted)
    for packet in packets:
      frames: Iterable[Any]
      if isinstance(packet, seeking.Gap):
        # The decoder may still hold the frames asked for.
        frames = self._count(self._stream.codec_context.decode(None))
        for frame in frames:
          frame.time_base = self._stream.time_base  # Only packets give it.
          yield run.picture(frame)
        if packet.error is not None:
          raise packet.error
        self._stream.codec_context.flush_buffers()
        run.restart()
        continue
      if not self._spare.decide(packet):
        run.feed(packet)
      try:
        frames = packet.decode()
      except av.error.InvalidDataError:
        run.fail()
        continue
      for frame in self._count(frames):
        self._spare.saw(frame)
        yield run.picture(frame)
    yield run.last()

  def _count(self, frames: Iterable[Any]) -> Iterator[Any]:
    for frame in frames:
      self._decoded += 1
      if self._decoded > self._limits.max_decoded_frames:
        raise DecodeError(
          'too_many_frames',
          f'more than {self._limits.max_decoded_frames} frames to decode; '
          'see --decode_frames',
        )
      check_size(frame.width, frame.height, self._limits)
      self._orientation.hand_on(frame)
      yield frame
