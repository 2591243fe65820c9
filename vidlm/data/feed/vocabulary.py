"""Vocabularies from a SentencePiece file or a tokenizer.json.

Padding is 0 and the end of a text 1 in both, as T5 and Gemma have them. They
also know how an instruction is framed: 't5' ends it in the end of a text, as
the encoder of T5 was trained; 'paligemma' puts the beginning of a text before
it and a newline after it.
"""

import abc
import dataclasses
import functools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vidlm.core import files, ranges
from vidlm.data.feed import seqio_import, tokens

EOS_ID = 1
PROMPT_FORMATS = ('t5', 'paligemma')
_USER_DEFINED = 4  # SentencePiece's type of pieces that are never split


class _Framed(tokens.TextVocabulary):
  """Frames an instruction by its format."""

  path: str

  @property
  @abc.abstractmethod
  def bos_id(self) -> int:
    """Id of the beginning of a text; -1 if there is none."""

  @functools.cached_property
  def prompt_ends(self) -> tuple[list[int], list[int]]:
    """Ids before and after an instruction.

    Raises:
      ValueError: If the format is unknown, or the file has no piece for it.
    """
    if self.prompt_format not in PROMPT_FORMATS:
      raise ValueError(
        f'prompt_format {self.prompt_format!r} is none of {PROMPT_FORMATS}'
      )
    if self.prompt_format == 't5':
      return [], [self.eos_id]
    newline = self.encode('\n')
    if self.bos_id < 0 or not newline:
      raise ValueError(
        f'{self.path}: no piece for the beginning of a text or for a newline, '
        "which prompt_format 'paligemma' needs"
      )
    return [self.bos_id], newline

  def prompt(self, text: str) -> list[int]:
    """Ids of an instruction as the language model gets it."""
    return tokens.prompt_ids(self, text)


@dataclasses.dataclass(frozen=True)
class Vocabulary(_Framed):
  """A SentencePiece file with T5's special ids.

  Attributes:
    path: The `.model` file.
    extra_ids: Sentinels appended after the pieces (T5 has 100).
    prompt_format: 't5' or 'paligemma', see the head of this file.
  """

  path: str
  extra_ids: ranges.Count = 0
  prompt_format: str = 't5'

  def __post_init__(self) -> None:
    ranges.check(self)

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
  def _encoder(self) -> Any:
    """The processor, which also finds sentinels in a text.

    A text's '<extra_id_0>' is the last id, as in
    `seqio.SentencePieceVocabulary`.
    """
    if not self.extra_ids:
      return self.processor
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2  # made at import, typed by nobody
    model = proto.ModelProto.FromString(self.processor.serialized_model_proto())
    for number in reversed(range(self.extra_ids)):
      model.pieces.add(
        piece=f'▁<extra_id_{number}>', score=0.0, type=_USER_DEFINED
      )
    return sentencepiece.SentencePieceProcessor(
      model_proto=model.SerializeToString()
    )

  @functools.cached_property
  def seqio(self) -> Any:
    """The same vocabulary for seqio tasks (imports TensorFlow)."""
    return _seqio_vocabulary().SentencePieceFile(self)

  @property
  def size(self) -> int:
    """Number of ids, sentinels included."""
    return self.processor.GetPieceSize() + self.extra_ids

  @property
  def eos_id(self) -> int:
    """Id of the end of a text, as the file has it."""
    return self.processor.eos_id()

  @property
  def bos_id(self) -> int:
    """Id of the beginning of a text; -1 if there is none."""
    return self.processor.bos_id()

  @property
  def unk_id(self) -> int:
    """Id of what there is no piece for."""
    return self.processor.unk_id()

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without end of sentence."""
    return self._encoder.EncodeAsIds(text)

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Text of ids up to the first end of sentence; padding is dropped."""
    return self.processor.DecodeIds(
      _real_ids(ids, self.processor.GetPieceSize())
    )


@dataclasses.dataclass(frozen=True)
class TokenizerFile(_Framed):
  """A tokenizer.json (Hugging Face `tokenizers`), as models on the hub have.

  Text is text: '<eos>' written in a caption is five characters and not the end
  of it (`split_special_tokens` in transformers), as with SentencePiece.

  Attributes:
    path: The `.json` file.
    prompt_format: 't5' or 'paligemma', see the head of this file.
  """

  path: str
  prompt_format: str = 't5'
  # Sentinels, if any, are in the file.
  extra_ids: int = dataclasses.field(default=0, init=False)

  @functools.cached_property
  def tokenizer(self) -> Any:
    """The `tokenizers.Tokenizer`.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If it is no tokenizer.json, or its ids aren't T5's or Gemma's.
    """
    import tokenizers

    if not os.path.exists(self.path):
      raise FileNotFoundError(
        f'{self.path}: no such tokenizer.json; set VOCABULARY_PATH'
      )
    try:
      tokenizer = tokenizers.Tokenizer.from_file(os.fspath(self.path))
    except Exception as error:  # The package raises nothing narrower.
      raise ValueError(f'{self.path}: no tokenizer.json: {error}') from error
    pad, end = tokenizer.id_to_token(0), tokenizer.id_to_token(EOS_ID)
    if pad != '<pad>' or end not in ('</s>', '<eos>'):
      raise ValueError(
        f'{self.path}: ids 0 and 1 are {pad!r} and {end!r}; padding and the '
        'end of a text have to be there, as T5 and Gemma have them'
      )
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer

  @functools.cached_property
  def seqio(self) -> Any:
    """The same vocabulary for seqio tasks (imports TensorFlow)."""
    return _seqio_vocabulary().TokenizerVocabulary(self)

  @property
  def size(self) -> int:
    """Number of ids, added tokens included."""
    return self.tokenizer.get_vocab_size()

  @property
  def eos_id(self) -> int:
    """Id of the end of a text."""
    return EOS_ID

  @property
  def bos_id(self) -> int:
    """Id of the beginning of a text; -1 if there is none."""
    found = self.tokenizer.token_to_id('<bos>')
    return -1 if found is None else found

  @property
  def unk_id(self) -> int:
    """Id of what there is no piece for; -1 where bytes stand for it."""
    name = getattr(self.tokenizer.model, 'unk_token', None) or '<unk>'
    found = self.tokenizer.token_to_id(name)
    return -1 if found is None else found

  def encode(self, text: str) -> list[int]:
    """Ids of a text, without beginning and end of sentence."""
    return self.tokenizer.encode(text, add_special_tokens=False).ids

  def decode(self, ids: Sequence[int] | np.ndarray) -> str:
    """Text of ids up to the first end of sentence; padding is dropped."""
    return self.tokenizer.decode(_real_ids(ids, self.size))


AnyVocabulary = Vocabulary | TokenizerFile


def _real_ids(ids: Sequence[int] | np.ndarray, size: int) -> list[int]:
  """Ids before the first end of sentence, without what has no piece."""
  kept = []
  for i in map(int, ids):
    if i == EOS_ID:
      break
    if EOS_ID < i < size:
      kept.append(i)
  return kept


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

  files.make_folder(os.path.dirname(path) or '.')
  with files.writer(path) as file:
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
  return Vocabulary(path)


def _seqio_vocabulary() -> Any:
  with seqio_import.quietly():
    from vidlm.data.feed import seqio_vocabulary
  return seqio_vocabulary
