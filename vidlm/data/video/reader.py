"""Finds, decodes and converts single frames of an open video stream."""

import contextlib
import fractions
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import av
import numpy as np
from jaxtyping import Float, UInt8

from vidlm.data.video import deinterlace, orientation, sampling

# Every code a clip may fail with, here or in `worker`.
REASONS = {
  'not_found': 'there is no such file',
  'outside_folder': 'the path leaves the folder of videos',
  'open_failed': 'not a video of a known kind',
  'no_video_stream': 'sound only',
  'no_decoder': 'a codec this build of FFmpeg lacks',
  'too_large': 'more pixels than allowed',
  'too_many_frames': 'more frames to decode than allowed',
  'truncated': 'the file ends before the clip does',
  'corrupt': 'a part that is needed does not decode',
  'empty': 'the clip has no frame',
  'too_short': 'the file holds less of the clip than asked for',
  'timeout': 'took longer than allowed; the worker was stopped',
  'out_of_memory': 'took more memory than allowed',
  'killed': 'the worker died, each time it was tried',
  'error': 'an error of our own; the message tells',
}


_FILE_ERRORS = (av.FFmpegError, OSError, UnicodeError)


class DecodeError(Exception):
  """A clip could not be decoded.

  Attributes:
    code: One of REASONS.
    message: One line: what, where.
  """

  def __init__(self, code: str, message: str):
    if code not in REASONS:
      raise ValueError(f'unknown reason {code!r}')
    self.code = code
    self.message = ' '.join(message.split())
    super().__init__(f'{code}: {self.message}')


def check_size(width: int, height: int, limits: sampling.Limits) -> None:
  """Refuses frames beyond the limit.

  Raises:
    DecodeError: 'too_large'.
  """
  if width * height > limits.max_pixels:
    raise DecodeError(
      'too_large',
      f'frames of {width} x {height} pixels, allowed {limits.max_pixels}',
    )


@contextlib.contextmanager
def reasons(
  code: str,
  where: str,
  kinds: tuple[type[Exception], ...] = _FILE_ERRORS,
) -> Iterator[None]:
  """Turns errors into a DecodeError of this code, and says where."""
  try:
    yield
  except DecodeError as error:
    if error.message.startswith(where):
      raise
    raise DecodeError(error.code, f'{where}: {error.message}') from None
  except MemoryError:
    raise DecodeError('out_of_memory', f'{where}: out of memory') from None
  except kinds as error:
    raise DecodeError(code, f'{where}: {error}') from None


def measure(container: Any, stream: Any) -> float:
  """Measures seconds of video by reading the file without decoding it."""
  last = None
  with contextlib.suppress(av.FFmpegError):
    for packet in container.demux(stream):
      ticks = packet.pts if packet.pts is not None else packet.dts
      if ticks is not None:
        ticks += packet.duration or 1
        last = ticks if last is None else max(last, ticks)
  if last is None:
    raise DecodeError('empty', 'the video stream has no frames')
  return float((last - (stream.start_time or 0)) * stream.time_base)


class RgbConverter:
  """Converts frames to RGB of one size, upright, with square pixels."""

  def __init__(
    self,
    size: int | None,
    limits: sampling.Limits,
    pixel_aspect: fractions.Fraction | None = None,
  ):
    self._size = size
    self._aspect = pixel_aspect
    self._limits = limits
    # A stream may change size midway; a clip has one.
    self._shape: tuple[int, int] | None = None

  def __call__(self, frame: Any) -> UInt8[np.ndarray, 'H W 3']:
    if frame.is_corrupt:
      raise DecodeError('corrupt', 'a wanted frame is damaged')
    width, height = self._shape or self._target(frame)
    self._shape = (width, height)
    enlarges = width * height > frame.width * frame.height
    rgb = frame.to_ndarray(
      format='rgb24',
      width=width,
      height=height,
      interpolation='BICUBIC' if enlarges else 'AREA',
      threads=1,
    )
    return orientation.upright(rgb, orientation.of_frame(frame))

  def _target(self, frame: Any) -> tuple[int, int]:
    """Returns the size to scale to, before the frame is turned upright."""
    aspect = orientation.pixel_aspect(self._aspect, orientation.of_frame(frame))
    coded = frame.width, frame.height
    most = self._limits.max_pixels
    shape = orientation.shape(coded, aspect, self._size, most)
    check_size(*shape, self._limits)
    return shape


class FrameReader:
  """Reads the frames shown at given times, seeking where that saves work."""

  def __init__(self, container: Any, stream: Any, limits: sampling.Limits):
    self._limits = limits
    self._orientation = orientation.Persistence()
    self._container = container
    self._stream = stream
    self._origin = stream.start_time or 0
    self._decoded = 0
    self._seen = self._origin
    self._end: int | None = None

  def end(self) -> float | None:
    """Returns where the video ended, in seconds, if it was read to its end."""
    if self._end is None:
      return None
    return float((self._end - self._origin) * self._stream.time_base)

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
    frames = self._whole_frames_from(wanted[0])
    shown, shown_at = None, 0
    position = jumped = 0
    while position < len(wanted):
      frame = next(frames, None)
      if frame is None and shown is None:
        raise DecodeError('empty', 'no frame could be decoded')
      at: Any = math.inf if frame is None else self._timestamp(frame, shown_at)
      while position < len(wanted) and at > wanted[position]:
        # Nothing is shown before the first frame: that one stands in.
        if shown is None:
          shown, shown_at = frame, at
        yield shown, shown_at
        position += 1
      if frame is None:
        break
      shown, shown_at = frame, at
      # Once for each time only: a jump may land before where it started.
      if jumped < position < len(wanted):
        jumped = position
        if self._may_jump(shown_at, wanted[position]):
          frames = self._whole_frames_from(wanted[position])
          shown = None

  def all_frames(self) -> Iterator[tuple[float, Any]]:
    """Yields every frame with its time in seconds."""
    at = self._origin
    for frame in self._frames_from(self._origin):
      at = self._timestamp(frame, at)
      yield float((at - self._origin) * self._stream.time_base), frame

  def _ticks(self, time: float) -> int:
    # A thousandth of a tick makes up for 0.3 being less than 3 * 0.1.
    offset = time / float(self._stream.time_base)
    return self._origin + math.floor(offset + 1e-3)

  def _timestamp(self, frame: Any, before: int) -> int:
    if frame.pts is not None:
      return frame.pts
    return frame.dts if frame.dts is not None else before + 1

  def _may_jump(self, position: int, target: int) -> bool:
    """Returns whether a keyframe between here and the target merits a seek."""
    entries = self._stream.index_entries
    if len(entries) > 1:
      # Entries hold decoding times, which run ahead of what is shown.
      margin = int(0.25 / self._stream.time_base)
      found = entries.search_timestamp(target - margin, backward=True)
      return found >= 0 and entries[found].timestamp > position
    return (target - position) * self._stream.time_base > 10

  def _whole_frames_from(self, target: int) -> Iterator[Any]:
    """Decodes likewise, and makes interlaced frames whole."""
    lead = 4 / (self._stream.average_rate or 25) / self._stream.time_base
    return deinterlace.whole_frames_from(
      self._frames_from, target, self._origin, math.ceil(lead)
    )

  def _frames_from(self, target: int) -> Iterator[Any]:
    """Decodes from a keyframe shown at or before the target."""
    for packet in self._packets_from(target):
      if isinstance(packet, DecodeError):
        # The decoder may still hold the frames asked for.
        yield from self._count(self._stream.codec_context.decode(None))
        raise packet
      frames = packet.decode()
      if packet.duration and packet.pts is not None:
        self._seen = max(self._seen, packet.pts + packet.duration)
      yield from self._count(frames)
    self._end = self._seen

  def _count(self, frames: Iterable[Any]) -> Iterator[Any]:
    for frame in frames:
      self._decoded += 1
      if self._decoded > self._limits.max_decoded_frames:
        raise DecodeError(
          'too_many_frames',
          f'more than {self._limits.max_decoded_frames} frames to decode',
        )
      check_size(frame.width, frame.height, self._limits)
      self._orientation.hand_on(frame)
      yield frame

  def _packets_from(self, target: int) -> Iterator[Any]:
    """Returns packets from a keyframe on; libav's error, if any, comes last."""
    if target <= self._origin and not self._decoded:
      return self._demux()
    second = int(1 / self._stream.time_base)
    goal = target
    # libav seeks by decoding time, and to what it takes for a keyframe: look
    # at where it landed, and go further back if that is shown too late.
    for back in (0, 1, 4, 16, 64):
      goal = min(goal, target) - back * second
      if goal <= self._origin or not self._seek(goal):
        break
      packets = self._demux()
      for packet in packets:
        if isinstance(packet, DecodeError):
          break
        if packet.is_keyframe and packet.size:
          shown = packet.pts if packet.pts is not None else packet.dts
          if shown is not None and shown <= target:
            return itertools.chain([packet], packets)
          break
    self._container.seek(self._origin, stream=self._stream, backward=True)
    return self._demux()

  def _seek(self, ticks: int) -> bool:
    try:
      self._container.seek(ticks, stream=self._stream, backward=True)
    except av.FFmpegError:
      return False
    return True

  def _demux(self) -> Iterator[Any]:
    try:
      yield from self._container.demux(self._stream)
    except MemoryError:
      yield DecodeError('out_of_memory', 'out of memory while reading')
    except (av.FFmpegError, OSError) as error:
      yield DecodeError('truncated', f'the file breaks off: {error}')
