"""Ids: none twice, none missing, none extra; for clips as for predictions."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

from vidlm.core import messages

_T = TypeVar('_T')
# The last is of files of predictions, see `evals.protocols.score_file`.
ALLOWANCES = ('missing', 'unavailable', 'extra', 'duplicates', 'perfect')


def some(ids: Iterable[str]) -> str:
  """The first few ids, for a message."""
  return messages.some(map(repr, sorted(ids)))


def check_distinct(
  ids: Iterable[str], what: str, advice: str = 'keep one row per id'
) -> int:
  """Refuses ids that occur more than once.

  Args:
    ids: Gone through once; there may be millions.
    what: What they are ids of, for the message.
    advice: What to do about it.

  Returns:
    How many there are.

  Raises:
    ValueError: Some occur more than once.
  """
  seen: set[str] = set()
  twice: set[str] = set()
  for key in ids:
    (twice if key in seen else seen).add(key)
  if twice:
    error = ValueError(
      f'{len(twice)} ids occur more than once in the {what}: {some(twice)}; '
      f'{advice}.'
    )
    raise messages.with_whole(error, {f'twice in the {what}': sorted(twice)})
  return len(seen)


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
  check_distinct((key for key, _ in pairs), what)
  return dict(pairs)


@dataclasses.dataclass(frozen=True)
class Matched:
  """What is scored.

  Attributes:
    ids: In the references' order.
    texts: The prediction of each.
    coverage: How many were scored, annotated, unavailable; and, where they
      were allowed, missing, extra and duplicate. Goes into the protocol.
  """

  ids: list[str]
  texts: list[str]
  coverage: dict[str, Any]


def match(
  predictions: Mapping[str, str] | Iterable[tuple[str, str]],
  references: Collection[str],
  unavailable: Collection[str] = (),
  allow: Collection[str] = (),
) -> Matched:
  """Pairs predictions with annotated ids and refuses what doesn't fit.

  Args:
    predictions: One text per id, as a mapping or as pairs.
    references: The annotated ids.
    unavailable: Annotated ids that have no video; reported, not scored.
    allow: Some of 'missing' (annotated ids without a prediction are scored as
      an empty text), 'unavailable' (they are left out instead), 'extra' (left
      out) and 'duplicates' (the first counts). What was allowed is counted.

  Raises:
    ValueError: Ids are missing, extra or duplicate and that isn't allowed.
  """
  check_allowed(allow)
  pairs = list(
    predictions.items() if isinstance(predictions, Mapping) else predictions
  )
  table = dict(reversed(pairs)) if 'duplicates' in allow else by_id(pairs)
  counts: dict[str, Any] = {}
  if 'duplicates' in allow:
    counts['n_duplicate'] = len(pairs) - len(table)
  gone = set(unavailable)
  wanted = [key for key in references if key not in gone]
  missing = [key for key in wanted if key not in table]
  if set(allow) - {'perfect'} and wanted and len(missing) == len(wanted):
    error = ValueError(
      f'none of the {len(wanted)} annotated ids ({some(wanted)}) has a '
      f'prediction; there are {len(table)} of others ({some(table)}).'
    )
    raise messages.with_whole(
      error, {'annotated': sorted(wanted), 'predicted': sorted(table)}
    )
  if 'unavailable' in allow:
    unavailable = [*gone, *missing]
    wanted = [key for key in wanted if key in table]
  if 'missing' in allow:
    counts['n_missing_scored_as_empty'] = len(missing)
    table |= dict.fromkeys(missing, '')
  if 'extra' in allow:
    extra = set(table).difference(wanted)
    counts['n_extra_left_out'] = len(extra)
    table = {key: text for key, text in table.items() if key not in extra}
  wanted = require_same(table, references, unavailable)
  return Matched(
    wanted,
    [table[key] for key in wanted],
    {**coverage(wanted, unavailable), **counts},
  )


def check_allowed(allow: Collection[str]) -> None:
  """Refuses what `match` can't allow.

  Raises:
    ValueError: An unknown word, or two that contradict each other.
  """
  unknown = set(allow).difference(ALLOWANCES)
  if unknown:
    raise ValueError(
      f'allow: {min(unknown)!r} is not one of {", ".join(ALLOWANCES)}'
    )
  if {'missing', 'unavailable'} <= set(allow):
    raise ValueError(
      "allow: 'missing' scores ids without a prediction as empty texts, "
      "'unavailable' leaves them out: choose one"
    )


def require_same(
  predictions: Collection[str],
  references: Collection[str],
  unavailable: Collection[str] = (),
  what: str = 'predictions',
) -> list[str]:
  """Returns the ids to score, in the references' order.

  Args:
    predictions: Ids with a prediction, or with a score.
    references: Ids with an annotation.
    unavailable: Annotated ids that are known to have no video.
    what: What is predicted or scored, for the message.

  Raises:
    ValueError: Ids are missing, or are not annotated, or are declared
      unavailable but are not annotated; or occur twice; or nothing is left.
  """
  check_distinct(predictions, what)
  check_distinct(references, 'annotations')
  unavailable = set(unavailable)
  unknown = unavailable.difference(references)
  if unknown:
    error = ValueError(
      f'{len(unknown)} unavailable ids are not annotated: {some(unknown)}.'
    )
    raise messages.with_whole(error, {'not annotated': sorted(unknown)})
  wanted = [key for key in references if key not in unavailable]
  missing = set(wanted).difference(predictions)
  extra = set(predictions).difference(wanted)
  if missing or extra:
    parts = []
    if missing:
      parts.append(f'{len(missing)} are missing ({some(missing)})')
    if extra:
      parts.append(f'{len(extra)} are not to be scored ({some(extra)})')
    error = ValueError(
      f'{what} do not match the {len(wanted)} annotated ids: '
      f'{"; ".join(parts)}. Predict every id once, or declare ids without a '
      'video as unavailable, or allow what is meant.'
    )
    raise messages.with_whole(
      error,
      {'missing': sorted(missing), 'not to be scored': sorted(extra)},
    )
  if not wanted:
    raise ValueError('there is nothing to score: no annotated ids.')
  return wanted


def coverage(
  wanted: Collection[str], unavailable: Collection[str]
) -> dict[str, Any]:
  """Returns what a score says about its items."""
  return {
    'n_scored': len(wanted),
    'n_annotated': len(wanted) + len(set(unavailable)),
    'unavailable_ids': sorted(set(unavailable)),
  }
