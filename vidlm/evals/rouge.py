"""ROUGE-L over a corpus, equal to pycocoevalcap's `Rouge`, 0 to 1.

Lin, 2004, as the public code has it: precision and recall of the longest common
subsequence, each the best of all references, weighted by beta = 1.2. (The
`rouge-score` package takes beta = 1 and a tokenizer of its own.)
"""

from collections.abc import Sequence

_BETA = 1.2


def _common(first: Sequence[str], second: Sequence[str]) -> int:
  """Returns the length of the longest common subsequence."""
  best = [0] * (len(second) + 1)
  for word in first:
    before = 0
    for j, other in enumerate(second, 1):
      before, best[j] = (
        best[j],
        before + 1 if word == other else max(best[j], best[j - 1]),
      )
  return best[-1]


def _item(candidate: str, references: Sequence[str]) -> float:
  # An empty text counts as one empty word, as in the reference implementation.
  words = candidate.split(' ')
  precision = recall = 0.0
  for reference in references:
    other = reference.split(' ')
    common = _common(words, other)
    precision = max(precision, common / len(words))
    recall = max(recall, common / len(other))
  if not precision or not recall:
    return 0.0
  weight = _BETA**2
  return (1 + weight) * precision * recall / (recall + weight * precision)


def rouge_l(
  candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
  """Scores one tokenized candidate per item against its references.

  Args:
    candidates: N captions, tokens separated by spaces (`ptb.tokenize`).
    references: For each of the N items one or more tokenized captions.

  Returns:
    The mean over items, from 0 to 1.

  Raises:
    ValueError: If the lengths differ, or nothing is given.
  """
  if len(candidates) != len(references) or not candidates:
    raise ValueError(
      f'ROUGE needs one candidate per item: got {len(candidates)} candidates '
      f'and {len(references)} items.'
    )
  pairs = zip(candidates, references, strict=True)
  return sum(_item(*pair) for pair in pairs) / len(candidates)
