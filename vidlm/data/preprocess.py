"""Stored frames -> what a model is shown when it isn't trained: numpy only.

The same as `preprocessors.parse_clip` without augmentation, for code that
does without TensorFlow: T frames by `sampling.select_frames`, shorter side to
`image_size` (bilinear, antialiased), centre crop. Frames that are of that size
already come out bit-identical from both; resized ones differ by a level or
two, since Pillow rounds between its two passes.
"""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from vidlm.data import sampling


def eval_frames(
  frames: UInt8[np.ndarray, 'N H W 3'], num_frames: int, image_size: int
) -> tuple[
  UInt8[np.ndarray, '{num_frames} {image_size} {image_size} 3'],
  Bool[np.ndarray, '{num_frames}'],
]:
  """Chooses, resizes and crops frames.

  Args:
    frames: Of a clip, at least one.
    num_frames: T.
    image_size: Pixels of a side.

  Returns:
    Frames, and which of them are real: an image (one frame) is repeated to T
    frames and all but the first are masked.
  """
  indices = sampling.select_frames(len(frames), num_frames)
  cropped = [resize_and_crop(frames[i], image_size) for i in indices]
  return np.stack(cropped), frame_mask(len(frames), num_frames)


def eval_frames_from_jpeg(
  encoded: Sequence[bytes], num_frames: int, image_size: int
) -> tuple[
  UInt8[np.ndarray, '{num_frames} {image_size} {image_size} 3'],
  Bool[np.ndarray, '{num_frames}'],
]:
  """`eval_frames` of JPEG frames; only the frames wanted are decoded.

  Raises:
    ValueError: If there is no frame, or one isn't an image.
  """
  indices = sampling.select_frames(len(encoded), num_frames)
  frame_of = {
    int(i): resize_and_crop(_decode(encoded[i]), image_size)
    for i in sorted(set(indices))
  }
  frames = np.stack([frame_of[int(i)] for i in indices])
  return frames, frame_mask(len(encoded), num_frames)


def frame_mask(stored: int, num_frames: int) -> Bool[np.ndarray, ' T']:
  """Which of T frames are real, of a clip with so many stored ones."""
  return (stored > 1) | (np.arange(num_frames) < 1)


def resize_and_crop(
  frame: UInt8[np.ndarray, 'H W 3'], size: int
) -> UInt8[np.ndarray, '{size} {size} 3']:
  """Shorter side to `size`, then the middle square."""
  height, width = frame.shape[:2]
  if (height, width) == (size, size):
    return frame
  short = min(height, width)
  new_height, new_width = (
    max(size, round(side * size / short)) for side in (height, width)
  )
  image = Image.fromarray(frame)
  if (new_height, new_width) != (height, width):
    # Pillow widens the filter when it shrinks: bilinear with antialiasing.
    image = image.resize((new_width, new_height), Image.Resampling.BILINEAR)
  top, left = (new_height - size) // 2, (new_width - size) // 2
  return np.asarray(image)[top : top + size, left : left + size]


def _decode(encoded: bytes) -> UInt8[np.ndarray, 'H W 3']:
  try:
    with Image.open(io.BytesIO(encoded), formats=['JPEG']) as image:
      return np.asarray(image.convert('RGB'))
  except (OSError, Image.DecompressionBombError) as error:
    raise ValueError(f'a frame is no JPEG image: {error}') from None
