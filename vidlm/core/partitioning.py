"""Logical axes -> a ('data', 'model') mesh.

Models name their axes (`batch length embed heads kv joined_kv mlp vocab
layers`, t5x's words); rules map names to mesh axes; nothing else in the project
speaks of devices.
"""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import flax.linen as nn
import jax
import numpy as np
import optax
from flax.core import meta
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from vidlm.core import trees

AxisRules = tuple[tuple[str, str | None], ...]

# t5x's standard rules (`t5x/partitioning.py`).
STANDARD_RULES: AxisRules = (
  ('batch', 'data'),
  ('vocab', 'model'),
  ('mlp', 'model'),
  ('heads', 'model'),
  ('joined_kv', 'model'),
  ('embed', None),
  ('kv', None),
  ('length', None),
  ('layers', None),
  ('relpos_buckets', None),
)


class LogicalAxes(nn.LogicallyPartitioned):
  """Axis names of a parameter, without flax's constraint when it is unboxed.

  flax unboxes a fused kernel while it still has two dimensions, and under a
  mesh would constrain it by the names of three. Layouts come from
  `Partitioner.shardings` alone.
  """

  def unbox(self, apply_constraint: bool = True) -> Any:
    """Returns the bare value."""
    del apply_constraint
    return self.value


def with_logical_axes(
  init: Callable[..., Any], axes: Sequence[str | None]
) -> Callable[..., Any]:
  """An initializer whose values carry one logical name or None a dimension."""

  def boxed(*args: Any, **kwargs: Any) -> LogicalAxes:
    return LogicalAxes(init(*args, **kwargs), tuple(axes))

  return boxed


def make_mesh(
  data: int = -1, model: int = 1, devices: Sequence[Any] | None = None
) -> Mesh:
  """Arranges devices as ('data', 'model').

  Args:
    data: Devices along 'data'; -1 takes what `model` leaves.
    model: Devices along 'model'; they sit next to each other.
    devices: By default all of this run's.

  Returns:
    The mesh.

  Raises:
    ValueError: If the sizes don't multiply to the number of devices.
  """
  count = len(jax.devices() if devices is None else devices)
  if data == -1 and model > 0:
    data = count // model
  if data < 1 or model < 1 or data * model != count:
    raise ValueError(
      f'mesh: {data} x {model} (data x model) is not {count} devices;'
      ' choose factors of that.'
    )
  if devices is None:
    axes = (jax.sharding.AxisType.Auto,) * 2
    return jax.make_mesh((data, model), ('data', 'model'), axes)
  return Mesh(np.asarray(devices).reshape(data, model), ('data', 'model'))


def constrain(x: Array, *axes: str | None) -> Array:
  """Fixes how an activation is laid out; every scan body needs it.

  Without it a scanned step leaves the choice to the compiler, which replicates
  carries (28 instead of 3 GiB a chip for the paper's first stage).

  Args:
    x: An activation.
    *axes: One logical name or None a dimension.

  Returns:
    `x` under a sharding constraint; `x` itself where no partitioner is active.
    A dimension that its mesh axis doesn't divide stays whole.

  Raises:
    ValueError: If there are more or fewer names than dimensions.
  """
  if len(axes) != x.ndim:
    raise ValueError(f'constrain: {axes} name {len(axes)} axes of {x.shape}.')
  rules, mesh = nn.get_logical_axis_rules(), jax.sharding.get_abstract_mesh()
  if not rules or mesh.empty or _manual(mesh):
    return x
  # Flax allows several mesh axes a rule; ours name one.
  own = cast(AxisRules, tuple(rules))
  spec = _spec(axes, x.shape, own, dict(mesh.shape))
  return jax.lax.with_sharding_constraint(x, spec)


@dataclasses.dataclass(frozen=True)
class Partitioner:
  """Lays out parameters, batches and activations on a mesh.

  Attributes:
    mesh: Axes 'data' and 'model'.
    rules: Ordered (logical axis, mesh axis or None).
    fsdp: Also split parameters and their optimizer state over 'data'; the
      compiler gathers each layer where it is used.
    fsdp_min_size: Leaves with fewer elements stay whole.
  """

  mesh: Mesh
  rules: AxisRules = STANDARD_RULES
  fsdp: bool = True
  fsdp_min_size: int = 2**14

  @property
  def replicated(self) -> NamedSharding:
    """Every device holds everything."""
    return NamedSharding(self.mesh, PartitionSpec())

  @property
  def batch_sharding(self) -> NamedSharding:
    """The leading axis over 'data'."""
    return NamedSharding(self.mesh, PartitionSpec('data'))

  def shardings(
    self, boxed_abstract_params: Mapping[str, Any]
  ) -> dict[str, NamedSharding]:
    """Lays out parameters.

    Args:
      boxed_abstract_params: `jax.eval_shape` of an init whose leaves carry
        axis names (`with_logical_axes`); bare leaves have none.

    Returns:
      {slash-joined name: sharding}.

    Raises:
      ValueError: A leaf names an axis that no rule knows, or too few axes.
    """
    boxed = trees.flatten(boxed_abstract_params)
    return {name: self._sharding(name, leaf) for name, leaf in boxed.items()}

  def _sharding(self, name: str, leaf: Any) -> NamedSharding:
    shape = meta.unbox(leaf).shape
    axes = leaf.names if isinstance(leaf, meta.Partitioned) else ()
    axes = tuple(axes) if axes else (None,) * len(shape)
    known = {axis for axis, _ in self.rules}
    unknown = [a for a in axes if a is not None and a not in known]
    if unknown or len(axes) != len(shape):
      raise ValueError(
        f'partitioning: {name} of shape {shape} has axes {axes}; name one a'
        f' dimension, out of {sorted(known)}.'
      )
    sizes = dict(self.mesh.shape)
    spec = list(_spec(axes, shape, self.rules, sizes))
    data = sizes['data']
    if self.fsdp and data > 1 and math.prod(shape) >= self.fsdp_min_size:
      # Not over 'layers': a scan would gather the whole stack for every layer.
      free = [
        i
        for i, n in enumerate(shape)
        if spec[i] is None and n % data == 0 and axes[i] != 'layers'
      ]
      if free and 'data' not in spec:
        spec[max(free, key=lambda i: shape[i])] = 'data'
    return NamedSharding(self.mesh, PartitionSpec(*spec))

  def shard_batch(
    self, batch: Mapping[str, np.ndarray]
  ) -> dict[str, jax.Array]:
    """Makes global arrays of this process's part of a batch.

    Args:
      batch: Host-local arrays [global batch / processes, ...].

    Returns:
      Global arrays, split over 'data'.

    Raises:
      ValueError: If the batch doesn't divide over 'data'.
    """
    data = self.mesh.shape['data']
    for name, x in batch.items():
      size = x.shape[0] * jax.process_count()
      if size % data:
        raise ValueError(
          f'batch: {name} has {size} examples over {data} devices along'
          ' "data"; choose a multiple, or a mesh with fewer.'
        )
    return {
      name: jax.make_array_from_process_local_data(self.batch_sharding, x)
      for name, x in batch.items()
    }

  @contextlib.contextmanager
  def activate(self) -> Iterator[None]:
    """Makes `constrain` act in what is traced inside; not for use in jit."""
    with jax.set_mesh(self.mesh), nn.logical_axis_rules(self.rules):
      yield


def opt_shardings(
  tx: optax.GradientTransformation,
  trained_shapes: Mapping[str, jax.ShapeDtypeStruct],
  trained_shardings: Mapping[str, NamedSharding],
) -> Any:
  """Lays optimizer state out as the parameters it belongs to.

  Args:
    tx: The transformation.
    trained_shapes: {name: shape} of the trained leaves.
    trained_shardings: {name: sharding} of the same.

  Returns:
    The tree of `tx.init`, of shardings: a moment as its parameter, a factored
    moment as its parameter without the reduced axis, the rest replicated.
  """
  mesh = next(iter(trained_shardings.values())).mesh
  whole = NamedSharding(mesh, PartitionSpec())

  def sharding(path, leaf):
    names = [k.key for k in path if isinstance(k, jax.tree_util.DictKey)]
    owner = next((n for n in names if n in trained_shapes), None)
    if owner is None:
      return whole
    shape = trained_shapes[owner].shape
    spec = tuple(trained_shardings[owner].spec)
    spec += (None,) * (len(shape) - len(spec))
    if leaf.shape == shape:
      return trained_shardings[owner]
    for axis in range(len(shape)):
      if leaf.shape == shape[:axis] + shape[axis + 1 :]:
        kept = PartitionSpec(*spec[:axis], *spec[axis + 1 :])
        return NamedSharding(mesh, kept)
    return whole

  state = jax.eval_shape(tx.init, dict(trained_shapes))
  return jax.tree_util.tree_map_with_path(sharding, state)


def _manual(mesh: Any) -> bool:
  """Whether we are inside a shard_map, where layouts are the caller's."""
  return jax.sharding.AxisType.Manual in mesh.axis_types


def _spec(
  axes: Sequence[str | None],
  shape: Sequence[int],
  rules: AxisRules,
  sizes: Mapping[str, int],
) -> PartitionSpec:
  """Maps logical axes to mesh axes, each used once and only if it divides."""
  # The first rule of an axis wins, as in t5x.
  table, used, spec = dict(reversed(rules)), set(), []
  for axis, n in zip(axes, shape, strict=True):
    target = table.get(axis) if axis is not None else None
    if target in used or target is None or n % sizes.get(target, n + 1):
      target = None
    else:
      used.add(target)
    spec.append(target)
  return PartitionSpec(*spec)
