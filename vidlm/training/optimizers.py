"""Adafactor, SGD and AdamW over a flat dict of leaves, without a rate."""

import dataclasses
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import optax

from vidlm.core import ranges


@runtime_checkable
class OptimizerConfig(Protocol):
  """A frozen dataclass that builds a transformation of flat gradients."""

  @property
  def weight_decay(self) -> float:
    """Decoupled decay, times the learning rate, where `wd_mults` says."""

  def transform(
    self, stacked: Callable[[str], bool]
  ) -> optax.GradientTransformation:
    """Builds the transformation, without learning rate and decay."""


@dataclasses.dataclass(frozen=True)
class Adafactor:
  """Adafactor as in t5x (`t5x/adafactor.py`), one block a layer.

  `decay_rate` is the exponent of beta2_t = 1 - t^-0.8. Unlike t5x, updates are
  not multiplied by the parameters' scale unless asked: with it, the paper's
  peak of 1e-4 would be a far smaller step.

  Attributes:
    decay_rate: Exponent of the second moment's decay.
    clipping_threshold: Largest root mean square of a block's update, or None.
    min_dim_size_to_factor: Matrices with a smaller side keep full moments.
    multiply_by_parameter_scale: Scale by max(RMS(parameter), 1e-3).
    epsilon: Added to squared gradients.
    momentum: First moment's decay; None keeps none.
    weight_decay: Decoupled weight decay.
  """

  decay_rate: ranges.Positive = 0.8
  clipping_threshold: ranges.Positive | None = 1.0
  min_dim_size_to_factor: ranges.Size = 128
  multiply_by_parameter_scale: bool = False
  epsilon: ranges.Factor = 1e-30
  momentum: ranges.Share | None = None
  weight_decay: ranges.Factor = 0.0

  def __post_init__(self) -> None:
    ranges.check(self)

  def transform(
    self, stacked: Callable[[str], bool]
  ) -> optax.GradientTransformation:
    """See `OptimizerConfig`."""
    parts = [
      optax.scale_by_factored_rms(
        decay_rate=self.decay_rate,
        epsilon=self.epsilon,
        min_dim_size_to_factor=self.min_dim_size_to_factor,
      )
    ]
    if self.clipping_threshold is not None:
      parts.append(optax.clip_by_block_rms(self.clipping_threshold))
    if self.multiply_by_parameter_scale:
      parts.append(optax.scale_by_param_block_rms(1e-3))
    if self.momentum:
      parts.append(optax.ema(self.momentum, debias=False))
    return per_block(optax.chain(*parts), stacked)


@dataclasses.dataclass(frozen=True)
class Sgd:
  """Stochastic gradient descent with momentum (paper section 5.2, Table 4)."""

  momentum: ranges.Share | None = 0.9
  nesterov: bool = False
  weight_decay: ranges.Factor = 0.0

  def __post_init__(self) -> None:
    ranges.check(self)

  def transform(
    self, stacked: Callable[[str], bool]
  ) -> optax.GradientTransformation:
    """See `OptimizerConfig`."""
    if not self.momentum:
      return optax.identity()
    return optax.trace(self.momentum, self.nesterov)


@dataclasses.dataclass(frozen=True)
class AdamW:
  """Adam with decoupled weight decay (paper section D.2: 0.9, 0.999, 0.01)."""

  b1: ranges.Share = 0.9
  b2: ranges.Share = 0.999
  eps: ranges.Factor = 1e-8
  weight_decay: ranges.Factor = 0.01

  def __post_init__(self) -> None:
    ranges.check(self)

  def transform(
    self, stacked: Callable[[str], bool]
  ) -> optax.GradientTransformation:
    """See `OptimizerConfig`."""
    return optax.scale_by_adam(self.b1, self.b2, self.eps)


def per_block(
  tx: optax.GradientTransformation, stacked: Callable[[str], bool]
) -> optax.GradientTransformation:
  """Applies `tx` to every leaf alone, and to every layer of a stacked leaf.

  So a scanned model trains as its unrolled twin: root mean squares are taken
  per layer, and moments are never factored over the layer axis.

  Args:
    tx: A transformation whose state depends on one leaf at a time.
    stacked: Whether a name's leading axis counts layers.

  Returns:
    A transformation of {name: leaf}, whose state is {name: state of tx}.
  """

  def over(fn, name):
    return jax.vmap(fn) if stacked(name) else fn

  def init(params):
    return {name: over(tx.init, name)(p) for name, p in params.items()}

  def update(updates, state, params=None):
    if params is None:
      raise ValueError(optax.NO_PARAMS_MSG)
    out = {
      name: over(tx.update, name)(u, state[name], params[name])
      for name, u in updates.items()
    }
    return {n: u for n, (u, _) in out.items()}, {
      n: s for n, (_, s) in out.items()
    }

  return optax.GradientTransformation(init, update)
