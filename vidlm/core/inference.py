"""One program of one shape on every device of this process.

XLA rounds differently at other batch sizes. So a device always takes the same
number of rows, a short batch is padded, and what comes of a row depends neither
on its neighbours nor on the number of devices and processes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from vidlm.core import prefetch

# A pytree of arrays, of one row or, with a leading axis, of several.
Rows = Any
# Begins to work on a batch; the function returned waits for a result a row.
Submit = Callable[[Rows], Callable[[], Sequence[Any]]]


def local_mesh(devices: Sequence[Any] = ()) -> jax.sharding.Mesh:
  """Devices in one row, by default all of this process's."""
  return jax.sharding.Mesh(
    np.asarray(devices or jax.local_devices()), ('data',)
  )


def compile_rows(
  fn: Callable[[Any, Rows], Rows], mesh: jax.sharding.Mesh
) -> Callable[[Any, Rows], Rows]:
  """Compiles `fn(params, rows)`: rows along the devices, no talk among them."""
  spec = jax.sharding.PartitionSpec
  return jax.jit(
    jax.shard_map(
      fn,
      mesh=mesh,
      in_specs=(spec(), spec('data')),
      out_specs=spec('data'),
      check_vma=False,
    )
  )


def place_params(params: Any, mesh: jax.sharding.Mesh) -> Any:
  """Puts parameters on every device of a mesh, leaf by leaf.

  Arrays that several processes hold together, as a training run's, are gathered
  first; all of these processes have to call this then.
  """
  whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())

  def place(leaf: Any) -> jax.Array:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
      from jax.experimental import multihost_utils

      leaf = multihost_utils.process_allgather(leaf, tiled=True)
    return jax.device_put(leaf, whole)

  return jax.tree.map(place, params)


def place_rows(rows: Rows, mesh: jax.sharding.Mesh) -> Rows:
  """Splits rows evenly over the devices of a mesh."""
  spec = jax.sharding.PartitionSpec('data')
  return jax.device_put(rows, jax.sharding.NamedSharding(mesh, spec))


def batches(rows: Iterable[Rows], size: int) -> Iterator[tuple[int, Rows]]:
  """Stacks rows to batches of `size`, the last one padded with its first row.

  Yields:
    The number of real rows, and the batch.
  """
  group: list[Rows] = []

  def stacked() -> tuple[int, Rows]:
    # A row of zeros would do, but might run to the longest caption.
    padded = group + [group[0]] * (size - len(group))
    return len(group), jax.tree.map(lambda *leaves: np.stack(leaves), *padded)

  for row in rows:
    group.append(row)
    if len(group) == size:
      yield stacked()
      group = []
  if group:
    yield stacked()


def run(rows: Iterable[Rows], size: int, submit: Submit) -> Iterator[Any]:
  """Yields the result of each row, in order.

  Batches are made in a thread, ahead, and the devices start on a batch before
  the results of the one before are taken.

  Args:
    rows: Read no further ahead than needed.
    size: Rows of a batch.
    submit: See `Submit`.
  """
  made = prefetch.prefetch(batches(rows, size))
  waiting: tuple[int, Callable[[], Sequence[Any]]] | None = None
  try:
    for count, batch in made:
      begun = submit(batch)
      if waiting is not None:
        yield from waiting[1]()[: waiting[0]]
      waiting = count, begun
    if waiting is not None:
      yield from waiting[1]()[: waiting[0]]
  finally:
    made.close()
