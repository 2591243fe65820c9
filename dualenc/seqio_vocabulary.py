"""CLIP's BPE as a `seqio.Vocabulary` (imports seqio and TensorFlow)."""

from collections.abc import Sequence
from typing import Any

from vidlm.data.feed import seqio_vocabulary


class ClipBpe(seqio_vocabulary.PythonVocabulary):
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

  def __eq__(self, other: Any) -> bool:
    return isinstance(other, ClipBpe)
