"""A SentencePiece vocabulary, as T5 uses it: pad 0, end of sentence 1."""

import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """A SentencePiece file with T5's special ids.

  Attributes:
    path: The `.model` file.
    extra_ids: Sentinels appended after the pieces (T5 has 100).
  """

  path: str
  extra_ids: int = 0

  @functools.cached_property
  def processor(self) -> Any:
    """The `sentencepiece.SentencePieceProcessor`.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is of another kind.
    """
    import sentencepiece

    if not os.path.exists(self.path):
      raise FileNotFoundError(
        f'{self.path}: no such SentencePiece file; set VOCABULARY_PATH'
      )
    processor = sentencepiece.SentencePieceProcessor()
    try:
      processor.Load(self.path)
    except (RuntimeError, OSError) as error:
      line = ' '.join(str(error).split())
      raise ValueError(
        f'{self.path}: not a SentencePiece file ({line}); set VOCABULARY_PATH'
      ) from error
    return processor

  @functools.cached_property
  def seqio(self) -> Any:
    """The same vocabulary for seqio tasks (imports TensorFlow)."""
    import seqio

    _ = self.processor  # says in one line what is wrong with the file
    return seqio.SentencePieceVocabulary(self.path, self.extra_ids)

  @property
  def size(self) -> int:
    """Number of ids, sentinels included."""
    return self.processor.GetPieceSize() + self.extra_ids

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without end of sentence."""
    return self.processor.EncodeAsIds(text)

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Text of ids up to the first end of sentence; padding is dropped."""
    kept = []
    for i in map(int, ids):
      if i == 1:
        break
      if 1 < i < self.processor.GetPieceSize():
        kept.append(i)
    return self.processor.DecodeIds(kept)


def train_sentencepiece(
  texts: Iterable[str],
  path: str,
  vocab_size: int = 256,
  model_type: str = 'unigram',
) -> Vocabulary:
  """Trains a SentencePiece model with T5's special ids on `texts`.

  Args:
    texts: Sentences.
    path: Where the `.model` file goes; written atomically.
    vocab_size: Upper bound; fewer pieces if the texts hold no more.
    model_type: 'unigram', or 'bpe', which also makes a piece of a word that
      occurs once, where there is room: shorter targets on little text.

  Returns:
    The vocabulary.
  """
  import sentencepiece

  os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
  partial = f'{path}.partial'
  with open(partial, 'wb') as file:
    sentencepiece.SentencePieceTrainer.Train(
      sentence_iterator=iter(texts),
      model_writer=file,
      vocab_size=vocab_size,
      hard_vocab_limit=False,
      pad_id=0,
      eos_id=1,
      unk_id=2,
      bos_id=-1,
      pad_piece='<pad>',
      eos_piece='</s>',
      unk_piece='<unk>',
      character_coverage=1.0,
      num_threads=1,
      minloglevel=2,
      model_type=model_type,
    )
  os.replace(partial, path)
  return Vocabulary(path)
