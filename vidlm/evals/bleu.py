"""BLEU-4 over a corpus, equal to pycocoevalcap's `Bleu`, 0 to 1.

Papineni et al., 2002, as the public code has it: clipped n-gram counts summed
over the corpus, the reference closest in length (the shorter of two) for the
brevity penalty, and constants that keep an empty count from giving log 0.
"""

import collections
import math
from collections.abc import Sequence

_ORDERS = 4
# pycocoevalcap's `tiny` and `small`: with others the last digits differ.
_TINY = 1e-15
_SMALL = 1e-9


def _ngrams(words: Sequence[str]) -> collections.Counter[tuple[str, ...]]:
  return collections.Counter(
    tuple(words[start : start + order])
    for order in range(1, _ORDERS + 1)
    for start in range(len(words) - order + 1)
  )


def _matches(words: Sequence[str], references: Sequence[list[str]]) -> list:
  """Returns the clipped counts of one candidate, one per order."""
  most: collections.Counter[tuple[str, ...]] = collections.Counter()
  for reference in references:
    most |= _ngrams(reference)
  counts = [0] * _ORDERS
  for ngram, count in (_ngrams(words) & most).items():
    counts[len(ngram) - 1] += count
  return counts


def bleu4(
  candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
  """Scores one tokenized candidate per item against its references.

  Args:
    candidates: N captions, tokens separated by spaces (`ptb.tokenize`).
    references: For each of the N items one or more tokenized captions.

  Returns:
    The corpus score, from 0 to 1.

  Raises:
    ValueError: If the lengths differ, or nothing is given.
  """
  if len(candidates) != len(references) or not candidates:
    raise ValueError(
      f'BLEU needs one candidate per item: got {len(candidates)} candidates '
      f'and {len(references)} items.'
    )
  correct, possible = [0] * _ORDERS, [0] * _ORDERS
  length = closest = 0
  for candidate, item in zip(candidates, references, strict=True):
    words = candidate.split()
    split = [reference.split() for reference in item]
    length += len(words)
    closest += min((abs(len(r) - len(words)), len(r)) for r in split)[1]
    for order, count in enumerate(_matches(words, split)):
      correct[order] += count
      possible[order] += max(0, len(words) - order)
  precision = math.prod(
    (hits + _TINY) / (all_ + _SMALL)
    for hits, all_ in zip(correct, possible, strict=True)
  )
  ratio = (length + _TINY) / (closest + _SMALL)
  penalty = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
  return penalty * precision ** (1 / _ORDERS)
