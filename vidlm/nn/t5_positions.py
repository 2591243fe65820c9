"""T5's relative positions: a learned bias on attention logits, by distance."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vidlm.core import partitioning
from vidlm.nn.t5_config import T5Config


def relative_position_bucket(
  relative_position: Int[Array, 'Lq Lk'],
  *,
  bidirectional: bool,
  num_buckets: int = 32,
  max_distance: int = 128,
) -> Int[Array, 'Lq Lk']:
  """Maps distances to buckets: small ones exactly, larger ones by logarithm.

  Args:
    relative_position: Key position minus query position.
    bidirectional: Give half of the buckets to keys after the query; otherwise
      those all share bucket 0.
    num_buckets: Number of buckets.
    max_distance: Distances from here on share the last bucket.

  Returns:
    Values in [0, num_buckets).
  """
  n = -relative_position
  offset = jnp.zeros_like(n)
  if bidirectional:
    num_buckets //= 2
    offset = (n < 0).astype(n.dtype) * num_buckets
    n = jnp.abs(n)
  else:
    n = jnp.maximum(n, 0)
  max_exact = num_buckets // 2
  # As in t5x: a log(0), whose branch isn't taken, would still be cast to int.
  ratio = n.astype(jnp.float32) / max_exact + np.finfo(np.float32).eps
  large = max_exact + (
    jnp.log(ratio)
    / np.log(max_distance / max_exact)
    * (num_buckets - max_exact)
  ).astype(n.dtype)
  large = jnp.minimum(large, num_buckets - 1)
  return offset + jnp.where(n < max_exact, n, large)


class RelativePositionBias(nn.Module):
  """T5's learned bias on attention logits, by bucketed distance."""

  config: T5Config
  bidirectional: bool

  @nn.compact
  def __call__(
    self, query_positions: Int[Array, 'Lq'], key_positions: Int[Array, 'Lk']
  ) -> Float[Array, '1 K Lq Lk']:
    """Returns the bias between positions.

    Args:
      query_positions: Positions; may be traced, as in a decoding step.
    """
    cfg = self.config
    table = self.param(
      'rel_embedding',
      partitioning.with_logical_axes(
        nn.initializers.variance_scaling(1.0, 'fan_avg', 'uniform'),
        ('heads', 'relpos_buckets'),
      ),
      (cfg.num_heads, cfg.relpos_buckets),
    )
    buckets = relative_position_bucket(
      key_positions[None, :] - query_positions[:, None],
      bidirectional=self.bidirectional,
      num_buckets=cfg.relpos_buckets,
      max_distance=cfg.relpos_max_distance,
    )
    # A one-hot product, as in t5x: the gradient of a gather would be a scatter
    # of Lq * Lk values into a few dozen cells. Exact at the highest precision.
    one_hot = jax.nn.one_hot(buckets, cfg.relpos_buckets, dtype=jnp.float32)
    bias = jnp.einsum(
      'kn,qsn->kqs',
      table.astype(jnp.float32),
      one_hot,
      precision=jax.lax.Precision.HIGHEST,
    )
    return bias[None].astype(cfg.dtype)
