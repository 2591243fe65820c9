"""What is scored while a run trains: examples of a task, each once, in order.

TRAIN_EVAL and INFER_EVAL name it: 'val' is that split of MIXTURE_OR_TASK,
'clips/msrvtt:val' a split of a clip set of its own, and a task or a list of
tasks stands for itself.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Int

from vidlm.data.feed import batches, first_look, tasks
from vidlm.data.feed import examples as examples_lib
from vidlm.training import objective as objective_lib
from vidlm.training import scoring


def find_tasks(value: Any, training: Any, macro: str) -> list[tasks.ClipTask]:
  """The tasks that TRAIN_EVAL or INFER_EVAL means.

  Args:
    value: A split, 'CLIPS:SPLIT', a task, a mixture, a list, or None.
    training: What is trained on.
    macro: For messages.

  Raises:
    ValueError: If it is something else, or a split of what has none.
  """
  if value is None:
    return []
  if isinstance(value, str):
    return _of_split(value, training, macro)
  if isinstance(value, tasks.ClipTask):
    return [value]
  if isinstance(value, tasks.ClipMixture):
    return [task for task, _ in value.tasks]
  if isinstance(value, Sequence) and value:
    nested = [find_tasks(own, training, macro) for own in value]
    return list(itertools.chain.from_iterable(nested))
  raise ValueError(
    f"{macro}={value!r}: need a split such as 'val', 'CLIPS:SPLIT', or a task "
    'such as @val/tasks.ClipTask()'
  )


def _of_split(text: str, training: Any, macro: str) -> list[tasks.ClipTask]:
  clips, _, split = text.rpartition(':')
  parts = []
  if isinstance(training, tasks.ClipTask):
    parts = [training]
  elif isinstance(training, tasks.ClipMixture) and not clips:
    parts = [task for task, _ in training.tasks]
  parts = [task for task in parts if task.clips and task.kind != 'text']
  if not parts or not split:
    raise ValueError(
      f'{macro}={text!r}: MIXTURE_OR_TASK is no task of which this could be a '
      'split; give a task, such as @val/tasks.ClipTask()'
    )
  # Texts of its own belong to the clips that train.
  found = {
    dataclasses.replace(
      task,
      name='',
      clips=clips or task.clips,
      split=split,
      texts='',
      kinds=(),
      limit=None,
    ): task
    for task in parts
  }
  return [dataclasses.replace(new, name=old.name) for new, old in found.items()]


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
  """The examples of one task, for all processes in equal numbers of batches.

  Attributes:
    config: A single task's; `batch_size` is the global batch's.
    process_index: This process.
    process_count: Number of processes.
  """

  config: batches.DatasetConfig
  process_index: int = 0
  process_count: int = 1

  def __post_init__(self) -> None:
    if len(self.table) < self.process_count:
      raise ValueError(
        f'{self.config.mixture_or_task.name}: {len(self.table)} examples for '
        f'{self.process_count} processes; score more, or one at a time'
      )

  @functools.cached_property
  def table(self) -> examples_lib.ExampleTable:
    """All examples, of all processes."""
    return self.config.mixture_or_task.examples()

  @functools.cached_property
  def _number(self) -> dict[str, int]:
    return {name: i for i, name in enumerate(self.table.ids)}

  def batches(
    self, steps: int | None = None
  ) -> Iterator[tuple[Int[np.ndarray, 'b'], dict[str, np.ndarray]]]:
    """This process's rows of each global batch.

    Args:
      steps: At most so many batches.

    Yields:
      The number of each row among all examples, -1 for what fills up; and the
      arrays.
    """
    size = self._size
    local = dataclasses.replace(self.config, batch_size=size)
    mine = batches.evaluation_batches(
      local, self.process_index, self.process_count
    )
    total = -(-len(self.table) // self.config.batch_size)
    last: dict[str, np.ndarray] = {}
    for _ in range(total if steps is None else min(steps, total)):
      # Who has one example less may have one batch less; all go on together.
      ids, last = next(mine, ([], last))
      numbers = np.full(size, -1, np.int32)
      numbers[: len(ids)] = [self._number[name] for name in ids]
      yield numbers, last

  def batches_of(
    self, arrays: Mapping[str, np.ndarray]
  ) -> Iterator[tuple[Int[np.ndarray, 'b'], dict[str, np.ndarray]]]:
    """The same of arrays with a row an example, which every process has.

    Args:
      arrays: All with the same number of rows.

    Yields:
      As `batches`.
    """
    count = len(next(iter(arrays.values())))
    numbers = np.arange(-(-count // self.config.batch_size) * self._size)
    numbers = numbers * self.process_count + self.process_index
    for mine in numbers.astype(np.int32).reshape(-1, self._size):
      rows = np.where(mine < count, mine, 0)
      batch = {name: x[rows] for name, x in arrays.items()}
      yield np.where(mine < count, mine, np.int32(-1)), batch

  @property
  def _size(self) -> int:
    return self.config.batch_size // self.process_count


@runtime_checkable
class InferEvaluator(Protocol):
  """Makes what scores a model's own output, for INFER_EVAL."""

  def __call__(
    self, objective: objective_lib.Objective, examples: Examples
  ) -> scoring.Evaluator:
    """Makes the evaluator of one task.

    Raises:
      ValueError: If model or task are not of its kind.
    """


def make_evaluation(
  model: objective_lib.Objective,
  training: Any,
  *,
  train_eval: batches.DatasetConfig | None,
  infer_eval: batches.DatasetConfig | None,
  evaluator: InferEvaluator | None,
  period: int | None,
  steps: int | None,
) -> scoring.Evaluation:
  """What a run scores while it trains.

  Args:
    model: What trains.
    training: MIXTURE_OR_TASK.
    train_eval: What the loss is computed on; its task is what `find_tasks`
      takes.
    infer_eval: What the model's own output is scored on, likewise.
    evaluator: What scores that output.
    period: EVAL_PERIOD; None for none.
    steps: EVAL_STEPS; None for all examples.

  Raises:
    ValueError: If something asked for can't be, or nothing would read it.
  """
  loss_on = _examples('train_eval', train_eval, training)
  output_on = _examples('infer_eval', infer_eval, training)
  _check(period, steps, loss_on, output_on)
  return scoring.Evaluation(
    {
      **_loss_scores(model, loss_on, steps),
      **_output_scores(model, output_on, evaluator),
    }
  )


def _examples(
  group: str, config: batches.DatasetConfig | None, training: Any
) -> dict[str, Examples]:
  """{group of scores: its examples}, of TRAIN_EVAL or INFER_EVAL."""
  if config is None:
    return {}
  macro = group.upper()
  count = jax.process_count()
  asked = find_tasks(config.mixture_or_task, training, macro)
  if asked and config.batch_size % count:
    raise ValueError(
      f'{macro}: a batch of {config.batch_size} does not divide over {count} '
      f'processes; bind {group}/batches.DatasetConfig.batch_size'
    )
  names = [f'{group}/{task.name}' for task in asked]
  if len(set(names)) < len(names):
    raise ValueError(f'{macro}: two tasks are called the same: {names}')
  found = {}
  for name, task in zip(names, asked, strict=True):
    # In seqio's registry the task that trains keeps its own name.
    own = dataclasses.replace(task, name=name.replace('/', '_'))
    found[name if len(asked) > 1 else group] = Examples(
      dataclasses.replace(config, mixture_or_task=own),
      jax.process_index(),
      count,
    )
  for scored, examples in found.items():
    vocabulary = examples.config.mixture_or_task.vocabulary
    first_look.look_at_scored(
      examples_lib.Component(scored, examples.table, vocabulary),
      examples.config,
      says=examples.process_index == 0,
    )
  return found


def _check(
  period: int | None, steps: int | None, loss_on: Any, output_on: Any
) -> None:
  """Raises ValueError if something was asked for that nothing would read."""
  if period and not (loss_on or output_on):
    raise ValueError(
      f'EVAL_PERIOD={period}: nothing to score; give TRAIN_EVAL (a loss) or '
      "INFER_EVAL (the model's own output), such as "
      '--gin.TRAIN_EVAL=\'"val"\''
    )
  if (loss_on or output_on) and not period:
    raise ValueError(
      'TRAIN_EVAL, INFER_EVAL: never scored; give the steps between two '
      'evaluations, such as --gin.EVAL_PERIOD=500'
    )
  if steps is not None and not loss_on:
    raise ValueError(
      f'EVAL_STEPS={steps}: batches of TRAIN_EVAL, which is not given'
    )


def _loss_scores(
  model: objective_lib.Objective,
  examples: Mapping[str, Examples],
  eval_steps: int | None,
) -> dict[str, scoring.Evaluator]:
  if not examples:
    return {}
  if not isinstance(model, objective_lib.Scorable):
    raise ValueError(
      f'TRAIN_EVAL: {type(model).__name__} has no eval_fn; see '
      'training.objective.Scorable'
    )
  return {
    group: scoring.LossScores(
      model,
      functools.partial(own.batches, eval_steps),
      own.config.batch_size,
    )
    for group, own in examples.items()
  }


def _output_scores(
  model: objective_lib.Objective,
  examples: Mapping[str, Examples],
  evaluator: InferEvaluator | None,
) -> dict[str, scoring.Evaluator]:
  if not examples:
    return {}
  if evaluator is None:
    raise ValueError(
      'INFER_EVAL: nobody to score it; bind train.infer_evaluator, such as '
      '@infer_eval.TextScores()'
    )
  return {group: evaluator(model, own) for group, own in examples.items()}
