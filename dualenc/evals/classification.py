"""Zero-shot classification: clips against sentences made of class names."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from dualenc.evals import prompts, ranking
from vidlm.core import ids

TOPS = (1, 5)


def class_embeddings(
  embed_texts: Callable[[list[str]], Float[np.ndarray, 'n e']],
  class_names: Sequence[str],
  templates: Sequence[str],
) -> Float[np.ndarray, 'c e']:
  """Embeds classes as CLIP does: unit vectors, their mean, made unit again.

  Args:
    embed_texts: Sentences -> a vector each; called once, with all classes x
      templates, class by class.
    class_names: What may be answered.
    templates: See `prompts.load`.

  Returns:
    Unit vectors in float32.

  Raises:
    ValueError: If a class is named twice.
  """
  twice = {name for name in class_names if class_names.count(name) > 1}
  if twice:
    raise ValueError(
      f'classes: {min(twice)!r} is named twice; an answer would be ambiguous.'
    )
  sentences = []
  for name in class_names:
    sentences += prompts.fill(templates, name)
  embeddings = np.asarray(embed_texts(sentences), np.float32)
  embeddings = _unit(embeddings).reshape(len(class_names), len(templates), -1)
  return _unit(embeddings.mean(axis=1))


def probabilities(
  scores: Float[np.ndarray, 'n c'], logit_scale: float
) -> Float[np.ndarray, 'n c']:
  """Takes the softmax over the classes, as the contrastive loss does.

  Args:
    scores: Cosines.
    logit_scale: What training multiplied them by (`Towers.logit_scale`).

  Returns:
    Probabilities in float64; each row sums to 1.
  """
  logits = logit_scale * scores.astype(np.float64)
  weights = np.exp(logits - logits.max(axis=1, keepdims=True))
  return weights / weights.sum(axis=1, keepdims=True)


def evaluate(
  scores: Float[np.ndarray, 'n c'],
  labels: Int[np.ndarray, 'm'],
  clip_ids: Sequence[str],
  *,
  split: str,
  templates: str,
  annotated_clip_ids: Sequence[str] | None = None,
  known_missing: Sequence[str] = (),
  bootstrap: ranking.Bootstrap = ranking.Bootstrap(),
) -> dict[str, Any]:
  """Scores similarities of clips and classes.

  Args:
    scores: Higher is closer.
    labels: The column of the right class.
    clip_ids: Id of each row.
    split: Name of the split, for the protocol.
    templates: Name of the templates, for the protocol.
    annotated_clip_ids: All ids of the split; None for `clip_ids`.
    known_missing: Annotated ids that are not scored. Any other difference is
      an error.
    bootstrap: What the 95 % intervals are of.

  Returns:
    `top1`, `top5` (fractions), `interval_95` and `protocol`.

  Raises:
    ValueError: If scores are not finite, ids are missing, extra or double,
      labels lie outside of the classes, or shapes don't fit.
  """
  ranking.check_scores(scores, 'scores')
  annotated = clip_ids if annotated_clip_ids is None else annotated_clip_ids
  ids.require_same(clip_ids, annotated, known_missing, 'scored clips')
  num_clips, num_classes = scores.shape
  if not len(clip_ids) == len(labels) == num_clips:
    raise ValueError(
      f'scores: {num_clips} rows, but {len(clip_ids)} ids and {len(labels)} '
      'labels.'
    )
  if labels.min() < 0 or labels.max() >= num_classes:
    raise ValueError(
      f'labels: from {labels.min()} to {labels.max()}, but there are '
      f'{num_classes} classes.'
    )
  relevant = labels[:, None] == np.arange(num_classes)
  ranks = ranking.mid_ranks(scores, relevant)
  values = {f'top{k}': (ranks <= k).astype(np.float64) for k in TOPS}
  result: dict[str, Any] = {k: float(v.mean()) for k, v in values.items()}
  result['interval_95'] = ranking.intervals(
    values, np.arange(num_clips), bootstrap
  )
  meaningless = {
    f'top{k}': f'always 1: there are {num_classes} classes'
    for k in TOPS
    if k >= num_classes
  }
  result['protocol'] = {
    'task': 'classification',
    'split': split,
    'num_clips': num_clips,
    'num_clips_annotated': len(annotated),
    'known_missing': sorted(known_missing),
    'num_classes': num_classes,
    'templates': templates,
    'ties': ranking.TIE_RULE,
    'interval_95': f'bootstrap over clips, {bootstrap}',
    'chance_top1': 1 / num_classes,
    'chance_top5': min(1.0, 5 / num_classes),
    **({'meaningless': meaningless} if meaningless else {}),
  }
  return result


def _unit(x: Float[np.ndarray, '*shape']) -> Float[np.ndarray, '*shape']:
  return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-12)
