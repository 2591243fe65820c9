"""Checksums of arrays, whatever their layout, to notice damaged bytes.

Orbax notices a missing or shortened file, but not every flipped byte inside
one. These sums are taken of the values themselves, on device before a save and
again after the restore, so that no file is read twice. A change of any single
value always changes the sum: every weight is odd.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

_BLOCK = 2**22


def of(arrays: Mapping[str, Any]) -> dict[str, int]:
  """Sums every array.

  Args:
    arrays: {name: jax or numpy array of at most 4 bytes a value}; global
      arrays of several processes too.

  Returns:
    {name: sum(bits * (2 * index + 1)) modulo 2^32}.
  """
  sums = {
    name: _on_device(x) if isinstance(x, jax.Array) else _on_host(x)
    for name, x in arrays.items()
  }
  return {name: int(np.asarray(x)) for name, x in sums.items()}


def _on_device(x: jax.Array) -> jax.Array:
  whole = None
  if isinstance(x.sharding, NamedSharding):
    whole = NamedSharding(x.sharding.mesh, PartitionSpec())
  return _jitted(whole)(x)


def _jitted(sharding: NamedSharding | None) -> Any:
  if sharding not in _JITTED:
    _JITTED[sharding] = jax.jit(_sum, out_shardings=sharding)
  return _JITTED[sharding]


_JITTED: dict[NamedSharding | None, Any] = {}


def _sum(x: jax.Array) -> jax.Array:
  bits = x.astype(jnp.uint8) if x.dtype == jnp.bool_ else x
  unsigned = jnp.dtype(f'uint{8 * bits.dtype.itemsize}')
  bits = jax.lax.bitcast_convert_type(bits, unsigned).astype(jnp.uint32)
  # An index by sums of strides: a reshape would gather a sharded array.
  index = jnp.zeros((), jnp.uint32)
  stride = 1
  for axis in reversed(range(x.ndim)):
    step = jnp.uint32(stride % 2**32)
    index += step * jax.lax.broadcasted_iota(jnp.uint32, x.shape, axis)
    stride *= x.shape[axis]
  return jnp.sum(bits * (2 * index + 1), dtype=jnp.uint32)


def _on_host(x: np.ndarray) -> np.uint32:
  flat = np.ascontiguousarray(x).reshape(-1)
  bits = flat.view(f'uint{8 * flat.dtype.itemsize}')
  total = 0
  for start in range(0, bits.size, _BLOCK):
    block = bits[start : start + _BLOCK].astype(np.uint32)
    index = np.arange(start, start + block.size, dtype=np.uint64)
    weights = (2 * index + 1).astype(np.uint32)
    total += int(np.sum(block * weights, dtype=np.uint32))
  return np.uint32(total % 2**32)
