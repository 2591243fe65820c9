"""INFER_EVAL of a dual encoder: retrieval while it trains.

The embeddings are those of `dualenc.eval`; here the parameters are the ones
that train, wherever the mesh has them, so that every process does its share.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from jaxtyping import Array, Float

from dualenc import data
from dualenc import objective as dualenc_objective
from dualenc.evals import ranking, retrieval
from vidlm.core import partitioning
from vidlm.data.feed import validation
from vidlm.training import objective as objective_lib
from vidlm.training import scoring

# Figures of each direction that a run writes down while it trains.
_FIGURES = ('R@1', 'R@5', 'R@10', 'median_rank', 'mean_rank')
_DIRECTIONS = ('t2v', 'v2t')


@dataclasses.dataclass(frozen=True)
class RetrievalScores:
  """INFER_EVAL of a dual encoder: retrieval, as `dualenc eval` scores it."""

  def __call__(
    self, objective: objective_lib.Objective, examples: validation.Examples
  ) -> '_RetrievalEvaluator':
    """Makes the evaluator of one task.

    Raises:
      ValueError: If the model is no dual encoder, or the task has no texts
        that could ask.
    """
    if not isinstance(objective, dualenc_objective.DualEncoderObjective):
      raise ValueError(
        f'INFER_EVAL: {type(objective).__name__} is no dual encoder; bind '
        'another train.infer_evaluator'
      )
    kind = examples.config.mixture_or_task.kind
    if kind != 'caption':
      raise ValueError(
        f'INFER_EVAL: a task of kind {kind!r}; captions ask for their clips'
      )
    return _RetrievalEvaluator(objective.model, examples)


@dataclasses.dataclass(frozen=True, eq=False)
class _RetrievalEvaluator:
  """A `scoring.Evaluator`."""

  model: Any
  examples: validation.Examples

  def names(self) -> list[str]:
    """See `scoring.Evaluator`."""
    return [f'{way}/{figure}' for way in _DIRECTIONS for figure in _FIGURES]

  def __call__(
    self, params: Mapping[str, Any], partitioner: partitioning.Partitioner
  ) -> dict[str, float]:
    """See `scoring.Evaluator`."""
    table, config = self.examples.table, self.examples.config
    images, texts = _embedders(self.model)
    zimg = scoring.rows(
      images, params, self.examples.batches(), len(table), partitioner
    )
    pairs = [
      (clip_id, text)
      for clip_id, own in zip(table.ids, table.texts, strict=True)
      for text in own
    ]
    ids = data.tokenize(
      config.mixture_or_task.vocabulary,
      [text for _, text in pairs],
      config.task_feature_lengths['targets'],
    )
    batches = self.examples.batches_of({'text': ids})
    ztxt = scoring.rows(texts, params, batches, len(ids), partitioner)
    found = retrieval.evaluate(
      ztxt @ zimg.T,
      [clip_id for clip_id, _ in pairs],
      table.ids,
      split=config.mixture_or_task.split,
      bootstrap=ranking.Bootstrap(samples=0),
    )
    return {name: _figure(found, *name.split('/')) for name in self.names()}


def _figure(found: Mapping[str, Any], way: str, figure: str) -> float:
  return float(found[way][figure])


@functools.lru_cache(maxsize=16)
def _embedders(
  model: Any,
) -> tuple[Callable[[Any, Any], Array], Callable[[Any, Any], Array]]:
  """(params, batch) -> unit vectors, of clips and of texts."""

  def images(params: Any, batch: Any) -> Float[Array, 'B E']:
    return model.apply({'params': params}, batch['frames'], None)[0]

  def texts(params: Any, batch: Any) -> Float[Array, 'B E']:
    return model.apply({'params': params}, None, batch['text'])[1]

  return images, texts
