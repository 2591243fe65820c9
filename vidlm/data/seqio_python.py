"""seqio vocabularies whose encoding is Python, usable inside tf.data."""

from typing import Any

import numpy as np
import seqio
import tensorflow as tf


class PythonVocabulary(seqio.Vocabulary):
  """Gives `_encode` and `_decode` of a subclass to TensorFlow graphs."""

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
