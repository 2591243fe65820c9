"""INFER_EVAL of a video VLM: greedy text, scored while it trains.

The rules are those of `vidlm eval`; here the parameters are the ones that
train, wherever the mesh has them, so that every process does its share and no
device needs a whole copy.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from absl import logging
from jaxtyping import Array, Int

from vidlm.core import partitioning, ranges
from vidlm.data.feed import coverage, tasks, validation
from vidlm.evals import protocols, references
from vidlm.models import decoding
from vidlm.models import objective as vlm_objective
from vidlm.training import objective as objective_lib
from vidlm.training import scoring


@dataclasses.dataclass(frozen=True)
class TextScores:
  """INFER_EVAL of a video VLM: greedy text, scored as `vidlm eval` would.

  Attributes:
    task: A protocol of `vidlm.evals.protocols`; by default 'captions' (CIDEr)
      or 'answers' (exact match), as the task asks.
    max_length: Tokens at most.
  """

  task: str | None = None
  max_length: ranges.Size = 64

  def __post_init__(self) -> None:
    ranges.check(self)

  def __call__(
    self, objective: objective_lib.Objective, examples: validation.Examples
  ) -> '_TextEvaluator':
    """Makes the evaluator of one task.

    Raises:
      ValueError: If the model isn't a video VLM, or nothing is annotated.
    """
    if not isinstance(objective, vlm_objective.VLMObjective):
      raise ValueError(
        f'INFER_EVAL: {type(objective).__name__} writes no text; bind another '
        'train.infer_evaluator'
      )
    asked = examples.config.mixture_or_task
    of_kind = {'caption': 'captions', 'question': 'answers'}
    name = self.task or of_kind.get(asked.kind)
    if name is None or protocols.get(name).kind != asked.kind:
      raise ValueError(
        f'INFER_EVAL: {self.task or "no protocol"} for a task of kind '
        f'{asked.kind!r}; captions and questions are scored'
      )
    lengths = {
      'inputs': _prompt_length(asked, examples.table.prompts),
      'targets': examples.config.task_feature_lengths['targets'],
    }
    own = dataclasses.replace(examples.config, task_feature_lengths=lengths)
    made = _TextEvaluator(
      objective.model,
      dataclasses.replace(examples, config=own),
      name,
      self.max_length,
      _references(asked, name, examples.table.ids),
    )
    if examples.process_index == 0:
      _say(made, examples)
    return made


def _say(made: '_TextEvaluator', examples: validation.Examples) -> None:
  """Logs the protocol, once: a line of metrics has no room for it."""
  table = examples.table
  logging.info(
    'INFER_EVAL: %s of %d examples, greedy text of at most %d tokens, %d '
    'frames, prompt %r, on %d processes',
    made.task,
    len(table),
    made.max_length,
    examples.config.frames.num_frames,
    table.fixed_prompt,
    examples.process_count,
  )
  if protocols.get(made.task).metric == 'captions' and len(table) == 1:
    coverage.warn('INFER_EVAL: CIDEr of one clip is always 0; score more')


def _prompt_length(asked: tasks.ClipTask, prompts: Sequence[str]) -> int:
  """Returns the longest prompt's tokens, rounded up: fewer compilations.

  What trains may have shorter ones, and questions would be cut.
  """
  longest = max(len(asked.vocabulary.prompt(p)) for p in set(prompts))
  return -(-longest // 8) * 8


def _references(
  asked: tasks.ClipTask, name: str, example_ids: Sequence[str]
) -> references.References:
  """Returns what is right about the examples of a task, and about no others."""
  if asked.texts:
    table = asked.examples()
    texts = dict(zip(table.ids, map(list, table.texts), strict=True))
    return references.References(
      asked.split, texts, published={key: key for key in texts}
    )
  folder = os.path.join(asked.data_dir, asked.clips)
  refs = protocols.read_references(name, (), folder, asked.split)
  shown = {refs.published.get(key, key) for key in example_ids}
  if left_out := len(refs.texts.keys() - shown):
    logging.info(
      'INFER_EVAL: %d of %d that are annotated in %s are not shown, and not '
      'scored',
      left_out,
      len(refs.texts),
      folder,
    )
  kept = {key: texts for key, texts in refs.texts.items() if key in shown}
  return dataclasses.replace(refs, texts=kept)


@dataclasses.dataclass(frozen=True, eq=False)
class _TextEvaluator:
  """A `scoring.Evaluator`."""

  model: Any
  examples: validation.Examples
  task: str
  max_length: int
  refs: references.References

  def names(self) -> Sequence[str]:
    """See `scoring.Evaluator`."""
    return protocols.FIGURES[protocols.get(self.task).metric]

  def __call__(
    self, params: Mapping[str, Any], partitioner: partitioning.Partitioner
  ) -> dict[str, float]:
    """See `scoring.Evaluator`."""
    ids = self.examples.table.ids
    tokens = scoring.rows(
      _generator(self.model, self.max_length),
      params,
      self.examples.batches(),
      len(ids),
      partitioner,
    )
    vocabulary = self.examples.config.mixture_or_task.vocabulary
    said = [
      (self.refs.published.get(key, key), vocabulary.decode(row))
      for key, row in zip(ids, tokens.tolist(), strict=True)
    ]
    scores = protocols.score(self.task, said, self.refs)
    return {name: float(scores[name]) for name in self.names()}


@functools.lru_cache(maxsize=16)
def _generator(
  model: Any, max_length: int
) -> Callable[[Any, Any], Int[Array, 'B L']]:
  """Returns (params, batch) -> greedy tokens; one function for equal models."""

  def generate(params, batch):
    inputs = {
      name: batch[name]
      for name in ('frames', 'frame_mask', 'encoder_input_tokens')
    }
    samples = decoding.greedy(model, params, inputs, max_length=max_length)
    return samples.tokens[:, 0]

  return generate
