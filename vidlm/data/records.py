"""Stored clip records back to frames, outside of tf.data."""

import functools
import io
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vidlm.data import clip_schema


@functools.lru_cache(maxsize=1)
def _features() -> Any:
  return clip_schema.features()


def encoded_frames(record: bytes) -> list[bytes]:
  """The JPEG frames of a serialized clip record."""
  import tensorflow_datasets as tfds

  example = _features().deserialize_example_np(
    record, decoders={'frames': tfds.decode.SkipDecoding()}
  )
  return list(example['frames'])


def decode_frames(record: bytes) -> UInt8[np.ndarray, 'n H W 3']:
  """All frames of a serialized clip record."""
  import PIL.Image

  return np.stack([
    np.asarray(PIL.Image.open(io.BytesIO(frame)).convert('RGB'))
    for frame in encoded_frames(record)
  ])
