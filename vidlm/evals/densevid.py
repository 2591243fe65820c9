"""ActivityNet Captions as its own script scores it: per video, then averaged.

`ranjaykrishna/densevid_eval`: each predicted segment is paired with every
annotated one that overlaps by the threshold; each pair is an item with one
reference; document frequencies are those of one video. A figure of this
protocol can't be compared with one of `captioning`, which takes each annotated
segment as an item of the whole corpus.
"""

import collections
import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vidlm.core import ids
from vidlm.evals import bleu, captioning, cider, meaning, ptb, rouge

TIOUS = (0.3, 0.5, 0.7, 0.9)
MAX_PROPOSALS = 1000  # Of a video; the script ignores further ones.
# What a sentence is compared with that overlaps nothing: the script draws
# random letters; any single word no sentence holds has the same effect.
_GARBAGE = 'qxzvkjwqxzvkj'
_SCORES: dict[str, Callable[..., float]] = {
  'cider': lambda c, r: cider.cider_d(c, r).score,
  'bleu4': bleu.bleu4,
  'rouge_l': rouge.rouge_l,
}


@dataclasses.dataclass(frozen=True)
class Segment:
  """A sentence about a part of a video: start and end in seconds."""

  start: int | float
  end: int | float
  sentence: str


def iou(first: Segment, second: Segment) -> float:
  """Returns the temporal overlap as the script computes it, 0 to 1."""
  overlap = min(first.end, second.end) - max(first.start, second.start)
  # Segments apart from each other: the gap between them is no part of it.
  union = min(
    max(first.end, second.end) - min(first.start, second.start),
    second.end - second.start + first.end - first.start,
  )
  return max(0.0, overlap) / (union + 1e-8)


def _ascii(text: str) -> str:
  # The script's `remove_nonascii`.
  return ''.join(c if ord(c) < 128 else ' ' for c in text)


def _pairs(
  predicted: Iterable[Segment], truths: Sequence[Segment], tiou: float
) -> list[tuple[str, str]]:
  pairs = []
  for segment in predicted:
    found = [t.sentence for t in truths if iou(segment, t) >= tiou]
    pairs += [(segment.sentence, truth) for truth in found or [_GARBAGE]]
  return pairs


def _at(
  predicted: Mapping[str, Sequence[Segment]],
  truths: Mapping[str, Sequence[Segment]],
  tiou: float,
) -> dict[str, float]:
  """Returns the mean over videos of each score at one threshold."""
  pairs = {v: _pairs(predicted[v], truths[v], tiou) for v in truths}
  flat = [pair for items in pairs.values() for pair in items]
  candidates = iter(ptb.tokenize([_ascii(said) for said, _ in flat]))
  references = iter(ptb.tokenize([_ascii(truth) for _, truth in flat]))
  sums: dict[str, float] = collections.defaultdict(float)
  for items in pairs.values():
    own = [next(candidates) for _ in items]
    their = [[next(references)] for _ in items]
    for name, score in _SCORES.items():
      sums[name] += score(own, their) if own else 0.0
  return {name: sums[name] / len(pairs) for name in _SCORES}


def evaluate_densevid(
  predictions: Mapping[str, Sequence[Segment]],
  references: Mapping[str, Sequence[Segment]],
  *,
  tious: Sequence[float] = TIOUS,
  split: str = 'unnamed',
  decoding: str = 'greedy',
  proposals: str = 'annotated',
  unavailable: Collection[str] = (),
  allow: Collection[str] = (),
) -> dict[str, Any]:
  """Returns the mean over videos and thresholds, and how it came about.

  Args:
    predictions: The predicted segments of each video.
    references: The annotated ones; those of val_1 and val_2 pooled, if the
      score shall be the official one over both.
    tious: Thresholds of temporal overlap.
    split: Name of what is scored, for the protocol.
    decoding: How the captions were decoded, for the protocol.
    proposals: Where predicted segments come from, for the protocol; the paper
      takes the annotated ones.
    unavailable: Annotated videos that aren't there; reported, not scored.
    allow: Some of 'missing' (such a video scores 0, as in the script),
      'unavailable' and 'extra'; see `ids.match`.

  Returns:
    `cider` (raw; one video counts as a corpus), `bleu4`, `rouge_l` (0 to 1),
    `by_tiou`, `n` videos, `n_sentences`, `protocol`.

  Raises:
    ValueError: If videos are missing or extra and that isn't allowed.
  """
  matched = ids.match(
    dict.fromkeys(predictions, ''), references, unavailable, allow
  )
  predicted = {
    video: predictions.get(video, ())[:MAX_PROPOSALS] for video in matched.ids
  }
  truths = {video: references[video] for video in matched.ids}
  meaningless = meaning.of_segments([len(own) for own in truths.values()])
  by_tiou = {f'{tiou:g}': _at(predicted, truths, tiou) for tiou in tious}
  return {
    **{
      name: float(np.mean([scores[name] for scores in by_tiou.values()]))
      for name in _SCORES
    },
    'by_tiou': by_tiou,
    'n': len(matched.ids),
    'n_sentences': sum(map(len, predicted.values())),
    'protocol': {
      'metric': captioning.METRICS['cider'],
      'also': {n: captioning.METRICS[n] for n in ('bleu4', 'rouge_l')},
      'split': split,
      **matched.coverage,
      'items': 'predicted and annotated segments that overlap, per video',
      'document_frequency': 'pairs of one video, then the mean over videos',
      'tious': list(tious),
      'proposals': proposals,
      'max_proposals_per_video': MAX_PROPOSALS,
      'tokenizer': ptb.NAME,
      'decoding': decoding,
      **({'meaningless': meaningless} if meaningless else {}),
    },
  }
