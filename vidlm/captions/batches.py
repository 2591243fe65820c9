"""Clips in batches of one shape."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
from jaxtyping import Bool, UInt8, UInt32

from vidlm.captions import identity, inputs

InputClip = inputs.InputClip


@dataclasses.dataclass(frozen=True)
class Batch:
  """Neighbouring clips of one shard; of those that failed any number."""

  shard: int
  clips: Sequence[InputClip]
  last: bool
  # Frames, mask and hashes of ids, as `Captioner.submit` takes them.
  arrays: (
    tuple[
      UInt8[np.ndarray, 'B T H W 3'],
      Bool[np.ndarray, 'B T'],
      UInt32[np.ndarray, ' B'],
    ]
    | None  # If all have failed.
  )


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
      # A clip without an error has both.
      np.stack([cast(np.ndarray, clip.frames) for clip in padded]),
      np.stack([cast(np.ndarray, clip.frame_mask) for clip in padded]),
      np.array([identity.hash32(clip.clip_id) for clip in padded], np.uint32),
    )
  light = [
    dataclasses.replace(clip, frames=None, frame_mask=None) for clip in clips
  ]
  return Batch(shard, light, last, arrays)
