"""CIDEr-D over a corpus, equal to pycocoevalcap's `Cider`, 0 to 10.

Section 3 of Vedantam et al., 2015 (arXiv 1411.5726), as the public code has it:
tf-idf weights of 1- to 4-grams with document frequencies from the references of
the scored items, clipped cosines, a Gaussian penalty on the difference of
lengths. Two quirks of that code decide the figures and are kept: the length of
a caption is its number of bigrams, and a corpus of one item scores 0.
"""

import collections
import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_ORDERS = 4
_SIGMA = 6.0
Ngram = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Cider:
  """The corpus score, raw (papers print it times 100), and each item's."""

  score: float
  scores: Float[np.ndarray, 'N']


def _ngrams(tokens: str) -> collections.Counter[Ngram]:
  words = tokens.split()
  return collections.Counter(
    tuple(words[start : start + order])
    for order in range(1, _ORDERS + 1)
    for start in range(len(words) - order + 1)
  )


class _Vector:
  """The tf-idf weights of one caption, their norms and its length."""

  def __init__(
    self,
    counts: collections.Counter[Ngram],
    idf: dict[Ngram, float],
    top: float,
  ):
    # An n-gram no reference holds weighs as one in a single item.
    self.weights = {g: n * idf.get(g, top) for g, n in counts.items()}
    squares = np.zeros(_ORDERS)
    for ngram, weight in self.weights.items():
      squares[len(ngram) - 1] += weight**2
    self.norms = np.sqrt(squares)
    self.length = sum(n for ngram, n in counts.items() if len(ngram) == 2)

  def similarity(self, reference: '_Vector') -> Float[np.ndarray, '4']:
    """Returns the clipped, length-penalised cosines, one per order."""
    dots = np.zeros(_ORDERS)
    for ngram, weight in self.weights.items():
      other = reference.weights.get(ngram, 0.0)
      dots[len(ngram) - 1] += min(weight, other) * other
    norms = self.norms * reference.norms
    cosines = np.divide(dots, norms, out=np.zeros(_ORDERS), where=norms != 0)
    delta = self.length - reference.length
    return cosines * math.exp(-(delta**2) / (2 * _SIGMA**2))


def cider_d(
  candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Cider:
  """Scores one tokenized candidate per item against its references.

  Args:
    candidates: N captions, tokens separated by spaces (`ptb.tokenize`).
    references: For each of the N items one or more tokenized captions.

  Returns:
    The mean over items and the N scores, each from 0 to 10.

  Raises:
    ValueError: If the lengths differ, nothing is given, or an item has no
      reference.
  """
  if len(candidates) != len(references) or not candidates:
    raise ValueError(
      f'CIDEr needs one candidate per item: got {len(candidates)} candidates '
      f'and {len(references)} items.'
    )
  if any(not captions for captions in references):
    bare = [i for i, captions in enumerate(references) if not captions]
    raise ValueError(
      f'items {bare[:5]} ({len(bare)} in all) have no reference.'
    )
  counted = [[_ngrams(caption) for caption in item] for item in references]
  frequency = collections.Counter(
    ngram for item in counted for ngram in set().union(*item)
  )
  top = math.log(len(counted))
  idf = {ngram: top - math.log(n) for ngram, n in frequency.items()}
  scores = []
  for candidate, item in zip(candidates, counted, strict=True):
    vector = _Vector(_ngrams(candidate), idf, top)
    similarities = [
      vector.similarity(_Vector(counts, idf, top)) for counts in item
    ]
    scores.append(10.0 * float(np.mean(similarities)))
  return Cider(float(np.mean(scores)), np.asarray(scores))
