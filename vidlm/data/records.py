"""Stored clip records back to frames, outside of tf.data."""

import functools
import io
from typing import Any

import numpy as np
from jaxtyping import UInt8

from vidlm.data import clip_schema


@functools.lru_cache(maxsize=1)
def _parser() -> Any:
  """Parses frames only, without TensorFlow and without decoding them."""
  from tensorflow_datasets.core import example_parser

  features = clip_schema.features()
  return example_parser.ExampleParserNp(
    {'frames': features.get_serialized_info()['frames']}
  )


def encoded_frames(record: bytes) -> list[bytes]:
  """The JPEG frames of a serialized clip record."""
  return list(_parser().parse_example(record)['frames'])


def decode_frames(record: bytes) -> UInt8[np.ndarray, 'n H W 3']:
  """All frames of a serialized clip record."""
  import PIL.Image

  return np.stack(
    [
      np.asarray(PIL.Image.open(io.BytesIO(frame)).convert('RGB'))
      for frame in encoded_frames(record)
    ]
  )
