"""Scores of the parameters as they are, while a run goes on.

A run may hold its parameters in parts, on the devices of many processes. So
each evaluation is the work of all of them: every process reads its share of
the examples, one program runs on the whole mesh with the very arrays that
train, and every process gets all results, hence the same scores.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import Array, Int, Shaped

from vidlm.core import names as names_lib
from vidlm.core import partitioning, processes, trees
from vidlm.training import objective as objective_lib
from vidlm.training import step

# How much longer one process may compile than another.
_COMPILE_SECONDS = 3600.0
# Last parts of names of scores that fall as a model gets better.
_LOWER = ('loss', 'mean_rank', 'median_rank')

# This process's rows of a global batch: their numbers among all examples (-1
# for one that only fills up), and the arrays.
Batch = tuple[Int[np.ndarray, 'b'], dict[str, np.ndarray]]


@runtime_checkable
class Evaluator(Protocol):
  """Scores parameters; all processes call it together."""

  def names(self) -> Sequence[str]:
    """Names the scores, before there are any."""

  def __call__(
    self, params: Mapping[str, Any], partitioner: partitioning.Partitioner
  ) -> Mapping[str, float]:
    """Scores parameters.

    Args:
      params: Nested arrays on the mesh, as the loop holds them.
      partitioner: Its mesh, active.
    """


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
  """The evaluators of a run; their scores are called GROUP/NAME.

  Attributes:
    evaluators: {group: evaluator}, such as 'train_eval'.
  """

  evaluators: Mapping[str, Evaluator]

  def names(self) -> list[str]:
    """Names all scores."""
    return [
      f'{group}/{name}'
      for group, evaluator in self.evaluators.items()
      for name in evaluator.names()
    ]

  def __call__(
    self, params: Mapping[str, Any], partitioner: partitioning.Partitioner
  ) -> dict[str, float]:
    """Scores parameters; see `Evaluator`."""
    return {
      f'{group}/{name}': value
      for group, evaluator in self.evaluators.items()
      for name, value in evaluator(params, partitioner).items()
    }


def find_name(wanted: str, names: Sequence[str]) -> str:
  """Finds the score that KEEP_BEST means.

  Args:
    wanted: A score's whole name, or the end of one: 'cider' for
      'infer_eval/cider'.
    names: What all scores are called.

  Raises:
    ValueError: If there is none, or more than one.
  """
  ends = [n for n in names if n == wanted or n.endswith(f'/{wanted}')]
  if len(ends) == 1:
    return ends[0]
  if ends:
    raise ValueError(f'KEEP_BEST={wanted!r}: which of {", ".join(ends)}?')
  if not names:
    raise ValueError(
      f'KEEP_BEST={wanted!r}: nothing is scored; give EVAL_PERIOD, and '
      'TRAIN_EVAL or INFER_EVAL'
    )
  raise ValueError(names_lib.unknown('KEEP_BEST', wanted, names))


def lower_is_better(name: str) -> bool:
  """Whether a score falls as a model gets better: losses and ranks."""
  return name.rsplit('/', 1)[-1].endswith(_LOWER)


@dataclasses.dataclass(frozen=True, eq=False)
class LossScores:
  """The loss on examples that don't train; an `Evaluator`.

  Attributes:
    objective: What trains.
    batches: Begins anew: this process's rows of each global batch.
    batch_size: Rows of a global batch.
  """

  objective: objective_lib.Scorable
  batches: Callable[[], Iterator[Batch]]
  batch_size: int

  def names(self) -> list[str]:
    """See `Evaluator`."""
    objective = self.objective
    params = trees.unflatten(step.parameter_shapes(objective))
    real = jax.ShapeDtypeStruct((self.batch_size,), bool)
    shapes = objective.batch_shapes(self.batch_size)
    return sorted(jax.eval_shape(objective.eval_fn, params, shapes, real))

  def __call__(
    self, params: Mapping[str, Any], partitioner: partitioning.Partitioner
  ) -> dict[str, float]:
    """See `Evaluator`."""
    program = _program(self.objective.eval_fn, partitioner)
    sums: dict[str, np.ndarray] = {}
    for numbers, batch in self.batches():
      placed = partitioner.shard_batch({**batch, _REAL: numbers >= 0})
      for name, pair in jax.device_get(program(params, placed)).items():
        mean, weight = np.asarray(pair, np.float64)
        sums[name] = sums.get(name, 0) + np.array([mean * weight, weight])
    return {
      name: float(total / weight) if weight else float('nan')
      for name, (total, weight) in sums.items()
    }


# What stands beside the batch's own arrays while it is placed.
_REAL, _NUMBER = 'row_is_real', 'row_number'


@functools.lru_cache(maxsize=16)
def _program(
  eval_fn: Callable[..., Any], partitioner: partitioning.Partitioner
) -> Callable[..., Any]:
  def score(params, batch):
    batch = dict(batch)
    real = batch.pop(_REAL)
    return eval_fn(params, batch, real)

  return _Together(score, partitioner)


def rows(
  function: Callable[..., Array],
  params: Mapping[str, Any],
  batches: Iterator[Batch],
  count: int,
  partitioner: partitioning.Partitioner,
) -> Shaped[np.ndarray, '{count} ...']:
  """Applies a function to every example; all processes get all results.

  Args:
    function: (params, batch) -> an array with a row an example. Hashable and
      the same at every call, so that it is compiled once.
    params: Nested arrays on the mesh.
    batches: This process's rows of each global batch.
    count: Number of examples.
    partitioner: Mesh and rules.

  Raises:
    ValueError: If an example is missing.
  """
  program = _numbered(function, partitioner)
  out: np.ndarray | None = None
  seen = np.zeros(count, bool)
  for numbers, batch in batches:
    numbers = np.asarray(numbers, np.int32)
    placed = partitioner.shard_batch({**batch, _NUMBER: numbers})
    numbers, results = jax.device_get(program(params, placed))
    if out is None:
      out = np.zeros((count, *results.shape[1:]), results.dtype)
    real = numbers >= 0
    out[numbers[real]] = results[real]
    seen[numbers[real]] = True
  if out is None or not seen.all():
    raise ValueError(f'{count - int(seen.sum())} of {count} examples lack')
  return out


@functools.lru_cache(maxsize=16)
def _numbered(
  function: Callable[..., Array], partitioner: partitioning.Partitioner
) -> Callable[..., Any]:
  def apply(params, batch):
    batch = dict(batch)
    # The numbers travel along: which process's rows stand where in a global
    # batch is the mesh's affair.
    numbers = batch.pop(_NUMBER)
    return numbers, function(params, batch)

  return _Together(apply, partitioner)


class _Together:
  """A program of all processes, whose results each of them gets whole."""

  def __init__(
    self,
    function: Callable[..., Any],
    partitioner: partitioning.Partitioner,
  ):
    self._jitted = jax.jit(function, out_shardings=partitioner.replicated)
    self._compiled: dict[Any, Any] = {}

  def __call__(self, params: Mapping[str, Any], batch: Mapping[str, Any]):
    if jax.process_count() == 1:
      return self._jitted(params, batch)
    key = tuple((name, x.shape) for name, x in sorted(batch.items()))
    if key not in self._compiled:
      self._compiled[key] = self._jitted.lower(params, batch).compile()
      # A collective that another process is late for would give up.
      processes.wait_for_all(f'scoring_{next(_places)}', _COMPILE_SECONDS)
    return self._compiled[key](params, batch)


_places = iter(range(1 << 62))  # a barrier's name serves once
