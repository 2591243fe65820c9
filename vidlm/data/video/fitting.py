"""Pictures of another shape brought to the shape of the first."""

import numpy as np
from jaxtyping import UInt8


def within(size: tuple[int, int], room: tuple[int, int]) -> tuple[int, int]:
  """Returns the largest size of the same proportions that has room.

  Args:
    size: Width and height.
    room: Likewise.
  """
  scale = min(room[0] / size[0], room[1] / size[1])
  width, height = (max(1, round(side * scale)) for side in size)
  return min(width, room[0]), min(height, room[1])


def pad(
  picture: UInt8[np.ndarray, 'H W 3'], room: tuple[int, int]
) -> UInt8[np.ndarray, 'H2 W2 3']:
  """Returns a picture in the middle of black.

  Args:
    picture: RGB.
    room: Width and height, at least the picture's.
  """
  width, height = room
  if picture.shape[:2] == (height, width):
    return picture
  padded = np.zeros((height, width, 3), np.uint8)
  top = (height - picture.shape[0]) // 2
  left = (width - picture.shape[1]) // 2
  rows = slice(top, top + picture.shape[0])
  padded[rows, left : left + picture.shape[1]] = picture
  return padded
