"""Our vocabularies as seqio's (imports seqio and TensorFlow)."""

from collections.abc import Sequence
from typing import Any

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


class SentencePieceFile(seqio.SentencePieceVocabulary):
  """seqio's own, read when it is used: tasks are listed without the file."""

  def __init__(self, vocabulary: Any):
    super().__init__(vocabulary.path, vocabulary.extra_ids)
    self._vocabulary = vocabulary

  def _model_context(self, *args: Any, **kwargs: Any) -> Any:
    _ = self._vocabulary.processor  # says in a line what is wrong with the file
    return super()._model_context(*args, **kwargs)


class TokenizerVocabulary(PythonVocabulary):
  """A `vocabulary.TokenizerFile`, also inside a tf.data graph."""

  def __init__(self, vocabulary: Any):
    super().__init__(extra_ids=0)
    self._vocabulary = vocabulary

  @property
  def bos_id(self) -> int:
    """Id of the beginning of a text; -1 if there is none."""
    return self._vocabulary.bos_id

  @property
  def eos_id(self) -> int:
    """Id of the end of a text."""
    return self._vocabulary.eos_id

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

  def __eq__(self, other: Any) -> bool:
    same = isinstance(other, TokenizerVocabulary)
    return same and self._vocabulary == other._vocabulary
