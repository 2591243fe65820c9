"""Predictions and references by id: none missing, none extra, none twice."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

_T = TypeVar('_T')
_SHOWN = 5


def _some(ids: Iterable[str]) -> str:
  ids = sorted(ids)
  rest = len(ids) - _SHOWN
  return ', '.join(map(repr, ids[:_SHOWN])) + (
    f' and {rest} more' if rest > 0 else ''
  )


def by_id(
  rows: Mapping[str, _T] | Iterable[tuple[str, _T]], what: str = 'predictions'
) -> dict[str, _T]:
  """Returns rows as a dict; an id that occurs twice is an error.

  Args:
    rows: Pairs of id and value, or a mapping, taken as it is.
    what: What the rows are, for the message.

  Raises:
    ValueError: Some ids occur more than once.
  """
  if isinstance(rows, Mapping):
    return dict(rows)
  pairs = list(rows)
  table = dict(pairs)
  if len(table) != len(pairs):
    counts = Counter(key for key, _ in pairs)
    twice = [key for key, count in counts.items() if count > 1]
    raise ValueError(
      f'{len(twice)} ids occur more than once in the {what}: {_some(twice)}. '
      'Keep one row per id.'
    )
  return table


def require_same(
  predictions: Collection[str],
  references: Collection[str],
  unavailable: Collection[str] = (),
) -> list[str]:
  """Returns the ids to score, in the references' order.

  Args:
    predictions: Ids with a prediction.
    references: Ids with an annotation.
    unavailable: Annotated ids that are known to have no video.

  Raises:
    ValueError: Ids are missing, or are not annotated, or are declared
      unavailable but are not annotated; or nothing is left.
  """
  unavailable = set(unavailable)
  unknown = unavailable.difference(references)
  if unknown:
    raise ValueError(
      f'{len(unknown)} unavailable ids are not annotated: {_some(unknown)}.'
    )
  wanted = [key for key in references if key not in unavailable]
  missing = set(wanted).difference(predictions)
  extra = set(predictions).difference(wanted)
  if missing or extra:
    parts = []
    if missing:
      parts.append(f'{len(missing)} are missing ({_some(missing)})')
    if extra:
      parts.append(f'{len(extra)} are not to be scored ({_some(extra)})')
    raise ValueError(
      f'predictions do not match the {len(wanted)} annotated ids: '
      f'{"; ".join(parts)}. Predict every id once, or declare ids without a '
      'video as unavailable.'
    )
  if not wanted:
    raise ValueError('there is nothing to score: no annotated ids.')
  return wanted


def coverage(
  wanted: Collection[str], unavailable: Collection[str]
) -> dict[str, object]:
  """Returns what a score says about its items."""
  return {
    'n_scored': len(wanted),
    'n_annotated': len(wanted) + len(set(unavailable)),
    'unavailable_ids': sorted(set(unavailable)),
  }
