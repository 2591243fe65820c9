"""Frames of a batch of records, by a pool of threads, decoded once if they fit.

A set of a few thousand small clips is gone through many times, and fits into
memory: what has been decoded is kept, up to a limit. What doesn't fit any
more isn't kept at all. A run draws every example once an epoch, so pushing
out the oldest would push out each one just before it is wanted again.
"""

import concurrent.futures
import threading
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from vidlm.core import processes
from vidlm.data.feed import pixels
from vidlm.data.store import records

_Frames = tuple[np.ndarray, np.ndarray]


class FrameCache:
  """Frames and masks by record, T and size; safe to use from threads."""

  def __init__(self):
    self._kept: dict[tuple[bytes, int, int], _Frames] = {}
    self._bytes = 0
    self._lock = threading.Lock()

  def get(self, key: tuple[bytes, int, int]) -> _Frames | None:
    """What was kept, or None."""
    return self._kept.get(key)

  def keep(
    self, key: tuple[bytes, int, int], frames: _Frames, limit: int
  ) -> None:
    """Keeps frames unless all that is kept would be over `limit` bytes."""
    size = len(key[0]) + frames[0].nbytes
    with self._lock:
      if key not in self._kept and self._bytes + size <= limit:
        self._kept[key] = frames
        self._bytes += size


# Of all feeds of a process: the demo's dual encoders see the same clips.
_cache = FrameCache()

_pool = concurrent.futures.ThreadPoolExecutor(processes.cpus(), 'frames')


def batch_frames(
  stored: Sequence[bytes],
  seeds: Int32[np.ndarray, 'b 2'],
  *,
  num_frames: int,
  image_size: int,
  augment: bool = False,
  cache_bytes: int = 0,
) -> tuple[
  UInt8[np.ndarray, 'b {num_frames} {image_size} {image_size} 3'],
  Bool[np.ndarray, 'b {num_frames}'],
]:
  """Frames and masks of serialized records.

  Args:
    stored: Clip records; b'' (text without a clip) gives black frames, all
      masked.
    seeds: Of the augmentation, one pair an example.
    num_frames: T; only so many frames of a record are decoded.
    image_size: Pixels of a side.
    augment: Scale jitter and a random crop (`pixels`).
    cache_bytes: What decoded frames may take in memory; augmented ones, new
      every time, aren't kept.

  Raises:
    ValueError: If a frame isn't an image; says of which clip.
  """
  shape = (len(stored), num_frames, image_size, image_size, 3)
  frames = np.zeros(shape, np.uint8)
  masks = np.zeros(shape[:2], bool)
  missing = []
  for i, record in enumerate(stored):
    if not record:
      continue
    kept = None if augment else _cache.get((record, num_frames, image_size))
    if kept is None:
      missing.append(i)
    else:
      frames[i], masks[i] = kept

  def decode(i: int) -> None:
    key = (stored[i], num_frames, image_size)
    try:
      if augment:
        made = _augmented(*key, seeds[i])
      else:
        encoded = records.encoded_frames(stored[i])
        made = pixels.eval_frames_from_jpeg(encoded, *key[1:])
        _cache.keep(key, made, cache_bytes)
    except ValueError as error:
      name = records.clip_id(stored[i])
      raise ValueError(f'clip {name!r}: {error}') from error
    frames[i], masks[i] = made

  list(_pool.map(decode, missing))
  return frames, masks


def _augmented(
  record: bytes, num_frames: int, image_size: int, seed: np.ndarray
) -> _Frames:
  # Keyed by the example, never by its place in a batch.
  rng = np.random.Generator(np.random.Philox(key=seed.astype(np.uint64)))
  encoded = records.encoded_frames(record)
  return pixels.augmented_frames_from_jpeg(encoded, num_frames, image_size, rng)
