"""How a picture is shown: turned, mirrored, its pixels not square.

A film says by a display matrix how it is to be shown, a picture by a number
of EXIF's. Both know eight orientations. `upright` does them all; a matrix
that is none of the eight (a film turned by 7 degrees) counts as the nearest.
"""

import fractions
import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from av.sidedata import sidedata
from jaxtyping import UInt8

# (a, b, c, d): the pixel at (x, y), y downwards, is shown at
# (a x + c y, b x + d y), as in MP4's matrix {a, b, u, c, d, v, x, y, w}.
_Number = int | float
Matrix = tuple[_Number, _Number, _Number, _Number]

UPRIGHT: Matrix = (1, 0, 0, 1)
# By the number of EXIF's tag 274.
EXIF: dict[int, Matrix] = {
  1: UPRIGHT,
  2: (-1, 0, 0, 1),
  3: (-1, 0, 0, -1),
  4: (1, 0, 0, -1),
  5: (0, 1, 1, 0),
  6: (0, 1, -1, 0),
  7: (0, -1, -1, 0),
  8: (0, -1, 1, 0),
}
_DISPLAY_MATRIX = struct.Struct('=9i')
_LONGEST_SIDE = 65535  # of a JPEG


def of_frame(frame: Any) -> Matrix:
  """Returns a decoded frame's matrix.

  Args:
    frame: PyAV's; its side data hold the frame's own matrix, or the stream's.
  """
  for data in frame.side_data:
    if data.type == sidedata.Type.DISPLAYMATRIX:
      values = bytes(data)
      if len(values) >= _DISPLAY_MATRIX.size:
        a, b, _, c, d, *_ = _DISPLAY_MATRIX.unpack_from(values)
        return a, b, c, d
  return frame.opaque or UPRIGHT


class Persistence:
  """Hands an orientation on to the frames for which it holds.

  H.264 and HEVC say it once, with a key frame, and mean all up to the next;
  libav gives it to the key frame alone.
  """

  def __init__(self) -> None:
    self._said = UPRIGHT

  def hand_on(self, frame: Any) -> None:
    """Marks the next decoded frame; `of_frame` then knows how it is shown."""
    own = of_frame(frame)
    if frame.key_frame or own != UPRIGHT:
      self._said = own
    elif self._said != UPRIGHT:
      # An object of its own: PyAV knows it by its address, and forgets it for
      # all frames once one of them is gone.
      frame.opaque = (*self._said,)


def is_sideways(matrix: Matrix) -> bool:
  """Returns whether rows are shown as columns."""
  a, b, c, d = map(abs, matrix)
  return b + c > a + d


def upright(
  image: UInt8[np.ndarray, 'rows columns 3'], matrix: Matrix
) -> UInt8[np.ndarray, 'H W 3']:
  """Returns an image as it is shown, in the nearest of eight orientations."""
  a, b, c, d = matrix
  if is_sideways(matrix):
    image, a, d = image.swapaxes(0, 1), c, b
  rows, columns = slice(None, None, -1 if d < 0 else 1), slice(None)
  if a < 0:
    columns = slice(None, None, -1)
  return np.ascontiguousarray(image[rows, columns])


def pixel_aspect(stated: fractions.Fraction | None, matrix: Matrix) -> float:
  """Returns a coded pixel's width by its height.

  Args:
    stated: What libav makes of the container and the codec; None for square.
    matrix: How the film is shown.
  """
  aspect = float(stated or 1)
  a, b, c, d = matrix
  # A stretch in MP4's matrix is how the pixel is shown; libav gives it as if
  # it were how it is coded, which is the other way round if that is sideways.
  across, down = math.hypot(a, c), math.hypot(b, d)
  stretch = across / down if down else 1.0
  stretches = math.isclose(aspect, stretch, rel_tol=1e-3)
  if is_sideways(matrix) and stretches:
    return 1 / aspect
  return aspect


def shape(
  size: Sequence[int], aspect: float, shorter: int | None, max_pixels: int
) -> tuple[int, int]:
  """Returns width and height to scale a coded picture to.

  Args:
    size: Width and height as coded.
    aspect: Of a pixel. One that no picture can be shown with, less than a
      pixel wide or beyond all limits, is the header's error: they are square.
    shorter: Pixels of the shorter side; None keeps the size.
    max_pixels: The limit.
  """
  width, height = _scaled(size[0] * aspect, size[1], shorter)
  fits = width * height <= max_pixels and max(width, height) <= _LONGEST_SIDE
  if size[0] * aspect < 1 or not fits:
    return _scaled(size[0], size[1], shorter)
  return width, height


def _scaled(
  width: _Number, height: _Number, shorter: int | None
) -> tuple[int, int]:
  if shorter is not None:
    scale = shorter / min(width, height)
    width, height = width * scale, height * scale
  return max(1, round(width)), max(1, round(height))
