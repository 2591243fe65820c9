"""Clips from images: a folder of frames, or one picture as a clip of a frame.

OVIS and UVO come as folders of frames, LLaVA's instructions are about single
images. Both go through the same workers, limits and sampling as videos.
"""

import os
import re
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import UInt8

from vidlm.data.video import reader as frames_lib
from vidlm.data.video import sampling as sampling_lib
from vidlm.data.video import scanner

# Frames a second of a folder of frames that nobody told us about.
_FRAME_RATE = 30.0
_NUMBER = re.compile(r'(\d+)\D*$')


def frame_files(folder: str) -> list[str]:
  """Lists a folder's frames in the order of their numbers.

  10.png comes after 9.png, however the folder lists them.
  """
  names = sorted(scanner.names_in(folder, 'image'), key=_position)
  return [os.path.join(folder, name) for name in names]


def _position(name: str) -> tuple[int, str]:
  match = _NUMBER.search(os.path.splitext(name)[0])
  return (int(match[1]) if match else 0), name


def sample_stills(
  path: str,
  start: float | None,
  end: float | None,
  sampling: sampling_lib.Sampling,
) -> tuple[list[str], list[float], float, float]:
  """Chooses the images of a clip.

  Args:
    path: An image, or a folder of frames.
    start: Seconds; None for the first frame.
    end: Seconds; None for the last.
    sampling: Which of them.

  Returns:
    Paths, their times, start and end in seconds.

  Raises:
    DecodeError: 'empty' where no frame lies in the clip.
  """
  if not os.path.isdir(path):
    return [path], [0.0], 0.0, 1.0 / sampling.fps
  frame_rate = sampling.frame_rate or _FRAME_RATE
  files = frame_files(path)
  last = len(files) / frame_rate
  first = max(start or 0.0, 0.0)
  last = last if end is None else min(end, last)
  if not first < last:
    raise frames_lib.DecodeError(
      'empty', f'{path}: no frame between {first:g} s and {last:g} s'
    )
  kept: dict[int, float] = {}
  for time in sampling.times(first, last):
    # The thousandth makes up for 0.3 being less than 3 * 0.1.
    index = min(int(time * frame_rate + 1e-3), len(files) - 1)
    kept.setdefault(index, float(time))
  return [files[i] for i in kept], list(kept.values()), first, last


def read_images(
  paths: Sequence[str], sampling: sampling_lib.Sampling
) -> Iterator[UInt8[np.ndarray, 'H W 3']]:
  """Decodes images, upright, all of the first one's size.

  Args:
    paths: Local files.
    sampling: How large the first becomes, and what a file may cost.

  Raises:
    DecodeError: With a code and one line.
  """
  shape: tuple[int, int] | None = None
  for path in paths:
    image = _read_image(path, shape, sampling)
    shape = image.shape[1], image.shape[0]
    yield image


def _read_image(
  path: str,
  shape: tuple[int, int] | None,
  sampling: sampling_lib.Sampling,
) -> UInt8[np.ndarray, 'H W 3']:
  """Decodes an image.

  Args:
    path: A local file.
    shape: Width and height it should have; None for those of `sampling`.
    sampling: Its shorter side, and what the file may cost.

  Raises:
    DecodeError: With a code and one line.
  """
  from PIL import Image, ImageOps

  size, limits = sampling.size or None, sampling.limits
  with frames_lib.reasons('open_failed', path, (OSError, ValueError)):
    # Kinds are named: Pillow's others include PostScript and such.
    with Image.open(path, formats=('JPEG', 'PNG', 'WEBP', 'AVIF')) as image:
      frames_lib.check_size(*image.size, limits)
      upright = ImageOps.exif_transpose(image).convert('RGB')
    scale = 1.0 if size is None else size / min(upright.size)
    width, height = (max(1, round(side * scale)) for side in upright.size)
    shape = shape or (width, height)
    frames_lib.check_size(*shape, limits)
    if shape == upright.size:
      return np.asarray(upright)
    shrinks = shape[0] < upright.size[0]
    how = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(upright.resize(shape, how))
