"""A tokenizer.json as a `seqio.Vocabulary` (imports seqio and TensorFlow)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from vidlm.data import vocabulary as vocabulary_lib


class TokenizerVocabulary(seqio.Vocabulary):
  """Encodes and decodes in Python, also inside a tf.data graph."""

  def __init__(self, vocabulary: 'vocabulary_lib.TokenizerFile'):
    super().__init__(extra_ids=0)
    self._vocabulary = vocabulary

  @property
  def bos_id(self) -> int:
    """Id of the beginning of a text; -1 if there is none."""
    return self._vocabulary.bos_id

  @property
  def eos_id(self) -> int:
    """Id of the end of a text."""
    return vocabulary_lib.EOS_ID

  @property
  def unk_id(self) -> int:
    """Id of what has no piece; padding's where the file names none."""
    return self._vocabulary.tokenizer.token_to_id('<unk>') or 0

  @property
  def _base_vocab_size(self) -> int:
    return self._vocabulary.size

  def _encode(self, s: str) -> Sequence[int]:
    return self._vocabulary.encode(s)

  def _decode(self, ids: Sequence[int]) -> str:
    return self._vocabulary.decode(ids)

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
    same = isinstance(other, TokenizerVocabulary)
    return same and self._vocabulary == other._vocabulary
