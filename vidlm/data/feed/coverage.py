"""How many rows of a set became examples, and why the others didn't.

A join by id may keep two clips of two hundred, and the run would go on with
them. So every set says at the start what it has; what keeps less than nine
tenths is a warning, what keeps less than one tenth an error unless
ALLOW_MISSING is True.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from absl import logging

_LOW, _TOO_LOW = 0.9, 0.1
_PERCENT = 100.0


@dataclasses.dataclass(frozen=True)
class Share:
  """What of one kind of rows was taken.

  Attributes:
    what: The rows: 'clips of data/web (train)'.
    kept: Rows that became examples, or part of one.
    left_out: How many did not, by reason; what nobody asked for (other kinds,
      other splits, what is behind a limit) is neither here nor there.
  """

  what: str
  kept: int
  left_out: Mapping[str, int]

  @property
  def rows(self) -> int:
    """How many there are."""
    return self.kept + sum(self.left_out.values())

  @property
  def part(self) -> float:
    """The part of them that was kept; of no rows the whole."""
    return self.kept / self.rows if self.rows else 1.0

  def __str__(self) -> str:
    line = f'{self.kept} of {self.rows} {self.what}'
    reasons = [f'{n} {why}' for why, n in self.left_out.items() if n]
    return f'{line} ({", ".join(reasons)} left out)' if reasons else line


@dataclasses.dataclass(frozen=True)
class Coverage:
  """What of a set was taken.

  Attributes:
    examples: How many there are.
    shares: What they were made of: the clips, and what was joined with them.
    notes: What else is to be known.
  """

  examples: int
  shares: Sequence[Share]
  notes: Sequence[str] = ()

  @property
  def part(self) -> float:
    """The smallest part that was kept of anything."""
    return min((share.part for share in self.shares), default=1.0)

  def __str__(self) -> str:
    return '; '.join(
      [f'{self.examples} examples', *map(str, self.shares), *self.notes]
    )


def say(name: str, found: Coverage | None) -> None:
  """Logs what a set has; a warning stands out where a tenth is left out.

  Args:
    name: What the set is called.
    found: None for a table that doesn't tell.
  """
  if found is None:
    return
  if found.part < _LOW:
    warn(f'{name}: only {percent(found.part)} was taken: {found}')
  else:
    logging.info('%s: %s', name, found)


def say_scored(task: str, scored: int, annotated: int) -> None:
  """Warns of a score over less than nine tenths of what is annotated."""
  if scored < _LOW * annotated:
    warn(
      f'{task}: a score of {scored} of {annotated} that are annotated '
      f'({percent(scored / annotated)}): no figure of the whole split'
    )


def warn(line: str) -> None:
  """Logs a warning that is seen among lines of progress."""
  logging.warning('WARNING: %s', line)


def check(name: str, found: Coverage | None, allow_missing: bool) -> None:
  """Refuses a set of which next to nothing was taken.

  Args:
    name: What the set is called.
    found: None for a table that doesn't tell.
    allow_missing: ALLOW_MISSING.

  Raises:
    ValueError: If less than a tenth was, and that isn't allowed.
  """
  if found is None or allow_missing or found.part >= _TOO_LOW:
    return
  raise ValueError(
    f'{name}: only {percent(found.part)} was taken: {found}; do the ids '
    'belong together? If this is what you want: --gin.ALLOW_MISSING=True'
  )


def percent(part: float) -> str:
  """A part as people read it: '0.25 %', '5.9 %', '40 %'."""
  number = _PERCENT * part
  return f'{number:.2g} %' if number < 10 else f'{number:.0f} %'
