"""The Pallas TPU flash-attention kernel behind `attention`, padded and sharded.

The kernel wants lengths that are multiples of its blocks and knows nothing of
a mesh: a bare call inside a sharded program would gather every operand on every
chip. Here lengths are padded (padding is its own segment, never attended) and
the call runs under `shard_map`, batch and heads staying where they are.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.experimental.pallas.ops.tpu import flash_attention as pallas_flash
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

BLOCK = 128  # Lanes of a TPU register; the kernel's smallest block.


def pad_to(x: Array, multiple: int, axis: int) -> Array:
  """Pads one axis with zeros to a multiple.

  Args:
    x: Any array.
    multiple: The length afterwards is divisible by it.
    axis: Which axis.

  Returns:
    `x`, longer along `axis`.
  """
  missing = -x.shape[axis] % multiple
  if not missing:
    return x
  widths = [(0, 0)] * x.ndim
  widths[axis] = (0, missing)
  return jnp.pad(x, widths)


def flash_attention(
  query: Float[Array, 'B Lq K D'],
  key: Float[Array, 'B Lk K D'],
  value: Float[Array, 'B Lk K D'],
  bias: Float[Array, '#B #K Lq Lk'] | None,
  key_mask: Bool[Array, 'B Lk'],
  scale: float,
) -> Float[Array, 'B Lq K D']:
  """Runs the kernel on one device.

  Args:
    key_mask: True where a key may be seen.
    scale: Factor on the dot products.
  """
  q_length = query.shape[1]
  # The kernel multiplies the bias by its own scale: scale the queries instead.
  q, k, v = (
    pad_to(jnp.swapaxes(x, 1, 2), BLOCK, axis=2)  # B K L D
    for x in (query * jnp.asarray(scale, query.dtype), key, value)
  )
  if bias is not None:
    bias = pad_to(pad_to(bias, BLOCK, axis=2), BLOCK, axis=3)
    bias = jnp.broadcast_to(bias, (*q.shape[:3], k.shape[2]))
  segment_ids = pallas_flash.SegmentIds(
    q=jnp.ones((q.shape[0], q.shape[2]), jnp.int32),
    kv=pad_to(key_mask.astype(jnp.int32), BLOCK, axis=1),
  )
  out = pallas_flash.flash_attention(q, k, v, bias, segment_ids)
  return jnp.swapaxes(out, 1, 2)[:, :q_length]


def sharded_flash_attention(
  query: Float[Array, 'B Lq K D'],
  key: Float[Array, 'B Lk K D'],
  value: Float[Array, 'B Lk K D'],
  bias: Float[Array, '#B #K Lq Lk'] | None,
  key_mask: Bool[Array, 'B Lk'],
  scale: float,
) -> Float[Array, 'B Lq K D']:
  """Runs the kernel on every shard of the active mesh.

  Args:
    key_mask: True where a key may be seen.
    scale: Factor on the dot products.
  """
  mesh = _active_mesh()
  if mesh is None:
    return flash_attention(query, key, value, bias, key_mask, scale)
  axes = nn.logical_to_mesh_axes(('batch', 'heads'))
  batch, heads = axes or (None, None)
  batch = _if_divisible(mesh, batch, query.shape[0])
  heads = _if_divisible(mesh, heads, query.shape[2])
  tokens = PartitionSpec(batch, None, heads, None)
  has_bias = bias is not None
  if bias is not None:
    bias_spec = PartitionSpec(
      batch if bias.shape[0] > 1 else None,
      heads if bias.shape[1] > 1 else None,
    )
  else:
    bias, bias_spec = jnp.zeros(()), PartitionSpec()

  def one_shard(q, k, v, b, m):
    return flash_attention(q, k, v, b if has_bias else None, m, scale)

  return jax.shard_map(
    one_shard,
    mesh=mesh,
    in_specs=(tokens, tokens, tokens, bias_spec, PartitionSpec(batch)),
    out_specs=tokens,
    check_vma=False,  # Pallas calls carry no types of varying axes.
  )(query, key, value, bias, key_mask)


def _active_mesh():
  """Returns the mesh set by `jax.set_mesh` if it has several devices."""
  mesh = jax.sharding.get_abstract_mesh()
  return None if mesh.empty or mesh.size == 1 else mesh


def _if_divisible(mesh, axes, size: int):
  """Returns the mesh axes if they divide `size`, else None (replicated)."""
  if axes is None:
    return None
  parts = 1
  for name in (axes,) if isinstance(axes, str) else axes:
    parts *= mesh.shape[name]
  return axes if size % parts == 0 else None
