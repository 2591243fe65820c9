"""Scores captions over a whole split: CIDEr-D, BLEU-4, ROUGE-L, protocol."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vidlm.core import ids
from vidlm.evals import bleu, cider, meaning, meteor, ptb, rouge

# As pycocoevalcap computes them, which is what the papers' figures are.
METRICS = {
  'cider': 'CIDEr-D, raw 0 to 10',
  'bleu4': 'corpus BLEU-4, 0 to 1',
  'rouge_l': 'ROUGE-L, beta 1.2, 0 to 1',
}


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
  allow: Collection[str] = (),
  with_meteor: bool = False,
) -> dict[str, Any]:
  """Returns CIDEr-D, BLEU-4, ROUGE-L, mean words, and how they came about.

  Every annotated segment is an item of its own and the document frequencies
  are the corpus's, as in big_vision's captioning evaluator for PaLI models
  (ActivityNet's own script counts them per video: `densevid`).

  Args:
    predictions: One caption per id, as a mapping or as pairs.
    references: One or more captions per id.
    split: Name of what is scored, for the protocol.
    decoding: How the captions were decoded, for the protocol.
    unavailable: Annotated ids that have no video; reported, not scored.
    allow: Some of `ids.ALLOWANCES`; see `ids.match`.
    with_meteor: Adds `meteor_nltk`; see `meteor` for what it isn't.

  Returns:
    `cider` (raw, 0 to 10), `bleu4` and `rouge_l` (0 to 1), `cider_per_item`
    by id, `mean_words` of the predictions, `n`, `protocol` (in which
    `meaningless` names the scores that could be no other).

  Raises:
    FileNotFoundError: If METEOR is asked for, and NLTK or WordNet isn't there.
    ValueError: If ids are missing, extra or duplicate, or have no reference.
  """
  references = ids.by_id(references, 'references')
  matched = ids.match(predictions, references, unavailable, allow)
  bare = [key for key in matched.ids if not references[key]]
  if bare:
    raise ValueError(f'{len(bare)} ids have no reference caption: {bare[:5]}.')
  candidates = ptb.tokenize(matched.texts)
  truths = _tokenize_all([references[key] for key in matched.ids])
  result = cider.cider_d(candidates, truths)
  sizes = [len(references[key]) for key in matched.ids]
  figures = {
    'bleu4': bleu.bleu4(candidates, truths),
    'rouge_l': rouge.rouge_l(candidates, truths),
  }
  also = {name: METRICS[name] for name in figures}
  meaningless = meaning.of_captions(truths)
  if with_meteor:
    figures['meteor_nltk'] = meteor.meteor(candidates, truths)
    also['meteor_nltk'] = meteor.PROTOCOL
  return {
    'cider': result.score,
    **figures,
    'cider_per_item': dict(
      zip(matched.ids, result.scores.tolist(), strict=True)
    ),
    'mean_words': float(np.mean([len(t.split()) for t in matched.texts])),
    'n': len(matched.ids),
    'protocol': {
      'metric': METRICS['cider'],
      'also': also,
      'split': split,
      **matched.coverage,
      'tokenizer': ptb.NAME,
      'document_frequency': 'references of the scored items',
      'references_per_item': {
        'min': min(sizes),
        'mean': float(np.mean(sizes)),
        'max': max(sizes),
      },
      'decoding': decoding,
      **({'meaningless': meaningless} if meaningless else {}),
    },
  }
