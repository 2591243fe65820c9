"""seqio vocabularies whose encoding is Python, usable inside tf.data."""

import numpy as np
import seqio
import tensorflow as tf


class PythonVocabulary(seqio.Vocabulary):
  """Gives `_encode` and `_decode` of a subclass to TensorFlow graphs."""

  def _encode_tf(self, s: tf.Tensor) -> tf.Tensor | tf.RaggedTensor:
    """Ids of a text, or ragged ones of a batch of texts."""

    def encode(texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
      rows = [self._encode(t.decode('utf-8', 'replace')) for t in texts]
      flat = [i for row in rows for i in row]
      return np.array(flat, np.int32), np.array([*map(len, rows)], np.int64)

    s = tf.convert_to_tensor(s)
    if s.shape.rank not in (0, 1):
      raise ValueError(f'encode_tf: a text or a batch of them, not {s.shape}')
    ids, lengths = tf.numpy_function(
      encode, [tf.reshape(s, [-1])], [tf.int32, tf.int64]
    )
    ids.set_shape([None])
    lengths.set_shape([None])
    if s.shape.rank == 0:
      return ids
    return tf.RaggedTensor.from_row_lengths(ids, lengths)

  def _decode_tf(self, ids: tf.Tensor) -> tf.Tensor:
    def decode(row: np.ndarray) -> bytes:
      return self._decode(row.tolist()).encode()

    return tf.ensure_shape(tf.numpy_function(decode, [ids], tf.string), [])
