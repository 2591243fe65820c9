"""WUPS, the score of open-ended NExT-QA, as its own script computes it.

Equal to `doc-doc/NExT-OE:{eval_oe,metrics}.py`, quirks included: a word that
is like none of the other side is skipped, not multiplied by 0; counting
questions and yes/no questions (DC, DB) are scored by exact match; questions
about what happened before count with those about what happened after.
"""

import collections
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from vidlm.core import ids
from vidlm.evals import treebank, wordnet

THRESHOLDS = {'wups': 0.0, 'wups_0.9': 0.9}
EXACT_TYPES = ('DC', 'DB')
_MERGED = {'TP': 'TN'}
# NLTK's English stop words of 2018 but 23 that matter to answers, such as
# 'no', 'before', 'up' and 'both': the published list.
_LIST = """
  i me my myself we our ours ourselves you you're you've you'll you'd your
  yours yourself yourselves he him his himself she she's her hers herself it
  it's its itself they them their theirs themselves what which who whom this
  that that'll these those am is are was were be been being have has had
  having do does did doing a an the and but if or because as until while to
  from of at for with about into through during again further then here there
  when where why how all any each most other some such only own so than too
  very s t can will just don don't should should've now d ll m o re ve y ain
  aren aren't couldn couldn't didn didn't doesn doesn't hadn hadn't hasn
  hasn't haven haven't isn isn't ma mightn mightn't mustn mustn't needn
  needn't shan shan't shouldn shouldn't wasn wasn't weren weren't won won't
  wouldn wouldn't
"""
STOP_WORDS = frozenset(_LIST.split())


def content(text: str, lexicon: wordnet.Lexicon) -> str:
  """Returns the lemmas of a text that are no stop words, joined by spaces."""
  return ' '.join(w for w in lexicon.lemmas(text) if w not in STOP_WORDS)


def _covered(
  words: Sequence[str],
  others: Sequence[str],
  threshold: float,
  lexicon: wordnet.Lexicon,
) -> float:
  """Returns how well `others` hold each of `words`; 0 if they hold none."""
  product, matched = 1.0, False
  for word in words:
    best = 0.0
    for other in others:
      alike = lexicon.similarity(word, other)
      best = max(best, alike if alike >= threshold else 0.1 * alike)
    if best:
      product *= best
      matched = True
  return product if matched else 0.0


def wups(
  first: str, second: str, threshold: float, lexicon: wordnet.Lexicon
) -> float:
  """Returns WUPS of two answers that `content` has processed, 0 to 1.

  Args:
    first: The prediction.
    second: The annotated answer.
    threshold: Similarities below it count a tenth.
    lexicon: Says how alike words are.
  """
  one, two = treebank.tokenize(first), treebank.tokenize(second)
  return min(
    _covered(one, two, threshold, lexicon),
    _covered(two, one, threshold, lexicon),
  )


def _score(
  said: str, truths: Sequence[str], kind: str, lexicon: wordnet.Lexicon
) -> dict[str, float]:
  said = content(said, lexicon)
  truths = [content(truth, lexicon) for truth in truths]
  if kind in EXACT_TYPES:
    return dict.fromkeys(THRESHOLDS, float(said in truths))
  return {
    name: max(wups(said, truth, threshold, lexicon) for truth in truths)
    for name, threshold in THRESHOLDS.items()
  }


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, Any]:
  means = {n: sum(s[n] for s in scores) / len(scores) for n in THRESHOLDS}
  return {**means, 'n': len(scores)}


def evaluate_wups(
  predictions: Mapping[str, str] | Iterable[tuple[str, str]],
  references: Mapping[str, Sequence[str]],
  types: Mapping[str, str],
  *,
  lexicon: wordnet.Lexicon | None = None,
  split: str = 'unnamed',
  decoding: str = 'greedy',
  unavailable: Collection[str] = (),
  allow: Collection[str] = (),
) -> dict[str, Any]:
  """Returns WUPS@0, the headline, and WUPS@0.9 beside it.

  Args:
    predictions: One answer per question id, as a mapping or as pairs.
    references: The annotated answers per id, the best of which counts: one,
      or two where the test set has an additional one.
    types: Type of each question: CW CH TN TP TC DL DB DC DO.
    lexicon: Words and their likeness; by default WordNet.
    split: Name of what is scored, for the protocol.
    decoding: How the answers were decoded, for the protocol.
    unavailable: Annotated ids that have no video; reported, not scored.
    allow: Some of `ids.ALLOWANCES`; see `ids.match`.

  Returns:
    `wups` and `wups_0.9` (fractions; the papers print them times 100), `n`,
    the same `by_type` (TP within TN) and `by_group` (C causal, T temporal, D
    descriptive), and `protocol`.

  Raises:
    ValueError: If ids are missing, extra or duplicate, or a type is.
    FileNotFoundError: If WordNet isn't there; says how to get it.
  """
  matched = ids.match(predictions, references, unavailable, allow)
  untyped = [key for key in matched.ids if not types.get(key)]
  if untyped:
    raise ValueError(f'{len(untyped)} questions have no type: {untyped[:5]}')
  lexicon = lexicon or wordnet.WordNet()
  by_type: dict[str, list[dict[str, float]]] = collections.defaultdict(list)
  for key, said in zip(matched.ids, matched.texts, strict=True):
    kind = _MERGED.get(types[key], types[key])
    by_type[kind].append(_score(said, references[key], kind, lexicon))
  by_group: dict[str, list[dict[str, float]]] = collections.defaultdict(list)
  for kind, scores in by_type.items():
    by_group[kind[0]] += scores
  several = sum(len(references[key]) > 1 for key in matched.ids)
  return {
    **_means([score for scores in by_type.values() for score in scores]),
    'by_type': {kind: _means(by_type[kind]) for kind in sorted(by_type)},
    'by_group': {kind: _means(by_group[kind]) for kind in sorted(by_group)},
    'protocol': {
      'metric': 'WUPS@0 as a fraction, as in NExT-OE; wups_0.9 beside it',
      'exact_match_types': list(EXACT_TYPES),
      'lexicon': lexicon.name,
      'additional_references': several,
      'split': split,
      **matched.coverage,
      'decoding': decoding,
    },
  }
