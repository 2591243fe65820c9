"""Clips in batches of one shape, made ahead of the device."""

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from vidlm.captions import identity, inputs

InputClip = inputs.InputClip


@dataclasses.dataclass(frozen=True)
class Batch:
  """Neighbouring clips of one shard; of those that failed any number."""

  shard: int
  clips: Sequence[InputClip]
  last: bool
  # uint8[B, T, H, W, 3], bool[B, T], uint32[B], or None if all have failed.
  arrays: tuple[np.ndarray, np.ndarray, np.ndarray] | None


def make(
  source: inputs.Source, shards: Sequence[int], size: int
) -> Iterator[Batch]:
  """Groups the clips of each shard into batches of `size` decoded ones.

  A batch is of one shard: which clips share it doesn't depend on what was
  done before, nor by how many.
  """
  for shard, clips in source.open(shards):
    group: list[InputClip] = []
    decoded = 0
    for clip in clips:
      if decoded == size:
        yield _batch(shard, group, size, last=False)
        group, decoded = [], 0
      # Kept without its frames: those are in the batch, or there are none.
      group.append(clip)
      decoded += not clip.error
    yield _batch(shard, group, size, last=True)


def _batch(
  shard: int, clips: Sequence[InputClip], size: int, last: bool
) -> Batch:
  good = [clip for clip in clips if not clip.error]
  arrays = None
  if good:
    # Padded to the one shape, with the first clip: what it holds is of no
    # consequence, but a black clip might run to the longest caption.
    padded = good + [good[0]] * (size - len(good))
    arrays = (
      np.stack([clip.frames for clip in padded]),
      np.stack([clip.frame_mask for clip in padded]),
      np.array([identity.hash32(clip.clip_id) for clip in padded], np.uint32),
    )
  light = [
    dataclasses.replace(clip, frames=None, frame_mask=None) for clip in clips
  ]
  return Batch(shard, light, last, arrays)


def ahead(make: Callable[[], Iterator[Any]], depth: int = 2) -> Iterator[Any]:
  """Runs an iterator in a thread, a few items ahead."""
  items: queue.Queue = queue.Queue(depth)
  stop = threading.Event()

  def put(item: tuple[str, Any]) -> None:
    while not stop.is_set():
      try:
        return items.put(item, timeout=0.1)
      except queue.Full:
        continue

  def work() -> None:
    try:
      for item in make():
        put(('item', item))
        if stop.is_set():
          return
      put(('end', None))
    except BaseException as error:
      put(('error', error))

  thread = threading.Thread(target=work, name='decode', daemon=True)
  thread.start()
  try:
    while True:
      kind, value = items.get()
      if kind == 'error':
        raise value
      if kind == 'end':
        return
      yield value
  finally:
    stop.set()
    thread.join()
