"""`vidlm train`: any stage of the recipe, from its gin file.

The signature is the contract; gin only binds it (t5x's `train.train`).
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from absl import logging

from vidlm.core import (
  command_line,
  gin_record,
  launch,
  partitioning,
  ranges,
  run_files,
  run_folder,
  runs,
  trees,
  unread,
)
from vidlm.data.feed import batches as feed_lib
from vidlm.data.feed import validation
from vidlm.interop import fitting, weights
from vidlm.training import (
  checkpoints,
  checks,
  loop,
  optimizers,
  preemption,
  schedules,
  step,
  train_state,
)
from vidlm.training import objective as objective_lib
from vidlm.training import recipe as recipe_lib


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices as ('data', 'model'), and how parameters lie on them.

  Attributes:
    data: Size of the data axis; -1 takes what `model` leaves.
    model: Size of the model axis.
    fsdp: Also shard parameters and optimizer state over `data`.
    additional_rules: (logical axis, mesh axis) pairs that go first.
  """

  data: ranges.Axis = -1
  model: ranges.Axis = 1
  fsdp: bool = True
  additional_rules: tuple[tuple[str, str | None], ...] = ()

  def __post_init__(self) -> None:
    ranges.check(self)

  def partitioner(
    self, devices: Sequence[Any] | None = None
  ) -> partitioning.Partitioner:
    """Lays a mesh over the devices (all of them by default)."""
    mesh = partitioning.make_mesh(self.data, self.model, devices)
    rules = (
      *((name, axis) for name, axis in self.additional_rules),
      *partitioning.STANDARD_RULES,
    )
    return partitioning.Partitioner(mesh, rules, fsdp=self.fsdp)


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
  """When checkpoints are saved and how many stay (t5x's names).

  Attributes:
    period: Steps between checkpoints; the last step is always saved.
    keep: Newest checkpoints that stay on disk; None for all.
    keep_best: A score, such as 'cider': its best checkpoint stays too, and
      best.json says which it is.
  """

  period: Annotated[ranges.Size, ranges.Called('CHECKPOINT_PERIOD')] = 1000
  keep: ranges.Size | None = 2
  keep_best: str | None = None

  def __post_init__(self) -> None:
    ranges.check(self)


def train(
  *,
  model: objective_lib.Objective,
  model_dir: str,
  train_dataset_cfg: feed_lib.DatasetConfig,
  schedule: Sequence[tuple[str, schedules.Schedule | None]],
  optimizer: optimizers.OptimizerConfig,
  train_steps: int,
  mesh: MeshConfig = MeshConfig(),
  checkpoint_cfg: CheckpointConfig = CheckpointConfig(),
  initial_checkpoint_path: str | Mapping[str, str] | None = None,
  random_seed: int = 0,
  frozen_dtype: str = 'bfloat16',
  num_microbatches: int | None = None,
  grad_clip_norm: float | None = None,
  lr_mults: Sequence[tuple[str, float]] | None = None,
  wd_mults: Sequence[tuple[str, float]] | None = None,
  log_period: int = 50,
  peak_flops: float | None = None,
  eval_period: int | None = None,
  eval_steps: int | None = None,
  train_eval_dataset_cfg: feed_lib.DatasetConfig | None = None,
  infer_eval_dataset_cfg: feed_lib.DatasetConfig | None = None,
  infer_evaluator: validation.InferEvaluator | None = None,
  skip_steps: Sequence[int] = (),
  allow: Sequence[str] = (),
  trial_steps: int = 100,
) -> train_state.TrainState:
  """Trains what `schedule` names and freezes the rest.

  Args:
    model: A model with its loss.
    model_dir: Where config.gin, metrics and checkpoints go. A run that finds
      its own checkpoint there goes on from it.
    train_dataset_cfg: What to train on.
    schedule: Ordered (pattern, learning rate or None); None freezes.
    optimizer: `optim.Adafactor`, `optim.Sgd` or `optim.AdamW`.
    train_steps: Step at which to stop.
    mesh: Devices and sharding.
    checkpoint_cfg: When to save.
    initial_checkpoint_path: Parameters to start from: a path for the whole
      model, or {part: path} such as {'img': 'hf://google/siglip-...', 'llm':
      'hf://google/flan-t5-xl'}; see `interop.weights`.
    random_seed: Decides initialisation and dropout.
    frozen_dtype: What frozen parameters are kept in.
    num_microbatches: Parts that a batch is computed in, one after another, so
      that it needs the memory of one (t5x's `Trainer`); None for 1. The loss
      and its gradient stay the whole batch's, see `core.microbatches`.
    grad_clip_norm: Global norm over the trained part; None for no clipping.
    lr_mults: Ordered (pattern, factor) on the learning rate.
    wd_mults: Ordered (pattern, factor) on the weight decay.
    log_period: Steps between lines of metrics.
    peak_flops: One device's, for model FLOP utilisation.
    eval_period: Steps between evaluations, and one at the end; None or 0 for
      none.
    eval_steps: Batches of an evaluation of the loss; None for all examples.
    train_eval_dataset_cfg: What the loss is computed on then; its task may be
      one of `validation.find_tasks`, or None.
    infer_eval_dataset_cfg: What the model's own output is scored on, likewise.
    infer_evaluator: How that is scored: `TextScores` of
      `vidlm.evals.infer_eval`, or `RetrievalScores` of `dualenc.infer_eval`.
    skip_steps: Steps whose batch is left out, after a loss that was NaN.
    allow: What is not refused, by a word each: `run_folder.ALLOW`,
      'unfinished_warmup' and 'small_set'.
    trial_steps: A run as short as that is a trial: of its warm-up, if that is
      longer, is warned alone.

  Returns:
    The final state.

  Raises:
    ValueError: For a schedule that doesn't fit the parameters, a checkpoint
      of another shape, a batch that can't be split, or evaluations that can't
      be.
  """
  # gin hands over whatever it was given.
  if not isinstance(model_dir, str) or not model_dir:
    raise ValueError(f'MODEL_DIR={model_dir!r}: need the name of a folder')
  command_line.check_positive(EVAL_STEPS=eval_steps)
  how = recipe_lib.Loop(
    train_steps=train_steps,
    batch_size=train_dataset_cfg.batch_size,
    seed=random_seed,
    frozen_dtype=frozen_dtype,
    grad_clip_norm=grad_clip_norm,
    lr_mults=lr_mults,
    wd_mults=wd_mults,
    log_period=log_period,
    checkpoint_period=checkpoint_cfg.period,
    keep=checkpoint_cfg.keep,
    eval_period=eval_period,
    keep_best=checkpoint_cfg.keep_best,
    peak_flops=peak_flops,
    num_microbatches=num_microbatches,
    skip_steps=frozenset(skip_steps),
  )
  checks.check_warmup(schedule, train_steps, trial_steps, allow)
  dated = functools.partial(dataclasses.replace, is_new=not _began(model_dir))
  feed = feed_lib.make_feed(
    dated(train_dataset_cfg),
    train_steps,
    jax.process_index(),
    jax.process_count(),
  )
  if isinstance(feed, feed_lib.OwnFeed):
    checks.check_set(how.batch_size, feed.examples, model_dir, allow)
  evaluation = validation.make_evaluation(
    model,
    train_dataset_cfg.mixture_or_task,
    train_eval=train_eval_dataset_cfg and dated(train_eval_dataset_cfg),
    infer_eval=infer_eval_dataset_cfg,
    evaluator=infer_evaluator,
    period=eval_period or None,
    steps=eval_steps,
  )
  sets = feed.sets if isinstance(feed, feed_lib.OwnFeed) else ()
  run = run_folder.Run(model_dir, sets, run_folder.ALLOW in allow)
  initial = None
  if initial_checkpoint_path:
    initial = initial_params(model, initial_checkpoint_path)
  return loop.train_loop(
    recipe_lib.Recipe(model, schedule, optimizer, how, mesh),
    feed,
    model_dir,
    initial_params=initial,
    evaluation=evaluation,
    on_claim=run.check,
    on_start=functools.partial(
      _write_run,
      model_dir,
      _prompts(train_dataset_cfg, initial_checkpoint_path),
      sets,
    ),
  )


def _began(model_dir: str) -> bool:
  """Whether MODEL_DIR holds a run that this one goes on with."""
  try:
    checkpoints.find(model_dir)
  except FileNotFoundError:
    return False
  return True


def _write_run(
  model_dir: str, prompts: runs.Prompts, sets: Sequence[str], step: int
) -> None:
  """Describes the run, once it is known that it trains."""
  if jax.process_index() == 0:
    runs.write_run(model_dir, prompts, step, sets)


def _prompts(
  config: feed_lib.DatasetConfig, initial: str | Mapping[str, str] | None
) -> runs.Prompts:
  """What the model has been taught to be asked, in this run or before it."""
  before: runs.Prompts = {}
  if isinstance(initial, str) and not initial.startswith('hf://'):
    before = runs.prompts_of(initial)
  return {**before, **feed_lib.prompts(config)}


def initial_params(
  model: objective_lib.Objective, spec: str | Mapping[str, str]
) -> dict[str, Any]:
  """Opens what a run starts from, and says what of it is taken.

  Args:
    model: The objective.
    spec: INITIAL_CHECKPOINT_PATH.

  Returns:
    Nested arrays, read when they are placed on devices.

  Raises:
    FileNotFoundError: If there is nothing.
    ValueError: If it is damaged or doesn't fit the model or its tokenizer.
  """
  try:
    vocabulary_size = launch.macro('VOCABULARY').size
  except ValueError:  # called without gin
    vocabulary_size = None
  fitted = fitting.fit(
    weights.assemble(spec), step.parameter_shapes(model), vocabulary_size
  )
  logging.info('INITIAL_CHECKPOINT_PATH %s:\n  %s', spec, fitted)
  return trees.unflatten(fitted.leaves)


def _check_types() -> None:
  """Raises ValueError if a type is misspelt, before a model is built of it."""
  for name in ('DTYPE', 'FROZEN_DTYPE'):
    try:
      value = launch.macro(name)
    except ValueError:  # a recipe of one's own may do without it
      continue
    try:
      jnp.dtype(value)
    except TypeError:
      raise ValueError(
        f"{name}={value!r}: no such type; 'bfloat16' and 'float32' are"
      ) from None


def check_bindings(record: gin_record.Record, whole: bool = True) -> None:
  """Refuses bindings that no training reads; see `unread.check`."""
  macros = (*run_files.MACROS, run_files.PATH, run_files.VERSION)
  functions = [f'{train.__module__}.{train.__qualname__}']
  unread.check(record, functions, macros, whole, launch.is_ours)


def run(
  skip_steps: Sequence[int] = (),
  allow: Sequence[str] = (),
  trial_steps: int | None = None,
) -> int:
  """Trains as the parsed gin configuration says.

  Args:
    skip_steps: See `train`.
    allow: Likewise.
    trial_steps: Likewise.

  Returns:
    The exit status: 0, or 128 + the signal after a SIGTERM or a Ctrl-C whose
    checkpoint was saved.

  Raises:
    ValueError: If the configuration leaves a macro open, or as of `train`.
  """
  launch.require_values()
  _check_types()
  try:
    given: dict[str, Any] = {'skip_steps': skip_steps, 'allow': allow}
    given = {name: value for name, value in given.items() if value}
    if trial_steps is not None:
      given['trial_steps'] = trial_steps
    launch.bound(train)(**given)
  except preemption.Preempted as stopped:
    logging.warning('%s', stopped)
    return stopped.exit_code
  return 0
