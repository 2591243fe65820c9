"""CLIP's BPE as a `seqio.Vocabulary` (imports seqio and TensorFlow)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf


class ClipBpe(seqio.Vocabulary):
  """Start token, pieces; seqio appends the end token after trimming."""

  def __init__(self, tokenizer: Any):
    super().__init__(extra_ids=0)
    self._tokenizer = tokenizer

  @property
  def bos_id(self) -> int:
    return self._tokenizer.sot_id

  @property
  def eos_id(self) -> int:
    return self._tokenizer.eot_id

  @property
  def unk_id(self) -> int:
    return 0

  @property
  def _base_vocab_size(self) -> int:
    return self._tokenizer.vocab_size

  def _encode(self, s: str) -> Sequence[int]:
    return [self.bos_id, *self._tokenizer.encode(s)]

  def _decode(self, ids: Sequence[int]) -> str:
    return self._tokenizer.decode(ids)

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor:
    def encode(text: Any) -> np.ndarray:
      # TensorFlow hands over bytes in a graph and an array when eager.
      raw = np.asarray(text, object).item()
      return np.array(self._encode(raw.decode('utf-8', 'replace')), np.int32)

    ids = tf.numpy_function(encode, [s], tf.int32)
    ids.set_shape([None])
    return ids

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    def decode(row: np.ndarray) -> bytes:
      return self._decode(row.tolist()).encode()

    return tf.ensure_shape(tf.numpy_function(decode, [ids], tf.string), [])

  def __eq__(self, other: Any) -> bool:
    return isinstance(other, ClipBpe)
