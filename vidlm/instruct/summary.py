"""From the outcomes of all calls to the accepted pairs and the counts."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vidlm.instruct import parse, records


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The part of a record that a run keeps in memory."""

  status: str
  reason: str | None
  clip_id: str
  question: str
  answer: str
  kind: str
  flags: tuple[str, ...]

  @classmethod
  def of(cls, record: records.Record) -> 'Outcome':
    """Returns the outcome of a record."""
    return cls(
      record.status,
      record.reject_reason,
      record.clip_id,
      record.question,
      record.answer,
      record.kind,
      tuple(record.flags),
    )


def settle(
  draws: Iterable[tuple[str, Sequence[Outcome]]],
) -> Iterator[tuple[str, Outcome | None, int]]:
  """Settles each draw by its last outcome.

  A pair whose question was accepted before for the same clip is a duplicate:
  found here, in a fixed order, because completions arrive in any.

  Args:
    draws: Kind and outcomes of each draw's attempts, in the order of captions,
      kinds and draws; no outcome for a draw that was not answered.

  Yields:
    Kind, outcome or None, and the number of calls, in the same order.
  """
  asked: set[tuple[str, str]] = set()
  for kind, attempts in draws:
    outcome = attempts[-1] if attempts else None
    if outcome and outcome.status == records.ACCEPTED:
      question = (outcome.clip_id, outcome.question.lower())
      if question in asked:
        outcome = dataclasses.replace(
          outcome,
          status=records.QUARANTINED,
          reason=str(parse.Reject.DUPLICATE),
        )
      asked.add(question)
    yield kind, outcome, len(attempts)


def summarize(
  draws: Iterable[tuple[str, Outcome | None, int]],
) -> tuple[dict[str, Any], list[Outcome]]:
  """Counts settled draws.

  Args:
    draws: What `settle` yields.

  Returns:
    The counts, in all and by kind, and the accepted outcomes in order.
  """
  counts: dict[str, collections.Counter[str]] = {}
  reasons: dict[str, collections.Counter[str]] = {}
  accepted = []
  for kind, outcome, calls in draws:
    count = counts.setdefault(kind, collections.Counter())
    count.update(draws=1, calls=calls)
    if outcome is None:
      count['failed'] += 1
    elif outcome.status == records.ACCEPTED:
      count['accepted'] += 1
      count.update(outcome.flags)
      accepted.append(outcome)
    else:
      count['quarantined'] += 1
      why = reasons.setdefault(kind, collections.Counter())
      why[outcome.reason or ''] += 1
  names = ('draws', 'calls', 'accepted', 'quarantined', 'failed', 'three_words')
  kinds = {
    kind: {
      **{name: count[name] for name in names},
      'reasons': dict(sorted(reasons.get(kind, {}).items())),
    }
    for kind, count in counts.items()
  }
  whole = sum(reasons.values(), collections.Counter())
  return {
    **{name: sum(k[name] for k in kinds.values()) for name in names},
    'reasons': dict(sorted(whole.items())),
    'kinds': kinds,
  }, accepted
