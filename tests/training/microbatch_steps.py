"""Some steps of a splittable objective, whole or in parts, for comparison."""

import dataclasses
from typing import Any

import jax
import numpy as np

from vidlm.core import partitioning
from vidlm.training import optim, step

# Updates proportional to gradients: Adam's would blow up the rounding of a
# gradient that is zero, such as that of a key's bias.
SGD = optim.Sgd(momentum=0.9)
ALL = (('.*', optim.constant(0.05)),)


@dataclasses.dataclass(frozen=True)
class Run:
  """What steps left behind.

  Attributes:
    metrics: Of each step.
    trained: {name: value} after the last.
    compiled: The step.
  """

  metrics: list[dict[str, float]]
  trained: dict[str, np.ndarray]
  compiled: Any

  @property
  def temp_bytes(self) -> int:
    """Bytes of temporaries on each device."""
    return self.compiled.memory_analysis().temp_size_in_bytes


def build(objective, batch_size, parts, mesh=(1, 1), schedule=ALL):
  """A partitioner and the step on a mesh of data x model devices."""
  devices = jax.devices()[: mesh[0] * mesh[1]]
  partitioner = partitioning.Partitioner(
    partitioning.make_mesh(*mesh, devices), fsdp_min_size=64
  )
  tx = optim.make(list(step.parameter_shapes(objective)), schedule, SGD)
  built = step.build_train_step(
    objective, tx, partitioner, batch_size, 'float32', parts
  )
  return partitioner, tx, built


def train(objective, params, batches, parts, mesh=(1, 1), schedule=ALL):
  """Trains on batches, one a step, from flat parameters."""
  size = len(next(iter(batches[0].values())))
  partitioner, tx, built = build(objective, size, parts, mesh, schedule)
  state = step.initial_state(objective, tx, partitioner, 'float32', 0, params)
  key, metrics = step.make_key(0, partitioner), []
  with partitioner.activate():
    compiled = built.compile()
    for i, batch in enumerate(batches):
      state, scalars = compiled(
        state, partitioner.shard_batch(batch), tx.learning_rates(i), key
      )
      metrics.append({name: float(x) for name, x in scalars.items()})
  return Run(metrics, jax.device_get(state.trained), compiled)


def random_params(objective, scale=0.2):
  """Flat random weights; quicker than compiling an initialisation."""
  rng = np.random.default_rng(1)
  return {
    name: (scale * rng.normal(size=x.shape) + name.endswith('scale')).astype(
      'float32'
    )
    for name, x in step.parameter_shapes(objective).items()
  }


def assert_same(run, whole, tolerance=1e-5):
  """Equal within float32 rounding: what is logged, and what was learnt."""
  for got, want in zip(run.metrics, whole.metrics, strict=True):
    assert got.keys() == want.keys()
    for name, value in want.items():
      np.testing.assert_allclose(got[name], value, rtol=tolerance, err_msg=name)
  for name, value in whole.trained.items():
    np.testing.assert_allclose(
      run.trained[name], value, rtol=tolerance, atol=tolerance, err_msg=name
    )


def assert_moved(run, params):
  """Each trained leaf: else equality would say little."""
  for name, value in run.trained.items():
    moved = np.abs(value - params[name]).max()
    if not name.endswith('key/bias'):  # It moves a whole row of logits.
      assert moved > 1e-4, (name, moved)
