"""What a run is: `plan` counts it, `loop` trains it."""

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any, Protocol, runtime_checkable

import jax

from vidlm.core import partitioning, ranges
from vidlm.training import objective as objective_lib
from vidlm.training import optim, optimizers, schedules, step


@dataclasses.dataclass(frozen=True)
class Loop:
  """How a loop runs: its length, seed and periods, in steps.

  Attributes:
    train_steps: Where to stop.
    batch_size: Examples of a global batch.
    seed: Decides fresh parameters and dropout.
    frozen_dtype: What frozen parameters are kept in.
    grad_clip_norm: Global norm over the trained part; None for no clipping.
    lr_mults: Ordered (pattern, factor) on the learning rate.
    wd_mults: Ordered (pattern, factor) on the weight decay.
    log_period: Between lines of metrics.
    checkpoint_period: Between checkpoints; the last step is always saved.
    keep: Newest checkpoints that stay; None for all.
    eval_period: Between evaluations, the last step always; None for none.
    keep_best: The score whose best checkpoint stays too; None for none.
    peak_flops: One device's, for model FLOP utilisation.
    num_microbatches: Parts that a batch is computed in; None for one.
    skip_steps: Steps whose batch is left out: they count, and change nothing.
  """

  train_steps: Annotated[ranges.Size, ranges.Called('TRAIN_STEPS')]
  batch_size: Annotated[ranges.Size, ranges.Called('BATCH_SIZE')]
  seed: Annotated[ranges.Seed, ranges.Called('RANDOM_SEED')] = 0
  frozen_dtype: str = 'bfloat16'
  grad_clip_norm: (
    Annotated[ranges.Positive, ranges.Called('GRAD_CLIP_NORM')] | None
  ) = None
  lr_mults: optim.Rules | None = None
  wd_mults: optim.Rules | None = None
  log_period: Annotated[ranges.Size, ranges.Called('LOG_PERIOD')] = 50
  checkpoint_period: Annotated[
    ranges.Size, ranges.Called('CHECKPOINT_PERIOD')
  ] = 1000
  keep: ranges.Size | None = 2
  eval_period: Annotated[ranges.Count, ranges.Called('EVAL_PERIOD')] | None = (
    None
  )
  keep_best: str | None = None
  peak_flops: Annotated[ranges.Positive, ranges.Called('PEAK_FLOPS')] | None = (
    None
  )
  num_microbatches: int | None = None
  skip_steps: frozenset[int] = frozenset()

  def __post_init__(self) -> None:
    ranges.check(self)


@runtime_checkable
class Mesh(Protocol):
  """Devices as ('data', 'model'); -1 takes what the other leaves."""

  @property
  def data(self) -> int:
    """Size of the data axis."""

  @property
  def model(self) -> int:
    """Size of the model axis."""

  def partitioner(
    self, devices: Sequence[Any] | None = None
  ) -> partitioning.Partitioner:
    """Lays a mesh over the devices (all of them by default)."""


@dataclasses.dataclass(frozen=True)
class Recipe:
  """What trains, on which devices, and how the loop runs.

  Attributes:
    objective: A model with its loss.
    schedule: SCHEDULE: ordered (pattern, learning rate or None).
    optimizer: `optim.Adafactor`, `optim.Sgd` or `optim.AdamW`.
    loop: How the loop runs.
    mesh: Devices and sharding.
  """

  objective: objective_lib.Objective
  schedule: Sequence[tuple[str, schedules.Schedule | None]]
  optimizer: optimizers.OptimizerConfig
  loop: Loop
  mesh: Mesh

  def shapes(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns {name: shape} of all parameters, without making any."""
    return step.parameter_shapes(self.objective)

  def make_optimizer(self) -> optim.Optimizer:
    """Decides for every parameter whether and how it trains.

    Raises:
      ValueError: If SCHEDULE doesn't fit the parameters.
    """
    return optim.make(
      sorted(self.shapes()),
      self.schedule,
      self.optimizer,
      self.loop.grad_clip_norm,
      self.loop.lr_mults,
      self.loop.wd_mults,
    )
