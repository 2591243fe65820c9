"""Our vocabularies as seqio's (imports seqio and TensorFlow)."""

from collections.abc import Sequence
from typing import Any

import seqio

from vidlm.data.feed import seqio_python


class SentencePieceFile(seqio.SentencePieceVocabulary):
  """seqio's own, read when it is used: tasks are listed without the file."""

  def __init__(self, vocabulary: Any):
    super().__init__(vocabulary.path, vocabulary.extra_ids)
    self._vocabulary = vocabulary

  def _model_context(self, *args: Any, **kwargs: Any) -> Any:
    _ = self._vocabulary.processor  # says in a line what is wrong with the file
    return super()._model_context(*args, **kwargs)


class TokenizerVocabulary(seqio_python.PythonVocabulary):
  """Encodes and decodes in Python, also inside a tf.data graph."""

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
