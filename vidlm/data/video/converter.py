"""Converts decoded frames to RGB."""

import fractions
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vidlm.data.video import fitting, orientation, refusals, sampling


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
    # A stream may change size midway; a clip has one: the first frame's.
    self._room: tuple[int, int] | None = None

  def __call__(
    self, frame: Any, pixel_aspect: fractions.Fraction | None = None
  ) -> UInt8[np.ndarray, 'H W 3']:
    """Converts a frame.

    Args:
      frame: A decoded one.
      pixel_aspect: Its own; None for the stream's.
    """
    if frame.is_corrupt:
      raise refusals.DecodeError('corrupt', 'a wanted frame is damaged')
    matrix = orientation.of_frame(frame)
    width, height = self._size_of(frame, pixel_aspect, matrix)
    enlarges = width * height > frame.width * frame.height
    rgb = frame.to_ndarray(
      format='rgb24',
      width=width,
      height=height,
      interpolation='BICUBIC' if enlarges else 'AREA',
      threads=1,
    )
    upright = orientation.upright(rgb, matrix)
    return fitting.pad(upright, self._room or (0, 0))

  def _size_of(
    self,
    frame: Any,
    pixel_aspect: fractions.Fraction | None,
    matrix: orientation.Matrix,
  ) -> tuple[int, int]:
    """Returns the size to scale to, before the frame is turned upright."""
    aspect = orientation.pixel_aspect(pixel_aspect or self._aspect, matrix)
    coded = frame.width, frame.height
    most = self._limits.max_pixels
    size = orientation.shape(coded, aspect, self._size, most)
    refusals.check_size(*size, self._limits)
    sideways = orientation.is_sideways(matrix)
    shown = size[::-1] if sideways else size
    if self._room is None:
      self._room = shown
    if shown == self._room:
      return size
    width, height = fitting.within(shown, self._room)
    return (height, width) if sideways else (width, height)
