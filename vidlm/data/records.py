"""Stored clip records back to JPEG frames, outside of tf.data."""

import functools
from typing import Any

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
