"""The jitted training step, compiled once for all runs of the same shapes."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from vidlm.core import partitioning, trees
from vidlm.training import microbatches, optim, train_state
from vidlm.training import objective as objective_lib


@dataclasses.dataclass(frozen=True)
class Step:
  """A step with all it needs to be called or compiled ahead of time.

  Attributes:
    function: (state, batch, learning rates, key) -> (state, metrics); donates
      the state.
    state: Abstract state, with shardings.
    batch: Abstract batch, with shardings.
    learning_rates: Abstract rates.
    key: Abstract key.
  """

  function: Any
  state: train_state.TrainState
  batch: dict[str, jax.ShapeDtypeStruct]
  learning_rates: jax.ShapeDtypeStruct
  key: jax.ShapeDtypeStruct

  def compile(self) -> jax.stages.Compiled:
    """Compiles for the devices of the mesh, which need not be at hand."""
    return self.function.lower(
      self.state, self.batch, self.learning_rates, self.key
    ).compile()


@functools.lru_cache(maxsize=16)
def abstract_params(objective: objective_lib.Objective) -> Any:
  """Shapes and axis names of an objective's parameters, boxed."""
  return jax.eval_shape(objective.init, jax.random.key(0))


def parameter_shapes(
  objective: objective_lib.Objective,
) -> dict[str, jax.ShapeDtypeStruct]:
  """{name: shape} of an objective's parameters; nothing is allocated."""
  return trees.flatten(nn.unbox(abstract_params(objective)))


def build_train_step(
  objective: objective_lib.Objective,
  optimizer: optim.Optimizer,
  partitioner: partitioning.Partitioner,
  batch_size: int,
  frozen_dtype: str,
  num_microbatches: int | None = None,
) -> Step:
  """Builds the step, or returns that of an earlier run with equal arguments.

  Args:
    objective: A model with its loss.
    optimizer: From `optim.make`; its schedules don't enter the step.
    partitioner: Mesh and rules.
    batch_size: Examples of a global batch.
    frozen_dtype: What frozen leaves are kept in.
    num_microbatches: Parts that a batch is computed in, see
      `core.microbatches`; None for one.

  Raises:
    ValueError: If the batch or the objective can't be split so.
  """
  number = microbatches.checked(
    num_microbatches, objective, batch_size, partitioner.mesh.shape['data']
  )
  return _build(
    objective,
    optimizer.static,
    len(optimizer.groups),
    partitioner,
    batch_size,
    frozen_dtype,
    number,
  )


@functools.lru_cache(maxsize=16)
def _build(
  objective: objective_lib.Objective,
  optimizer: optim.Optimizer,
  groups: int,
  partitioner: partitioning.Partitioner,
  batch_size: int,
  frozen_dtype: str,
  num_microbatches: int,
) -> Step:
  state = abstract_state(objective, optimizer, partitioner, frozen_dtype)
  batch = {
    name: jax.ShapeDtypeStruct(
      x.shape, x.dtype, sharding=partitioner.batch_sharding
    )
    for name, x in objective.batch_shapes(batch_size).items()
  }
  whole = partitioner.replicated
  rates = jax.ShapeDtypeStruct((groups,), jnp.float32, sharding=whole)
  key = jax.eval_shape(lambda: jax.random.key(0))
  key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
  shardings = jax.tree.map(lambda x: x.sharding, state)

  gradients = microbatches.whole(objective)
  if num_microbatches > 1 and isinstance(objective, objective_lib.Splittable):
    split = microbatches.Split(num_microbatches, partitioner)
    gradients = microbatches.in_parts(objective, split, shardings.trained)

  def step(state, batch, learning_rates, key):
    return _step(gradients, optimizer, state, batch, learning_rates, key)

  function = jax.jit(step, donate_argnums=0, out_shardings=(shardings, whole))
  return Step(function, state, batch, rates, key)


def _step(
  gradients: microbatches.Gradients,
  optimizer: optim.Optimizer,
  state: train_state.TrainState,
  batch: dict[str, Array],
  learning_rates: Array,
  key: Array,
) -> tuple[train_state.TrainState, dict[str, Array]]:
  key = jax.random.fold_in(key, state.step)
  (loss, metrics), grads = gradients(state.trained, state.frozen, batch, key)
  updates, opt_state, norms = optimizer.update(
    grads, state.opt_state, state.trained, learning_rates
  )
  # A step that is not finite leaves the state alone, so that what is saved
  # last is sound; the loop stops at it.
  finite = jnp.isfinite(loss) & jnp.isfinite(norms['grad_norm'])
  keep = functools.partial(jnp.where, finite)
  state = state.replace(
    step=state.step + 1,
    trained=jax.tree.map(
      keep, optax.apply_updates(state.trained, updates), state.trained
    ),
    opt_state=jax.tree.map(keep, opt_state, state.opt_state),
  )
  # The objective may tell what of its loss stands apart, such as z-loss.
  return state, {'loss': loss, **metrics, **norms}


def abstract_state(
  objective: objective_lib.Objective,
  optimizer: optim.Optimizer,
  partitioner: partitioning.Partitioner,
  frozen_dtype: str,
) -> train_state.TrainState:
  """Shapes, types and shardings of the state; nothing is allocated."""
  boxed = abstract_params(objective)
  shardings = partitioner.shardings(boxed)
  flat = trees.flatten(nn.unbox(boxed))
  shapes = jax.eval_shape(
    lambda p: train_state.create(p, optimizer, frozen_dtype), flat
  )

  def place(tree, by_name):
    return {
      name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=by_name[name])
      for name, x in tree.items()
    }

  opt = partitioning.opt_shardings(optimizer.tx, shapes.trained, shardings)
  return train_state.TrainState(
    jax.ShapeDtypeStruct((), jnp.int32, sharding=partitioner.replicated),
    place(shapes.trained, shardings),
    place(shapes.frozen, shardings),
    jax.tree.map(
      lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
      shapes.opt_state,
      opt,
    ),
  )


def initial_state(
  objective: objective_lib.Objective,
  optimizer: optim.Optimizer,
  partitioner: partitioning.Partitioner,
  frozen_dtype: str,
  seed: int,
  loaded: Mapping[str, Any],
) -> train_state.TrainState:
  """The state at step 0: loaded parameters where there are, fresh elsewhere.

  Args:
    objective: A model with its loss.
    optimizer: What trains.
    partitioner: Where the state goes.
    frozen_dtype: What frozen leaves are cast to.
    seed: Decides fresh parameters.
    loaded: {name: array} of parameters to start from; may be empty. Arrays
      that `np.asarray` reads are read one at a time.
  """
  abstract = abstract_state(objective, optimizer, partitioner, frozen_dtype)
  placed = {
    name: _place(value, abstract, name) for name, value in loaded.items()
  }
  create = _initializer(objective, optimizer.static, partitioner, frozen_dtype)
  with partitioner.activate():
    return create(make_key(seed, partitioner), placed)


def make_key(seed: int, partitioner: partitioning.Partitioner) -> Array:
  """A random key on all devices; device_put can't reach other processes'."""
  return _key_maker(partitioner.replicated)(np.uint32(seed))


@functools.lru_cache(maxsize=16)
def _key_maker(sharding: jax.sharding.NamedSharding) -> Any:
  return jax.jit(jax.random.key, out_shardings=sharding)


@functools.lru_cache(maxsize=16)
def _initializer(
  objective: objective_lib.Objective,
  optimizer: optim.Optimizer,
  partitioner: partitioning.Partitioner,
  frozen_dtype: str,
) -> Any:
  """(key, {name: loaded array}) -> state; one compilation for equal runs."""
  abstract = abstract_state(objective, optimizer, partitioner, frozen_dtype)
  shardings = jax.tree.map(lambda x: x.sharding, abstract)

  def create(key, loaded):
    fresh = trees.flatten(nn.unbox(objective.init(key)))
    return train_state.create({**fresh, **loaded}, optimizer, frozen_dtype)

  return jax.jit(create, out_shardings=shardings)


def _place(value: Any, abstract: train_state.TrainState, name: str) -> Array:
  target = {**abstract.trained, **abstract.frozen}[name]
  value = np.asarray(value)  # read here if it was not yet
  return jax.make_array_from_callback(
    value.shape, target.sharding, lambda index: value[index]
  )
