"""Examples addressed by number: a clip record with its prompt and texts.

TFDS can't read ArrayRecord through `as_dataset`, so neither can
`seqio.TfdsDataSource`. `ExampleTable` reads serialized clip records by index
and leaves parsing and decoding to `frame_cache`.
"""

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from vidlm.data.feed import coverage as coverage_lib
from vidlm.data.feed import tokens


@dataclasses.dataclass(frozen=True)
class ExampleTable:
  """Example i = one clip record (or none) with its prompt and texts.

  Attributes:
    clips: Reader of the clip set; None for text without clips.
    rows: int64[n], the clip record of each example; -1 for none.
    prompts: The instruction of each example.
    texts: The target texts of each example, one or several.
    ids: Distinct names of the examples: the clip id, with #1, #2 ... for
      further questions on one clip.
    fixed_prompt: The prompt that all have, or what of it stands around a
      question; '' where each example has its own.
    coverage: What of the set became examples; None if nobody counted.
    blank: Names of what would be examples, had they a text.
  """

  clips: Any
  rows: np.ndarray
  prompts: Sequence[str]
  texts: Sequence[Sequence[str]]
  ids: Sequence[str]
  fixed_prompt: str = ''
  coverage: coverage_lib.Coverage | None = None
  blank: Collection[str] = ()

  def __len__(self) -> int:
    return len(self.rows)

  def lookup(self, indices: np.ndarray) -> tuple[list, list, list]:
    """Reads examples.

    Args:
      indices: int64[b], each in [0, len(self)).

    Returns:
      Serialized records (b'' where there is no clip), prompts, texts.
    """
    rows = self.rows[indices]
    wanted = [int(row) for row in rows if row >= 0]
    read = iter(self.clips.read(wanted)) if wanted else iter(())
    records = [next(read) if row >= 0 else b'' for row in rows]
    return (
      records,
      [self.prompts[i] for i in indices],
      [list(self.texts[i]) for i in indices],
    )


@dataclasses.dataclass(frozen=True)
class Component:
  """A part of a mixture; a task is a mixture of one.

  Attributes:
    name: The task's name.
    table: Its examples.
    vocabulary: What encodes its texts.
    rate: Its share, relative to the others'.
  """

  name: str
  table: ExampleTable
  vocabulary: tokens.TextVocabulary
  rate: float = 1.0


def check_alike(mixture: str, parts: Sequence[Component]) -> None:
  """Refuses parts whose texts would not be told apart by their ids.

  Raises:
    ValueError: If two of them differ in their vocabulary.
  """
  for part in parts[1:]:
    if part.vocabulary != parts[0].vocabulary:
      raise ValueError(
        f'mixture {mixture}: tasks {parts[0].name} and {part.name} differ in '
        'frames or vocabulary'
      )


def lookup(
  tables: Sequence[ExampleTable], chosen: np.ndarray, indices: np.ndarray
) -> tuple[list, list, list]:
  """Reads examples of several tables; see `ExampleTable.lookup`.

  Args:
    tables: Components of a mixture.
    chosen: int64[b], the table of each example.
    indices: int64[b], its index in that table.
  """
  nothing: list[Any] = [None] * len(indices)
  columns = nothing.copy(), nothing.copy(), nothing.copy()
  for c, table in enumerate(tables):
    places = np.flatnonzero(chosen == c)
    for column, values in zip(
      columns, table.lookup(indices[places]), strict=True
    ):
      for place, value in zip(places, values, strict=True):
        column[place] = value
  return columns
