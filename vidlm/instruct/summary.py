"""From the outcomes of all calls to the accepted pairs and the counts."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from vidlm.instruct import parse, records

_SHOWN = 200  # Characters of a completion.
_EXAMPLES = 3


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The part of a record that a run keeps in memory.

  Attributes:
    raw: The beginning of a completion that was not accepted.
  """

  status: str
  reason: str | None
  clip_id: str
  question: str
  answer: str
  kind: str
  flags: tuple[str, ...]
  raw: str = ''
  left_out: tuple[str, ...] = ()

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
      '' if record.status == records.ACCEPTED else record.raw[:_SHOWN],
      tuple(record.left_out),
    )

  def example(self) -> dict[str, str]:
    """Returns what a report shows of it."""
    told = {
      name: getattr(self, name)
      for name in ('clip_id', 'kind', 'question', 'answer', 'raw')
    }
    if self.status == records.ACCEPTED:
      del told['raw']
    return told


def settled(
  log: Iterable[records.Record], retry_quarantined: bool
) -> dict[records.Key, Outcome]:
  """Returns what earlier calls gave, by key; they are not made again.

  Args:
    log: All records.
    retry_quarantined: Whether to forget draws of which no attempt was accepted.
  """
  accepted: set[tuple[str, ...]] = set()
  outcomes: dict[records.Key, Outcome] = {}
  draws: dict[records.Key, tuple[str, ...]] = {}
  for record in log:
    if record.status == records.FAILED:
      continue
    outcomes[record.key] = Outcome.of(record)
    if retry_quarantined:
      draw = (record.clip_id, record.kind, str(record.draw), record.caption)
      draws[record.key] = (*draw, record.llm)
      if record.status == records.ACCEPTED:
        accepted.add(draws[record.key])
  if retry_quarantined:
    outcomes = {key: o for key, o in outcomes.items() if draws[key] in accepted}
  return outcomes


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
    The counts, in all and by kind, with three examples of what was accepted and
    of each reason, and the accepted outcomes in order.
  """
  counts: dict[str, collections.Counter[str]] = {}
  reasons: dict[str, collections.Counter[str]] = {}
  accepted = []
  examples: dict[str, list[dict[str, str]]] = {}
  left_out: set[str] = set()
  for kind, outcome, calls in draws:
    count = counts.setdefault(kind, collections.Counter())
    count.update(draws=1, calls=calls)
    if outcome:
      left_out.update(outcome.left_out)
      shown = examples.setdefault(outcome.reason or records.ACCEPTED, [])
      if len(shown) < _EXAMPLES:
        shown.append(outcome.example())
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
    'examples': dict(sorted(examples.items())),
    **({'left_out': sorted(left_out)} if left_out else {}),
  }, accepted
