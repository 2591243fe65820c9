"""Stored frames -> what a model is shown, in training as in evaluation.

Evaluation: T frames by `sampling.select_frames`, shorter side to `image_size`
(bilinear, antialiased), centre crop. Training is the same, or, augmented, has
DMVR's scale jitter and a random crop in place of the last two. OpenCV decodes
and Pillow resizes outside of Python's lock, so a pool of threads does a batch
(`frame_cache`), in half the time of TensorFlow's operations
(benchmarks/feed.py).
"""

import io
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import PIL.MpoImagePlugin
import PIL.TiffImagePlugin  # noqa: F401  reads what is said about them
from jaxtyping import Bool, UInt8
from PIL import Image

from vidlm.data.video import sampling

# Pillow imports its readers when it opens the first image. In a thread that
# waits for Python's import lock, and a start of training in 25 hung on it.
Image.preinit()

JITTER = (0.9, 1.33)  # the paper, section 5.3
_CROP_RATIO = 256 / 224  # DMVR's min_resize over its crop (facts of Scenic)


def eval_frames(
  frames: UInt8[np.ndarray, 'N H W 3'], num_frames: int, image_size: int
) -> tuple[
  UInt8[np.ndarray, '{num_frames} {image_size} {image_size} 3'],
  Bool[np.ndarray, '{num_frames}'],
]:
  """Chooses, resizes and crops frames.

  Args:
    frames: A clip's, at least one.
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
  cut = lambda frame: resize_and_crop(frame, image_size)
  return _frames_from_jpeg(encoded, num_frames, cut)


def augmented_frames_from_jpeg(
  encoded: Sequence[bytes],
  num_frames: int,
  image_size: int,
  rng: np.random.Generator,
) -> tuple[
  UInt8[np.ndarray, '{num_frames} {image_size} {image_size} 3'],
  Bool[np.ndarray, '{num_frames}'],
]:
  """`eval_frames_from_jpeg`, but jittered and cropped at random.

  DMVR's scale jitter (`scale_jitter_augm`): height and width are scaled by
  factors of their own, drawn once a clip, then a random crop.

  Args:
    encoded: JPEG frames, all of one size.
    num_frames: T.
    image_size: Pixels of a side.
    rng: This example's own.

  Raises:
    ValueError: If there is no frame, or one isn't an image.
  """
  factors, place = rng.uniform(*JITTER, 2), rng.random(2)
  cut = lambda frame: jitter_and_crop(frame, image_size, factors, place)
  return _frames_from_jpeg(encoded, num_frames, cut)


def _frames_from_jpeg(
  encoded: Sequence[bytes],
  num_frames: int,
  cut: Callable[[np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
  indices = sampling.select_frames(len(encoded), num_frames)
  frame_of = {int(i): cut(_decode(encoded[i])) for i in sorted(set(indices))}
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


def jitter_and_crop(
  frame: UInt8[np.ndarray, 'H W 3'],
  size: int,
  factors: Sequence[float] | np.ndarray,
  place: Sequence[float] | np.ndarray,
) -> UInt8[np.ndarray, '{size} {size} 3']:
  """Shorter side to 256/224 of `size`, times factors; then a square of it.

  Args:
    frame: One picture of a clip.
    size: Pixels of the square's side.
    factors: What height and width are scaled by.
    place: Where the square lies, from 0 (top, left) to 1 (bottom, right).
  """
  sides = np.array(frame.shape[:2])
  base = round(size * _CROP_RATIO)
  new = np.rint(sides * base / sides.min() * factors).astype(int)
  new = np.maximum(new, size)
  top, left = (np.array(place) * (new - size + 1)).astype(int)
  # Only the square is computed, where it lies in the frame.
  down, across = sides / new
  box = (left * across, top * down, (left + size) * across, (top + size) * down)
  image = Image.fromarray(frame)
  return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box))


def _decode(encoded: bytes) -> UInt8[np.ndarray, 'H W 3']:
  try:
    # The header alone: no image whose pixels would fill the memory.
    Image.open(io.BytesIO(encoded), formats=['JPEG']).close()
  except (OSError, Image.DecompressionBombError) as error:
    raise ValueError(f'a frame is no usable JPEG image: {error}') from None
  # The pixels of Pillow and TensorFlow (libjpeg-turbo, accurate DCT) in less
  # time than either's.
  flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
  frame = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
  if frame is None:
    raise ValueError(f'a frame is no whole JPEG image ({len(encoded)} bytes)')
  return frame
