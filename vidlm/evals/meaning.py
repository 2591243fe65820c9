"""Scores that come out the same whatever is said: which, and why.

They stand in the protocol, under `meaningless`, and are warned of.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vidlm.data.feed import coverage

_ORDERS = 4


def of_captions(references: Sequence[Sequence[str]]) -> dict[str, str]:
  """Scores of captions that are a constant of these references.

  Args:
    references: Tokenized captions of each item.

  Returns:
    {score: why}.
  """
  found = {}
  if _alike(references):
    found['cider'] = (
      'always 0: CIDEr weighs n-grams by how few items have them, and '
      + ('there is one item' if len(references) == 1 else 'all items are alike')
    )
  longest = max(len(text.split()) for item in references for text in item)
  if longest < _ORDERS:
    found['bleu4'] = f'always 0: no reference has {_ORDERS} words'
  return found


def _alike(references: Sequence[Sequence[str]]) -> bool:
  """Whether all items have the same n-grams, so that each weighs nothing."""
  first = _ngrams(references[0])
  return all(_ngrams(item) == first for item in references[1:])


def _ngrams(item: Sequence[str]) -> set[tuple[str, ...]]:
  return {
    tuple(words[start : start + order])
    for words in map(str.split, item)
    for order in range(1, _ORDERS + 1)
    for start in range(len(words) - order + 1)
  }


def of_segments(sizes: Sequence[int]) -> dict[str, str]:
  """The same of ActivityNet's protocol, for which a video is a corpus.

  Args:
    sizes: Annotated segments of each video.
  """
  if any(size > 1 for size in sizes):
    return {}
  return {'cider': 'always 0: a video counts as a corpus, and has one item'}


def warn(scores: Mapping[str, Any]) -> None:
  """Logs what the protocol of scores says of them."""
  protocol = scores['protocol']
  scored = protocol.get('n_scored', 0)
  coverage.say_scored(
    protocol['task'], scored, protocol.get('n_annotated', scored)
  )
  for name, why in protocol.get('meaningless', {}).items():
    coverage.warn(f'{protocol["task"]}: {name} is {why}')
