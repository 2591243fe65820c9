"""A batch's gradient, computed in parts (t5x's `num_microbatches`).

Only one part's activations are held at a time. Loss, metrics and gradient are
those of the whole batch up to rounding: a part's gradient is that of its
outputs, weighed by the gradient of the whole batch's loss with respect to them
(GradCache, Gao et al. 2021, arXiv 2101.06983). Where that weight depends on no
output, as in a mean over target tokens, one pass makes outputs and gradients;
else, as in a contrastive loss, the outputs of all parts are made first, without
gradients, and once more with them.

Each part draws its dropout from its own key, so that with dropout the masks
differ from those of the whole batch.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from vidlm.core import partitioning, trees
from vidlm.training import objective as objective_lib

Arrays = Mapping[str, Array]
# (trained, frozen, batch, key) -> ((loss, metrics), gradients of the trained)
Gradients = Callable[
  [Arrays, Arrays, Arrays, Array],
  tuple[tuple[Float[Array, ''], dict[str, Array]], dict[str, Array]],
]


@dataclasses.dataclass(frozen=True)
class Split:
  """Cuts a global batch so that every device keeps its rows.

  Part i holds the i-th share of each device's rows, not the i-th share of the
  batch, which would lie on a few devices alone.

  Attributes:
    number: Parts.
    partitioner: Whose 'data' axis the batch lies on.
  """

  number: int
  partitioner: partitioning.Partitioner

  def take(self, batch: Arrays, index: Int[Array, '']) -> dict[str, Array]:
    """Returns one part of a batch."""

    def of(x: Array) -> Array:
      rows = x.reshape(self._data, self.number, -1, *x.shape[1:])
      part = jax.lax.dynamic_index_in_dim(rows, index, 1, keepdims=False)
      return self._constrain(part.reshape(-1, *x.shape[1:]), 'data')

    return {name: of(x) for name, x in batch.items()}

  def join(self, parts: Arrays) -> dict[str, Array]:
    """Puts parts, stacked on a leading axis, back in the batch's order."""

    def of(x: Array) -> Array:
      x = self._constrain(x, None, 'data')
      rows = x.reshape(self.number, self._data, -1, *x.shape[2:])
      rows = rows.swapaxes(0, 1).reshape(-1, *x.shape[2:])
      return self._constrain(rows, 'data')

    return {name: of(x) for name, x in parts.items()}

  @property
  def _data(self) -> int:
    return self.partitioner.mesh.shape['data']

  def _constrain(self, x: Array, *axes: str | None) -> Array:
    sharding = NamedSharding(self.partitioner.mesh, PartitionSpec(*axes))
    return jax.lax.with_sharding_constraint(x, sharding)


def checked(
  number: Any,
  objective: objective_lib.Objective,
  batch_size: int,
  data: int,
) -> int:
  """Checks that a batch can be computed in microbatches.

  Args:
    number: NUM_MICROBATCHES, whatever gin hands over; None for one.
    objective: What is trained.
    batch_size: Examples of a global batch.
    data: Devices along 'data'.

  Returns:
    The number of parts.

  Raises:
    ValueError: If the batch doesn't divide, the objective doesn't split, or
      this is no number of parts.
  """
  if number is None:
    return 1
  if not isinstance(number, int) or number < 1:
    raise ValueError(
      f'NUM_MICROBATCHES={number!r}: need a whole number, at least 1'
    )
  if number > 1 and batch_size % (number * data):
    raise ValueError(
      f'NUM_MICROBATCHES={number}: BATCH_SIZE={batch_size} over {data} devices '
      f'along "data" does not split into {number} equal parts; choose a '
      f'BATCH_SIZE that is a multiple of {number * data}'
    )
  if number > 1 and not isinstance(objective, objective_lib.Splittable):
    raise ValueError(
      f'NUM_MICROBATCHES={number}: {type(objective).__name__} computes its '
      'loss in one piece; give it the methods of '
      'vidlm.training.objective.Splittable, or set 1'
    )
  return number


def whole(objective: objective_lib.Objective) -> Gradients:
  """Returns the gradient function of a batch in one piece."""

  def gradients(trained, frozen, batch, key):
    def loss_fn(trained):
      # Frozen leaves are constants here: no gradient is built for them.
      params = trees.unflatten({**trained, **frozen})
      return objective.loss_fn(params, batch, key)

    return jax.value_and_grad(loss_fn, has_aux=True)(trained)

  return gradients


def in_parts(
  objective: objective_lib.Splittable,
  split: Split,
  shardings: Mapping[str, NamedSharding],
) -> Gradients:
  """Returns the gradient function of a batch in parts.

  Args:
    objective: What is trained.
    split: How a batch is cut.
    shardings: {trained name: sharding}, of the accumulators too.
  """

  def gradients(trained, frozen, batch, key):
    def params_of(trained):
      return trees.unflatten({**trained, **frozen})

    def outputs(trained, index):
      part_key = jax.random.fold_in(key, index)
      part = split.take(batch, index)
      return objective.outputs(params_of(trained), part, part_key)

    def loss(trained, outputs):
      return objective.loss_of_outputs(params_of(trained), outputs, batch)

    made = None
    if not objective.loss_is_linear:
      made = jax.lax.map(
        functools.partial(outputs, trained), jnp.arange(split.number)
      )
      made = split.join(made)
    return _accumulate(split, shardings, outputs, loss, trained, made)

  return gradients


def _accumulate(
  split: Split,
  shardings: Mapping[str, NamedSharding],
  outputs: Callable[[Arrays, Int[Array, '']], dict[str, Array]],
  loss: Callable[[Arrays, Arrays], tuple[Any, Any]],
  trained: Arrays,
  made: Arrays | None,
) -> tuple[Any, dict[str, Array]]:
  """Sums the gradients of all parts.

  Args:
    split: How the batch is cut.
    shardings: How the sums lie on the mesh.
    outputs: (trained, index) -> outputs of a part.
    loss: (trained, outputs of the batch) -> (loss, metrics).
    trained: What the gradients are of.
    made: Outputs of the batch, or None where the loss is linear in them.

  Returns:
    (loss, metrics), and the gradients.
  """
  # A linear loss has the same gradient at any outputs.
  at = _zeros(split, outputs, trained) if made is None else made
  value, (grads, weights) = jax.value_and_grad(
    loss, argnums=(0, 1), has_aux=True
  )(trained, at)

  def body(grads, index):
    out, pull = jax.vjp(lambda leaves: outputs(leaves, index), trained)
    (part,) = pull(split.take(weights, index))
    grads = {name: grads[name] + part[name] for name in grads}
    # Unused outputs are not returned: what only they need is not computed.
    return _place(grads, shardings), out if made is None else None

  # The sums begin with what reaches parameters past the outputs.
  grads, out = jax.lax.scan(
    body, _place(grads, shardings), jnp.arange(split.number)
  )
  return (loss(trained, split.join(out)) if made is None else value), grads


def _zeros(
  split: Split, outputs: Callable[..., Any], trained: Arrays
) -> dict[str, Array]:
  """Outputs of a whole batch, all zero."""
  shapes = jax.eval_shape(outputs, trained, jnp.int32(0))
  return {
    name: jnp.zeros((split.number * x.shape[0], *x.shape[1:]), x.dtype)
    for name, x in shapes.items()
  }


def _place(grads: Arrays, shardings: Mapping[str, Any]) -> dict[str, Array]:
  """Lays gradients out as the leaves they belong to, in and out of a scan."""
  return {
    name: jax.lax.with_sharding_constraint(x, shardings[name])
    for name, x in grads.items()
  }
