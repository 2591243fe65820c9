"""Scores answers by exact match, as PaLI-family models report video QA."""

import collections
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from vidlm.core import ids

_ARTICLES = frozenset(('a', 'an', 'the'))


def normalize(answer: str) -> str:
  """Lower-cases, drops apostrophes, other punctuation and articles.

  Other punctuation becomes a space, runs of spaces become one. Number words
  stay as they are: 'two' and '2' differ, as in the annotations.
  """
  text = answer.lower().replace("'", '').replace('\u2019', '')
  text = ''.join(
    ' ' if unicodedata.category(c).startswith('P') else c for c in text
  )
  return ' '.join(word for word in text.split() if word not in _ARTICLES)


def _accuracy(pairs: Iterable[tuple[str, str]]) -> float:
  hits = [predicted == truth for predicted, truth in pairs]
  return sum(hits) / len(hits)


def _majority(answers: Iterable[str]) -> str:
  """Returns the most frequent answer, of several the first in order."""
  counts = collections.Counter(answers)
  return min(counts, key=lambda answer: (-counts[answer], answer))


def _by_type(
  pairs: Iterable[tuple[str, str, str]],
) -> dict[str, dict[str, Any]]:
  """Returns accuracies and counts of (type, answer, truth), by type."""
  found: dict[str, list[tuple[str, str]]] = collections.defaultdict(list)
  for kind, answer, truth in pairs:
    found[kind].append((answer, truth))
  return {
    kind: {'accuracy': _accuracy(found[kind]), 'n': len(found[kind])}
    for kind in sorted(found)
  }


def evaluate_answers(
  predictions: Mapping[str, str] | Iterable[tuple[str, str]],
  references: Mapping[str, str] | Iterable[tuple[str, str]],
  *,
  types: Mapping[str, str] | None = None,
  train_answers: Collection[str] = (),
  split: str = 'unnamed',
  decoding: str = 'greedy',
  unavailable: Collection[str] = (),
  allow: Collection[str] = (),
) -> dict[str, Any]:
  """Returns exact-match accuracy, a diagnostic one, and a baseline's.

  `accuracy` compares strings as they are, as big_vision's VQA evaluator with
  `to_lower=False`: 'Yes.' is not 'yes'. `normalized_accuracy` compares them
  after `normalize`; a gap between the two says that the style is off.

  Args:
    predictions: One answer per question id, as a mapping or as pairs.
    references: The annotated answer per question id.
    types: Type of each question, for accuracies by type; those that have none
      count as 'untyped'.
    train_answers: Answers whose most frequent one is the majority baseline;
      without them, it is the most frequent of the scored references, which no
      constant answer can beat.
    split: Name of what is scored, for the protocol.
    decoding: How the answers were decoded, for the protocol.
    unavailable: Annotated ids that have no video; reported, not scored.
    allow: Some of `ids.ALLOWANCES`; see `ids.match`.

  Returns:
    `accuracy`, `normalized_accuracy`, `majority` (`answer`, `accuracy`),
    `by_type` where there are types, `n`, `protocol`. Accuracies are fractions.

  Raises:
    ValueError: If ids are missing, extra or duplicate.
  """
  references = ids.by_id(references, 'references')
  matched = ids.match(predictions, references, unavailable, allow)
  truths = [references[key] for key in matched.ids]
  answers = matched.texts
  majority = _majority(train_answers or truths)
  kinds = [(types or {}).get(key, '') or 'untyped' for key in matched.ids]
  by_type = _by_type(zip(kinds, answers, truths, strict=True))
  return {
    'accuracy': _accuracy(zip(answers, truths, strict=True)),
    'normalized_accuracy': _accuracy(
      (normalize(a), normalize(t)) for a, t in zip(answers, truths, strict=True)
    ),
    'majority': {
      'answer': majority,
      'accuracy': _accuracy((majority, truth) for truth in truths),
    },
    **({'by_type': by_type} if types else {}),
    'n': len(matched.ids),
    'protocol': {
      'metric': 'exact match of the answer string, as a fraction',
      'normalized_accuracy': 'lower case, no punctuation, no articles: second',
      'split': split,
      **matched.coverage,
      'majority_from': 'train answers' if train_answers else 'scored answers',
      'decoding': decoding,
    },
  }
