"""Texts to padded ids, cut and ended as by seqio's `append_eos_after_trim`."""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32

Rows = Sequence[Sequence[int]]


class TextVocabulary(abc.ABC):
  """What the feed asks of a vocabulary.

  Attributes:
    prompt_format: How an instruction is framed; 't5' ends it as a text.
  """

  prompt_format: str = 't5'

  @property
  @abc.abstractmethod
  def size(self) -> int:
    """Number of ids."""

  @property
  @abc.abstractmethod
  def eos_id(self) -> int:
    """Id of the end of a text."""

  @property
  def unk_id(self) -> int:
    """Id of what there is no piece for; -1 if there is always one."""
    return -1

  @property
  @abc.abstractmethod
  def prompt_ends(self) -> tuple[list[int], list[int]]:
    """Ids before and after an instruction."""

  @property
  @abc.abstractmethod
  def seqio(self) -> Any:
    """The same as a `seqio.Vocabulary` (imports TensorFlow)."""

  @abc.abstractmethod
  def encode(self, text: str) -> list[int]:
    """Ids of a text, without its end."""

  def decode(self, ids: Sequence[int]) -> str:
    """Text of ids up to the first end of a text, for messages at least."""
    return ' '.join(map(str, ids))


def prompt_ids(
  vocabulary: TextVocabulary, text: str, length: int | None = None
) -> list[int]:
  """Ids of an instruction, cut to leave room for what stands around it.

  Args:
    vocabulary: What encodes the text.
    text: The instruction.
    length: Most ids of the result; None cuts nothing.
  """
  before, after = vocabulary.prompt_ends
  room = _room(length, len(before) + len(after))
  return [*before, *vocabulary.encode(text)[:room], *after]


def target_ids(
  vocabulary: TextVocabulary, text: str, length: int | None = None
) -> list[int]:
  """Ids of a text and of its end, which is kept when the text is cut.

  Args:
    vocabulary: What encodes the text.
    text: The text.
    length: Most ids of the result; None cuts nothing.
  """
  room = _room(length, 1)
  return [*vocabulary.encode(text)[:room], vocabulary.eos_id]


def _room(length: int | None, taken: int) -> int | None:
  return None if length is None else max(length - taken, 0)


def padded(rows: Rows, length: int) -> Int32[np.ndarray, 'b l']:
  """Rows of ids, zeros after them; what is too long is cut."""
  ids = np.zeros((len(rows), length), np.int32)
  for i, row in enumerate(rows):
    ids[i, : len(row)] = row[:length]
  return ids
