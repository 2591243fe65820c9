"""Animated WebP, which libav can't decode: Pillow's frames, with a clock.

The file's chunks tell each frame's duration without decoding it; Pillow
(libwebp) puts a frame together from those before. A `Film` answers as PyAV's
container and stream do, a `Reader` as `reader.FrameReader` does.
"""

import bisect
import dataclasses
import fractions
import functools
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import av
import numpy as np
from jaxtyping import Float

from vidlm.data.video import orientation, sampling
from vidlm.data.video import reader as frames_lib

_SECOND = 1000  # WebP counts milliseconds
# A frame of no duration would not be shown at all: as long as browsers do.
_NO_DURATION = 100
_IS_ANIMATED = 0x02  # of VP8X's flags
_HEAD = 30  # bytes, up to and with the size of the canvas
_TAG_ORIENTATION = 274


@dataclasses.dataclass(frozen=True)
class Film:
  """An animated WebP file: what its chunks say.

  Attributes:
    path: The file.
    width: Pixels of a row.
    height: Rows.
    starts: When each frame is shown, in milliseconds, ascending from 0; the
      last number is the film's end.
  """

  path: str
  width: int
  height: int
  starts: Sequence[int]

  time_base = fractions.Fraction(1, _SECOND)
  start_time = 0
  sample_aspect_ratio = None

  @property
  def codec_context(self) -> 'Film':
    """Has width and height, as PyAV's has."""
    return self

  @property
  def frames(self) -> int:
    """How many there are."""
    return len(self.starts) - 1

  @property
  def duration(self) -> int:
    """Milliseconds."""
    return self.starts[-1]

  @property
  def average_rate(self) -> fractions.Fraction:
    """Frames a second."""
    return fractions.Fraction(self.frames * _SECOND, self.duration)


def is_animated(path: str) -> bool:
  """Returns whether a file is an animated WebP, whatever it is called."""
  with open(path, 'rb') as file:
    return says_animated(file.read(_HEAD))


def says_animated(head: bytes) -> bool:
  """Returns whether a file that begins so is an animated WebP."""
  kinds = head[:4], head[8:16]
  is_extended = kinds == (b'RIFF', b'WEBPVP8X') and len(head) > 20
  return is_extended and bool(head[20] & _IS_ANIMATED)


def count_frames(file: BinaryIO, at_most: int) -> int:
  """Returns how many frames an animated WebP has, or where it is cut, had."""
  try:
    return sum(1 for _ in itertools.islice(_durations(file), at_most))
  except frames_lib.DecodeError:
    return at_most


def open_film(path: str, limits: sampling.Limits) -> Film:
  """Reads an animated WebP's chunks.

  Raises:
    DecodeError: If it is too large, cut, or has no frames.
  """
  with frames_lib.reasons('open_failed', path), open(path, 'rb') as file:
    head = file.read(_HEAD)
    if len(head) < _HEAD:
      raise frames_lib.DecodeError('truncated', 'the file breaks off')
    width, height = (
      1 + int.from_bytes(head[at : at + 3], 'little') for at in (24, 27)
    )
    # Before Pillow makes room for two of them.
    frames_lib.check_size(width, height, limits)
    durations = list(_durations(file))
    if not durations:
      raise frames_lib.DecodeError('empty', 'an animation without frames')
  starts = itertools.accumulate(durations, initial=0)
  return Film(path, width, height, tuple(starts))


def _durations(file: BinaryIO) -> Iterator[int]:
  """Yields the milliseconds of each frame."""
  size = os.fstat(file.fileno()).st_size
  at = 12
  while at + 8 <= size:
    file.seek(at)
    chunk = file.read(24)
    length = int.from_bytes(chunk[4:8], 'little')
    if at + 8 + length > size:
      raise frames_lib.DecodeError('truncated', 'the file breaks off')
    if chunk[:4] == b'ANMF' and length >= 16:
      yield int.from_bytes(chunk[20:23], 'little') or _NO_DURATION
    at += 8 + length + length % 2


class Reader:
  """Frames of a film at given times; see `reader.FrameReader`."""

  damage = ''  # One that is cut is not opened.

  def __init__(self, film: Film, limits: sampling.Limits):
    """Decodes nothing yet."""
    self._film = film
    self._limits = limits
    self._made = 0

  def end(self) -> float:
    """Returns where the film ends, in seconds."""
    return self._film.duration / _SECOND

  def pixel_aspect(self) -> None:
    """Returns nothing: pixels are square."""

  def tail_fault(self) -> None:
    """Returns nothing: a film whose end is missing is not opened."""

  def frames_at(
    self, times: Float[np.ndarray, ' T']
  ) -> Iterator[tuple[Any, int]]:
    """Yields, for each time, the frame shown and its timestamp.

    Args:
      times: Ascending seconds from the start of the film.

    Raises:
      DecodeError: If a frame doesn't decode.
    """
    starts = self._film.starts[:-1]
    for time in times:
      # A thousandth of a tick makes up for 0.3 being less than 3 * 0.1.
      number = bisect.bisect_right(starts, time * _SECOND + 1e-3) - 1
      yield self._frame(max(number, 0)), starts[max(number, 0)]

  def all_frames(self) -> Iterator[tuple[float, Any]]:
    """Yields every frame with its time in seconds."""
    for number, start in enumerate(self._film.starts[:-1]):
      yield start / _SECOND, self._frame(number)

  def _frame(self, number: int) -> av.VideoFrame:
    if number >= self._limits.max_decoded_frames:
      raise frames_lib.DecodeError(
        'too_many_frames',
        f'more than {self._limits.max_decoded_frames} frames to decode; '
        'see --decode_frames',
      )
    with frames_lib.reasons('corrupt', self._film.path, _PILLOW_ERRORS):
      self._image.seek(number)
      rgb = np.asarray(self._image.convert('RGB'))
    frame = av.VideoFrame.from_ndarray(
      orientation.upright(rgb, self._matrix), 'rgb24'
    )
    frame.pts, frame.time_base = self._film.starts[number], Film.time_base
    return frame

  @functools.cached_property
  def _image(self) -> Any:
    from PIL import Image

    image: Any = Image.open(self._film.path, formats=('WEBP',))
    if image.n_frames != self._film.frames:
      raise ValueError(f'{image.n_frames} frames of {self._film.frames}')
    return image

  @functools.cached_property
  def _matrix(self) -> orientation.Matrix:
    number = self._image.getexif().get(_TAG_ORIENTATION, 1)
    return orientation.EXIF.get(number, orientation.UPRIGHT)


AnyReader = frames_lib.FrameReader | Reader
_PILLOW_ERRORS = (OSError, ValueError, EOFError, SyntaxError, MemoryError)
