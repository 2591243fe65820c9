"""Attention to a shared prefix and to one's own past, under one softmax.

A prefix-LM reads a clip once; the samples drawn from it differ only in what
they have written. Keys and values of the prefix are kept once a clip: its R
samples meet them as R queries, and each sample's own keys apart.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vidlm.nn import attention

KeyValue = dict[str, Array]  # {'key': ..., 'value': ...}.


def prefix_attention(
  query: Float[Array, 'B R Lq K D'],
  prefix: dict[str, Float[Array, 'B S G D']],
  own: dict[str, Float[Array, 'B R Lk G D']],
  *,
  scale: float,
  prefix_mask: Bool[Array, 'B #Lq S'],
  own_mask: Bool[Array, 'Lq Lk'],
  logit_cap: float = 0.0,
) -> Float[Array, 'B R Lq K D']:
  """Attends to both; equal to attention over prefix and own keys joined.

  Args:
    query: Queries of R samples a clip.
    prefix: Keys and values, one copy a clip.
    own: Keys and values of each sample.
    scale: Factor on the dot products.
    prefix_mask: True where a prefix key may be seen.
    own_mask: True where an own key may be seen.
    logit_cap: See `attention.soft_cap`.
  """
  batch, samples, length, heads, size = query.shape
  rows = (batch, samples * length, heads, size)  # The samples as queries.
  each = (batch * samples, length, heads, size)
  fold = lambda x: x.reshape(batch * samples, *x.shape[2:])
  to_prefix = attention.dot_products(query.reshape(rows), prefix['key'])
  split = prefix['key'].shape[1]
  to_prefix = to_prefix.reshape(batch, heads, samples, length, split)
  to_own = attention.dot_products(query.reshape(each), fold(own['key']))
  to_own = to_own.reshape(batch, samples, heads, *to_own.shape[2:])
  hide = lambda x, mask: jnp.where(
    mask,
    attention.soft_cap(x * scale, logit_cap),
    attention.mask_value(jnp.float32),
  )
  logits = jnp.concatenate(  # B K R Lq S+Lk
    [
      hide(to_prefix, prefix_mask[:, None, None]),
      hide(jnp.swapaxes(to_own, 1, 2), own_mask),
    ],
    axis=-1,
  )
  weights = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
  of_prefix = weights[..., :split].reshape(batch, heads, rows[1], split)
  of_own = fold(jnp.swapaxes(weights[..., split:], 1, 2))
  out = attention.weighted_values(of_prefix, prefix['value'])
  own_out = attention.weighted_values(of_own, fold(own['value']))
  return out.reshape(query.shape) + own_out.reshape(query.shape)
