"""Scores captions: CIDEr-D over a whole split, with its protocol."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vidlm.evals import cider, ids, ptb


def _tokenize_all(
  references: Sequence[Sequence[str]],
) -> list[list[str]]:
  flat = iter(ptb.tokenize([c for item in references for c in item]))
  return [[next(flat) for _ in item] for item in references]


def evaluate_captions(
  predictions: Mapping[str, str] | Iterable[tuple[str, str]],
  references: Mapping[str, Sequence[str]] | Iterable[tuple[str, Sequence[str]]],
  *,
  split: str = 'unnamed',
  decoding: str = 'greedy',
  unavailable: Collection[str] = (),
) -> dict[str, Any]:
  """Returns CIDEr-D, the mean number of words, and how they came about.

  Every annotated segment is an item of its own and the document frequencies
  are the corpus's, as in big_vision's captioning evaluator for PaLI models
  (ActivityNet's own script counts them per video: not comparable).

  Args:
    predictions: One caption per id, as a mapping or as pairs.
    references: One or more captions per id.
    split: Name of what is scored, for the protocol.
    decoding: How the captions were decoded, for the protocol.
    unavailable: Annotated ids that have no video; reported, not scored.

  Returns:
    `cider` (raw, 0 to 10), `cider_per_item` by id, `mean_words` of the
    predictions, `n`, `protocol`.

  Raises:
    ValueError: Ids are missing, extra or duplicate, or have no reference.
  """
  predictions = ids.by_id(predictions)
  references = ids.by_id(references, 'references')
  wanted = ids.require_same(predictions, references, unavailable)
  bare = [key for key in wanted if not references[key]]
  if bare:
    raise ValueError(f'{len(bare)} ids have no reference caption: {bare[:5]}.')
  result = cider.cider_d(
    ptb.tokenize([predictions[key] for key in wanted]),
    _tokenize_all([references[key] for key in wanted]),
  )
  sizes = [len(references[key]) for key in wanted]
  return {
    'cider': result.score,
    'cider_per_item': dict(zip(wanted, result.scores.tolist(), strict=True)),
    'mean_words': float(np.mean([len(predictions[k].split()) for k in wanted])),
    'n': len(wanted),
    'protocol': {
      'metric': 'CIDEr-D, raw 0 to 10',
      'split': split,
      **ids.coverage(wanted, unavailable),
      'tokenizer': ptb.NAME,
      'document_frequency': 'references of the scored items',
      'references_per_item': {
        'min': min(sizes),
        'mean': float(np.mean(sizes)),
        'max': max(sizes),
      },
      'decoding': decoding,
    },
  }
