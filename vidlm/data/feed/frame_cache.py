"""Frames of a batch of records, by a pool of threads, decoded once if they fit.

A set of a few thousand small clips is gone through many times, and fits into
memory: what has been decoded is kept, up to a limit. What doesn't fit any
more isn't kept at all. A run draws every example once an epoch, so pushing
out the oldest would push out each one just before it is wanted again.
"""

import concurrent.futures
import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Int32, UInt8

from vidlm.core import processes, ranges
from vidlm.data.feed import pixels
from vidlm.data.store import records

Frames = tuple[
  UInt8[np.ndarray, '*b T H W 3'],
  Bool[np.ndarray, '*b T'],
]


@dataclasses.dataclass(frozen=True)
class FrameOptions:
  """How frames are sampled.

  Attributes:
    num_frames: T.
    image_size: Pixels of a side.
    augment: Scale jitter and a random crop (paper, section 5.3).
    cache_mib: Memory for decoded frames, of each process and for its life:
      what fits is decoded once. Augmented frames are new every time and not
      kept.
  """

  num_frames: Annotated[ranges.Size, ranges.Called('NUM_FRAMES')] = 8
  image_size: Annotated[ranges.Size, ranges.Called('IMAGE_SIZE')] = 224
  augment: bool = False
  cache_mib: ranges.Count = 1024

  def __post_init__(self) -> None:
    if not isinstance(self.cache_mib, int) or self.cache_mib < 0:
      raise ValueError(
        f'FrameOptions.cache_mib={self.cache_mib!r}: need a whole number of MiB'
      )
    ranges.check(self)


class FrameCache:
  """Frames and masks by record, T and size; safe to use from threads."""

  def __init__(self):
    self._kept: dict[tuple[bytes, int, int], Frames] = {}
    self._bytes = 0
    self._lock = threading.Lock()

  def get(self, key: tuple[bytes, int, int]) -> Frames | None:
    """What was kept, or None."""
    return self._kept.get(key)

  def keep(
    self, key: tuple[bytes, int, int], frames: Frames, limit: int
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
  options: FrameOptions,
) -> Frames:
  """Frames and masks of serialized records; see `start`."""
  return start(stored, seeds, options)()


def start(
  stored: Sequence[bytes],
  seeds: Int32[np.ndarray, 'b 2'],
  options: FrameOptions,
) -> Callable[[], Frames]:
  """Starts to decode the frames of serialized records.

  Args:
    stored: Clip records; b'' (text without a clip) gives black frames, all
      masked.
    seeds: What the augmentation follows from, one pair an example.
    options: Only `num_frames` frames of a record are decoded; augmented ones,
      new every time, aren't kept.

  Returns:
    A function that waits for them. It raises ValueError if a frame isn't an
    image, and says of which clip.
  """
  size = options.image_size
  shape = (len(stored), options.num_frames, size, size, 3)
  frames = np.zeros(shape, np.uint8)
  masks = np.zeros(shape[:2], bool)
  missing = []
  for i, record in enumerate(stored):
    if not record:
      continue
    kept = None if options.augment else _cache.get(_key(record, options))
    if kept is None:
      missing.append(i)
    else:
      frames[i], masks[i] = kept
  decode = lambda i: _decoded(stored[i], seeds[i], options)
  decoded = _pool.map(decode, missing)

  def finish() -> Frames:
    for i, made in zip(missing, decoded, strict=True):
      frames[i], masks[i] = made
    return frames, masks

  return finish


def _key(record: bytes, options: FrameOptions) -> tuple[bytes, int, int]:
  return record, options.num_frames, options.image_size


def _decoded(
  record: bytes, seed: Int32[np.ndarray, '2'], options: FrameOptions
) -> Frames:
  shape = options.num_frames, options.image_size
  try:
    encoded = records.encoded_frames(record)
    if options.augment:
      # Keyed by the example, never by its place in a batch.
      rng = np.random.Generator(np.random.Philox(key=seed.astype(np.uint64)))
      return pixels.augmented_frames_from_jpeg(encoded, *shape, rng)
    made = pixels.eval_frames_from_jpeg(encoded, *shape)
  except ValueError as error:
    raise ValueError(f'clip {records.clip_id(record)!r}: {error}') from error
  _cache.keep(_key(record, options), made, options.cache_mib << 20)
  return made
