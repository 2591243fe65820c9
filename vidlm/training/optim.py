"""SCHEDULE: which parameters train, how fast, and by which optimizer.

One ordered list of (pattern, schedule) decides everything about a parameter;
None freezes it. Optimizers see a flat dict of the trained leaves only, so a
frozen leaf has no gradient, no state, no part in clipping, decay or norms
(big_vision's `optax.py`; its `lr_mults`, `wd_mults` and `grad_clip_norm`).
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from vidlm.core import trees
from vidlm.training import optimizers, schedules

# What a recipe names: `@optim.warmup_rsqrt()`, `@optim.Adafactor()`.
Adafactor = optimizers.Adafactor
AdamW = optimizers.AdamW
Sgd = optimizers.Sgd
constant = schedules.constant
warmup_cosine = schedules.warmup_cosine
warmup_linear = schedules.warmup_linear
warmup_rsqrt = schedules.warmup_rsqrt

Rules = Sequence[tuple[str, float]]

# Leaves whose leading axis counts layers, as scanned blocks are stored.
STACKED = r'(.*/)?(encoderblock|layers)/.*'


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """What `make` decided about every parameter.

  Hashable; two runs that differ in schedules only share one compiled step,
  because learning rates enter it as data (see `static`).

  Attributes:
    config: The optimizer.
    groups: (pattern, schedule) of the rules that train something.
    trained: Names that train.
    frozen: Names that don't.
    group_of: Index into `groups`, one a trained name.
    lr_mults: Factor on the learning rate, one a trained name.
    wd_mults: Factor on the weight decay, one a trained name.
    grad_clip_norm: Global norm over the trained part, or None.
    stacked: Pattern of the names whose leading axis counts layers.
  """

  config: optimizers.OptimizerConfig
  groups: tuple[tuple[str, schedules.Schedule], ...]
  trained: tuple[str, ...]
  frozen: tuple[str, ...]
  group_of: tuple[int, ...]
  lr_mults: tuple[float, ...]
  wd_mults: tuple[float, ...]
  grad_clip_norm: float | None = None
  stacked: str = STACKED

  @functools.cached_property
  def tx(self) -> optax.GradientTransformation:
    """The transformation of trained gradients, before rate and decay."""
    pattern = re.compile(self.stacked)
    return self.config.transform(lambda n: bool(pattern.fullmatch(n)))

  @property
  def static(self) -> 'Optimizer':
    """This optimizer without its schedules: what a compiled step depends on."""
    return dataclasses.replace(self, groups=())

  def is_trained(self, name: str) -> bool:
    """Whether SCHEDULE trains this name."""
    return name in self._trained_set

  @functools.cached_property
  def _trained_set(self) -> frozenset[str]:
    return frozenset(self.trained)

  def learning_rates(self, step: int) -> Float[np.ndarray, 'groups']:
    """Evaluates the schedules on the host, for update number `step` + 1."""
    return np.array([fn(step) for _, fn in self.groups], np.float32)

  def labels(self) -> list[str]:
    """Names the groups for logs: 'img' for 'img/.*'."""
    short = [p.removesuffix('.*').strip('/') or 'all' for p, _ in self.groups]
    return [
      s if short.count(s) == 1 else p
      for s, (p, _) in zip(short, self.groups, strict=True)
    ]

  def update(
    self,
    grads: Mapping[str, Array],
    opt_state: Any,
    params: Mapping[str, Array],
    learning_rates: Float[Array, 'groups'],
  ) -> tuple[dict[str, Array], Any, dict[str, Float[Array, '']]]:
    """Turns gradients into updates to add.

    Args:
      grads: Gradients of the trained leaves.
      opt_state: State of `tx`.
      params: The trained leaves.
      learning_rates: One a group.

    Returns:
      Updates, the new state, and {'grad_norm', 'update_norm'} of the trained
      part; `grad_norm` is taken before clipping.
    """
    norm = _norm(grads)
    if self.grad_clip_norm is not None:
      scale = jnp.minimum(1.0, self.grad_clip_norm / jnp.maximum(norm, 1e-16))
      grads = {name: g * scale.astype(g.dtype) for name, g in grads.items()}
    directions, opt_state = self.tx.update(dict(grads), opt_state, dict(params))
    updates = {}
    for i, name in enumerate(self.trained):
      u, decay = directions[name], self.config.weight_decay * self.wd_mults[i]
      if decay:
        u = u + decay * params[name]
      rate = learning_rates[self.group_of[i]] * self.lr_mults[i]
      updates[name] = (-rate * u).astype(params[name].dtype)
    norms = {'grad_norm': norm, 'update_norm': _norm(updates)}
    return updates, opt_state, norms


def make(
  names: Sequence[str],
  schedule: Sequence[tuple[str, schedules.Schedule | None]],
  optimizer: optimizers.OptimizerConfig,
  grad_clip_norm: float | None = None,
  lr_mults: Rules | None = None,
  wd_mults: Rules | None = None,
  stacked: str = STACKED,
) -> Optimizer:
  """Decides for every parameter whether and how it trains.

  Args:
    names: All parameters.
    schedule: SCHEDULE: ordered (pattern, schedule); None freezes.
    optimizer: Adafactor(), Sgd() or AdamW().
    grad_clip_norm: Clips the gradient by its norm over the trained part.
    lr_mults: Ordered (pattern, factor) on the learning rate; must cover all.
    wd_mults: Ordered (pattern, factor) on the weight decay; must cover all. By
      default kernels decay, and embeddings, biases and norms do not.
    stacked: Pattern of the names whose leading axis counts layers.

  Returns:
    The optimizer for these names.

  Raises:
    ValueError: A name is uncovered, a pattern unused, nothing trains, a
      schedule doesn't map steps to numbers, or a factor is out of range.
  """
  names = sorted(names)
  chosen = trees.match_rules(
    [(pattern, i) for i, (pattern, _) in enumerate(schedule)],
    names,
    what='SCHEDULE',
  )
  active = [i for i, (_, fn) in enumerate(schedule) if fn is not None]
  trained = tuple(n for n in names if chosen[n] in active)
  if not trained:
    raise ValueError(
      'SCHEDULE: every parameter is frozen; give at least one pattern a'
      f' schedule instead of None (patterns: {[p for p, _ in schedule]}).'
    )
  groups = tuple((p, fn) for p, fn in schedule if fn is not None)
  for pattern, fn in groups:
    _check_schedule(pattern, fn)
  lrs = _factors(lr_mults, names, 'lr_mults', lambda name: 1.0)
  zero = [(pattern, m) for pattern, m in lr_mults or () if not m > 0]
  if zero:
    raise ValueError(
      f'lr_mults: {zero[0][0]!r} has factor {zero[0][1]}; factors are'
      ' > 0, and a part is frozen by None in SCHEDULE.'
    )
  wds = _factors(
    wd_mults,
    names,
    'wd_mults',
    lambda name: float(bool(re.fullmatch('.*kernel', name))),
  )
  return Optimizer(
    config=optimizer,
    groups=groups,
    trained=trained,
    frozen=tuple(n for n in names if chosen[n] not in active),
    group_of=tuple(active.index(chosen[n]) for n in trained),
    lr_mults=tuple(lrs[n] for n in trained),
    wd_mults=tuple(wds[n] for n in trained),
    grad_clip_norm=grad_clip_norm,
    stacked=stacked,
  )


def _norm(tree: Mapping[str, Array]) -> Float[Array, '']:
  return jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in tree.values()))


def _factors(
  rules: Rules | None,
  names: Sequence[str],
  what: str,
  default: Callable[[str], float],
) -> dict[str, float]:
  if rules is None:
    return {name: default(name) for name in names}
  matched = trees.match_rules(rules, names, what=what)
  return {name: float(value) for name, value in matched.items()}


def _check_schedule(pattern: str, fn: Any) -> None:
  try:
    float(fn(0))
  except TypeError as e:
    raise ValueError(
      f'SCHEDULE: {pattern!r} has {fn!r}, which maps no step to a learning'
      ' rate; call the schedule, as in @optim.warmup_rsqrt().'
    ) from e
