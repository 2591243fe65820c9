"""Clips as people hand them over: paths, or frames, shown to a model alike."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from vidlm.core import processes
from vidlm.data.feed import pixels
from vidlm.data.video import decode_pool, sampling

# A video, an image, or uint8[T, H, W, 3].
Clip = str | os.PathLike | np.ndarray
Clips = Clip | list | tuple


def as_list(clips: Clips) -> tuple[list[Clip], bool]:
  """Clips as a list, and whether they were one alone.

  Raises:
    FileNotFoundError: If a path leads nowhere.
    ValueError: If there is none, or one that is no clip.
  """
  many = isinstance(clips, list | tuple)
  if isinstance(clips, np.ndarray):
    many = clips.ndim == 5
  found: list[Any] = [*clips] if many else [clips]  # type: ignore[misc]
  if not found:
    raise ValueError('clips: an empty list; give a path, or frames')
  for clip in found:
    _check(clip)
  return found, not many


def _check(clip: Any) -> None:
  if isinstance(clip, np.ndarray):
    shaped = clip.ndim == 4 and clip.shape[3] == 3 and clip.size > 0
    if clip.dtype != np.uint8 or not shaped:
      raise ValueError(
        f'frames: {clip.dtype}{list(clip.shape)}; need uint8[T, H, W, 3], RGB'
      )
    return
  if not isinstance(clip, str | os.PathLike):
    raise ValueError(
      f'clips: {type(clip).__name__} is no clip; give a path, or frames as an '
      'array uint8[T, H, W, 3]'
    )
  if os.path.isdir(clip):
    raise ValueError(
      f'{os.fspath(clip)}: is a folder; give a list of its files, or caption '
      'it whole by `vidlm caption --videos`'
    )
  if not os.path.exists(clip):
    raise FileNotFoundError(f'{os.fspath(clip)}: no such file')


def read(
  clips: Sequence[Clip], num_frames: int, image_size: int
) -> Iterator[
  tuple[
    UInt8[np.ndarray, '{num_frames} {image_size} {image_size} 3'],
    Bool[np.ndarray, '{num_frames}'],
  ]
]:
  """What a model is shown of each clip, and which frames are real.

  Files are decoded ahead in worker processes, just as `vidlm prepare` would
  store them; T frames are chosen as in evaluation.

  Args:
    clips: As `as_list` gives them.
    num_frames: T.
    image_size: Pixels of a side.

  Raises:
    ValueError: If a file doesn't decode.
  """
  paths = [os.fspath(c) for c in clips if not isinstance(c, np.ndarray)]
  how = sampling.Sampling(min_frames=max(8, num_frames))
  tasks = (
    decode_pool.DecodeTask(os.path.abspath(path), sampling=how)
    for path in paths
  )
  workers = min(processes.cpus(), len(paths))
  with decode_pool.DecodePool(workers) as pool:
    results = pool.map(tasks)
    for clip in clips:
      if isinstance(clip, np.ndarray):
        yield pixels.eval_frames(clip, num_frames, image_size)
        continue
      result = next(results)
      if not result.ok:
        message = result.message.removeprefix(f'{os.path.abspath(clip)}: ')
        raise ValueError(f'{os.fspath(clip)}: {result.reason}: {message}')
      yield pixels.eval_frames_from_jpeg(result.frames, num_frames, image_size)
