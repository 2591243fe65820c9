"""Text for the dual encoder: CLIP's BPE or a SentencePiece file, in seqio.

Clips and pseudo-captions are read by `vidlm.data.feed.tasks`; what differs
here is the vocabulary, and one text in place of prompt and target.
"""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int

from dualenc import tokenizer as tokenizer_lib
from vidlm.data.feed import seqio_import, tokens


@dataclasses.dataclass(frozen=True)
class ClipVocabulary(tokens.TextVocabulary):
  """CLIP's byte-pair vocabulary, to stand where a `Vocabulary` does."""

  @functools.cached_property
  def tokenizer(self) -> 'tokenizer_lib.CLIPTokenizer':
    """The tokenizer itself."""
    return tokenizer_lib.CLIPTokenizer()

  @property
  def size(self) -> int:
    """Number of ids."""
    return self.tokenizer.vocab_size

  @property
  def eos_id(self) -> int:
    """Id of the end of a text."""
    return self.tokenizer.eot_id

  @property
  def prompt_ends(self) -> tuple[list[int], list[int]]:
    """Ids before and after an instruction, which two towers don't see."""
    return [], [self.eos_id]

  def encode(self, text: str) -> list[int]:
    """Ids of a text: its start and its pieces, without its end."""
    return [self.tokenizer.sot_id, *self.tokenizer.encode(text)]

  @functools.cached_property
  def seqio(self) -> Any:
    """The same for seqio tasks (imports TensorFlow)."""
    with seqio_import.quietly():
      from dualenc import seqio_vocabulary

    return seqio_vocabulary.ClipBpe(self.tokenizer)


def count_cut(
  vocabulary: tokens.TextVocabulary, texts: Iterable[str], length: int
) -> int:
  """How many texts `tokenize` cuts."""
  return sum(
    len(tokens.target_ids(vocabulary, text)) > length for text in texts
  )


def tokenize(
  vocabulary: tokens.TextVocabulary, texts: Iterable[str], length: int
) -> Int[np.ndarray, 'b l']:
  """Ids as in training: cut to `length`, the end token always kept, pad 0."""
  rows = [tokens.target_ids(vocabulary, text, length) for text in texts]
  return tokens.padded(rows, length)
