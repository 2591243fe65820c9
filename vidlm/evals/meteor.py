"""METEOR through NLTK: a figure of its own name, on request.

Papers print METEOR 1.5 of its authors' Java program, which pycocoevalcap runs.
NLTK has the METEOR of 2007: it matches words, Porter stems and WordNet
synonyms, but has no paraphrases, no discount for function words and other
weights. The two differ; nothing here may be compared with a paper's METEOR.
"""

from collections.abc import Sequence
from typing import Any

HOW_TO_GET = (
  "METEOR needs NLTK and WordNet: pip install 'vidlm[metrics]' and then "
  'python -m nltk.downloader wordnet, or set NLTK_DATA to a folder that has it'
)
PROTOCOL = (
  'METEOR of 2007 as NLTK computes it (words, Porter stems, WordNet synonyms; '
  'alpha 0.9, beta 3, gamma 0.5), best reference, mean over items, 0 to 1; '
  'not the METEOR 1.5 of papers'
)
_WEIGHTS = {'alpha': 0.9, 'beta': 3.0, 'gamma': 0.5}


def _load() -> tuple[Any, Any]:
  try:
    from nltk.corpus import wordnet
    from nltk.translate import meteor_score

    wordnet.ensure_loaded()
  except (ImportError, LookupError) as error:
    raise FileNotFoundError(HOW_TO_GET) from error
  return meteor_score.meteor_score, wordnet


def meteor(
  candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> float:
  """Scores one tokenized candidate per item against its references.

  Args:
    candidates: N captions, tokens separated by spaces (`ptb.tokenize`).
    references: For each of the N items one or more tokenized captions.

  Returns:
    The mean over items, from 0 to 1.

  Raises:
    FileNotFoundError: If NLTK or its data isn't there; says how to get them.
    ValueError: If the lengths differ, or nothing is given.
  """
  if len(candidates) != len(references) or not candidates:
    raise ValueError(
      f'METEOR needs one candidate per item: got {len(candidates)} candidates '
      f'and {len(references)} items.'
    )
  score, wordnet = _load()
  total = 0.0
  for said, truths in zip(candidates, references, strict=True):
    split = [truth.split() for truth in truths]
    total += score(split, said.split(), wordnet=wordnet, **_WEIGHTS)
  return total / len(candidates)
