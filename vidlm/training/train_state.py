"""What a run carries from step to step."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from vidlm.core import trees
from vidlm.training import optim


class TrainState(flax.struct.PyTreeNode):
  """Parameters in two flat dicts, and optimizer state of the trained ones.

  Its leaves are arrays, or what stands for them: shapes, shardings.

  Attributes:
    step: Updates done so far, int32.
    trained: {name: float32 master copy}.
    frozen: {name: value in the frozen dtype}; no gradient, no state.
    opt_state: The optimizer's, for the trained leaves.
  """

  step: Any
  trained: dict[str, Any]
  frozen: dict[str, Any]
  opt_state: Any

  @property
  def params(self) -> dict[str, Any]:
    """All parameters, nested."""
    return trees.unflatten({**self.trained, **self.frozen})


def create(
  flat_params: Mapping[str, Any],
  optimizer: optim.Optimizer,
  frozen_dtype: str = 'bfloat16',
) -> TrainState:
  """Splits parameters and makes optimizer state; traceable.

  Args:
    flat_params: {name: value}.
    optimizer: What trains.
    frozen_dtype: What frozen floating leaves are cast to, once.

  Returns:
    The state at step 0.
  """
  frozen_type = jnp.dtype(frozen_dtype)
  trained = {
    name: jnp.asarray(flat_params[name], jnp.float32)
    for name in optimizer.trained
  }
  frozen = {
    name: jnp.asarray(flat_params[name], frozen_type)
    for name in optimizer.frozen
  }
  return TrainState(
    jnp.zeros((), jnp.int32), trained, frozen, optimizer.tx.init(trained)
  )


def to_state_dict(state: TrainState) -> dict[str, Any]:
  """t5x's layout: {target, state: {step, param_states}}."""
  leaves = jax.tree_util.tree_flatten_with_path(state.opt_state)[0]
  return {
    'target': state.params,
    'state': {
      'step': state.step,
      'param_states': {_name(path): leaf for path, leaf in leaves},
    },
  }


def from_state_dict(
  saved: Mapping[str, Any], abstract: TrainState
) -> TrainState:
  """The inverse of `to_state_dict`, with the structure of `abstract`."""
  flat = trees.flatten(saved['target'])
  paths, treedef = jax.tree_util.tree_flatten_with_path(abstract.opt_state)
  states = saved['state']['param_states']
  return TrainState(
    saved['state']['step'],
    {name: flat[name] for name in abstract.trained},
    {name: flat[name] for name in abstract.frozen},
    jax.tree_util.tree_unflatten(
      treedef, [states[_name(path)] for path, _ in paths]
    ),
  )


def _name(path: Any) -> str:
  # Dots, as t5x names its arrays: a slash would be a folder.
  return jax.tree_util.keystr(path, simple=True, separator='.').replace(
    '/', '.'
  )
