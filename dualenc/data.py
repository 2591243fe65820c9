"""Text for the dual encoder: CLIP's BPE or a SentencePiece file, in seqio.

Clips and pseudo-captions are read by `vidlm.data.feed.tasks`; what differs
here is the vocabulary, and one text in place of prompt and target.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from dualenc import tokenizer as tokenizer_lib
from vidlm.data.feed.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class ClipVocabulary:
  """CLIP's byte-pair vocabulary, to stand where a `Vocabulary` does."""

  @functools.cached_property
  def tokenizer(self) -> 'tokenizer_lib.CLIPTokenizer':
    """The tokenizer itself."""
    return tokenizer_lib.CLIPTokenizer()

  @property
  def size(self) -> int:
    """Number of ids."""
    return self.tokenizer.vocab_size

  @functools.cached_property
  def seqio(self) -> Any:
    """The same for seqio tasks (imports TensorFlow)."""
    from dualenc import seqio_vocabulary

    return seqio_vocabulary.ClipBpe(self.tokenizer)


def tokenize(
  vocabulary: Vocabulary | ClipVocabulary, texts: Iterable[str], length: int
) -> Int[np.ndarray, 'b l']:
  """Ids as in training: cut to `length`, the end token always kept, pad 0."""
  if isinstance(vocabulary, ClipVocabulary):
    return vocabulary.tokenizer(list(texts), length)
  rows = [vocabulary.encode(text)[: length - 1] + [1] for text in texts]
  return _pad(rows, length)


def _pad(rows: Sequence[Sequence[int]], length: int) -> np.ndarray:
  ids = np.zeros((len(rows), length), np.int32)
  for i, row in enumerate(rows):
    ids[i, : len(row)] = row
  return ids
