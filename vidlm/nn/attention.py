"""One attention function under every tower: XLA, cuDNN or a TPU kernel.

The three implementations take the same arguments and agree to rounding; which
one is faster depends on the chip and the length, so the choice is explicit and
never made behind the caller's back.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vidlm.core import partitioning
from vidlm.nn import dense, flash

Implementation = str  # 'xla', 'cudnn' or 'tpu'.


def mask_value(dtype: Any) -> Float[Array, '']:
  """Returns the number that stands for minus infinity.

  Finite, and far enough from the limit that a bias can still be added: a row
  whose keys are all masked gives a mean and not a NaN.
  """
  return jnp.asarray(-0.7 * float(jnp.finfo(dtype).max), dtype)


def dot_product_attention(
  query: Float[Array, 'B Lq K D'],
  key: Float[Array, 'B Lk G D'],
  value: Float[Array, 'B Lk G D'],
  *,
  scale: float,
  bias: Float[Array, '#B K Lq Lk'] | None = None,
  mask: Bool[Array, '#B #K #Lq Lk'] | None = None,
  implementation: Implementation = 'xla',
  logit_cap: float = 0.0,
) -> Float[Array, 'B Lq K D']:
  """Computes softmax(scale * q k^T + bias) v.

  The scale is explicit because the two families differ: ViT and CLIP divide by
  sqrt(D), T5 does not (it is folded into the initialisation of its queries).

  Args:
    query: Queries, in the type of the matrix products.
    key: K / G neighbouring query heads share one of its heads.
    scale: Factor on the dot products.
    bias: Added after scaling.
    mask: True where a key may be seen.
    implementation: 'xla' (float32 softmax, any device), 'cudnn' (fused, NVIDIA
      GPU, 16-bit types) or 'tpu' (Pallas flash attention).
    logit_cap: See `soft_cap`; before bias and mask, 'xla' alone has it.

  Returns:
    Attended values in the type of the query.

  Raises:
    ValueError: If the implementation is unknown or lacks what is asked for, or
      K is no multiple of G.
  """
  if implementation not in _IMPLEMENTATIONS:
    raise ValueError(
      f'attention: unknown implementation {implementation!r}; choose one of '
      f'{sorted(_IMPLEMENTATIONS)}.'
    )
  if query.shape[2] % key.shape[2]:
    raise ValueError(
      f'attention: {query.shape[2]} query heads are no multiple of '
      f'{key.shape[2]} key heads.'
    )
  if not logit_cap:
    run = _IMPLEMENTATIONS[implementation]
    return run(query, key, value, bias, mask, scale)
  if implementation != 'xla':
    raise ValueError(
      f"attention: {implementation!r} has no logit_cap; use 'xla'."
    )
  return _xla(query, key, value, bias, mask, scale, logit_cap)


def soft_cap(x: Float[Array, '*shape'], cap: float) -> Float[Array, '*shape']:
  """Squeezes `x` into (-cap, cap) by tanh; a cap of 0 leaves it alone."""
  return jnp.tanh(x / cap) * cap if cap else x


def dot_products(
  query: Float[Array, 'B Lq K D'], key: Float[Array, 'B Lk G D']
) -> Float[Array, 'B K Lq Lk']:
  """Returns float32 q k^T; K / G query heads share a key head."""
  heads, shared = query.shape[2], key.shape[2]
  if heads == shared:
    return jnp.einsum(
      'bqkd,bskd->bkqs', query, key, preferred_element_type=jnp.float32
    )
  # Keys are not repeated: each is met by its K / G neighbouring query heads.
  *rows, _, size = query.shape
  grouped = query.reshape(*rows, shared, heads // shared, size)
  logits = jnp.einsum(
    'bqgnd,bsgd->bgnqs', grouped, key, preferred_element_type=jnp.float32
  )
  return logits.reshape(logits.shape[0], heads, *logits.shape[3:])


def weighted_values(
  weights: Float[Array, 'B K Lq Lk'], value: Float[Array, 'B Lk G D']
) -> Float[Array, 'B Lq K D']:
  """Sums values by weights; K / G query heads share a value head."""
  heads, shared = weights.shape[1], value.shape[2]
  if heads == shared:
    return jnp.einsum('bkqs,bskd->bqkd', weights, value)
  batch, _, *lengths = weights.shape
  grouped = weights.reshape(batch, shared, heads // shared, *lengths)
  out = jnp.einsum('bgnqs,bsgd->bqgnd', grouped, value)
  return out.reshape(*out.shape[:2], heads, out.shape[-1])


def _xla(query, key, value, bias, mask, scale, logit_cap=0.0):
  logits = dot_products(query, key)
  if scale != 1.0:  # T5's is 1.
    logits = logits * scale
  logits = soft_cap(logits, logit_cap)  # Before bias and mask, as in Gemma 2.
  if bias is not None:
    logits = logits + bias.astype(jnp.float32)
  if mask is not None:
    logits = jnp.where(mask, logits, mask_value(jnp.float32))
  weights = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
  return weighted_values(weights, value)


def _cudnn(query, key, value, bias, mask, scale):
  """Merges mask and bias: cuDNN refuses a mask alone (jax#28974)."""
  q_len, k_len = query.shape[1], key.shape[1]
  bias = merge_bias(bias, mask, q_len, query.dtype)
  if bias is not None and (q_len % 2 or k_len % 2):
    # The backward pass with a bias only takes even lengths.
    mask = jnp.arange(k_len + k_len % 2) < k_len
    bias = flash.pad_to(flash.pad_to(bias, 2, axis=2), 2, axis=3)
    bias = jnp.where(mask, bias, mask_value(bias.dtype))
    query, key, value = (flash.pad_to(x, 2, 1) for x in (query, key, value))
  out = jax.nn.dot_product_attention(
    query, key, value, bias=bias, scale=scale, implementation='cudnn'
  )
  return out[:, :q_len]


def _tpu(query, key, value, bias, mask, scale):
  groups = query.shape[2] // key.shape[2]
  if groups > 1:  # The kernel has one head of keys for each of the queries.
    key, value = (jnp.repeat(x, groups, axis=2) for x in (key, value))
  if mask is not None and mask.shape[1] == mask.shape[2] == 1:
    key_mask = jnp.broadcast_to(
      mask[:, 0, 0], (key.shape[0], key.shape[1])
    )  # A mask over keys alone costs no [Lq, Lk] array: it is segment ids.
    mask = None
  else:
    key_mask = jnp.ones(key.shape[:2], bool)
  bias = merge_bias(bias, mask, query.shape[1], jnp.float32)
  return flash.sharded_flash_attention(query, key, value, bias, key_mask, scale)


def merge_bias(
  bias: Float[Array, '#B #K #Lq Lk'] | None,
  mask: Bool[Array, '#B #K #Lq Lk'] | None,
  q_length: int,
  dtype: Any,
) -> Float[Array, '#B #K Lq Lk'] | None:
  """Writes a mask into an additive bias.

  Args:
    q_length: Lq.
    dtype: Type of the result.

  Returns:
    The bias, `mask_value` where the mask is False; None if there is neither.
  """
  if bias is None and mask is None:
    return None
  bias = jnp.zeros((), dtype) if bias is None else bias.astype(dtype)
  if mask is not None:
    bias = jnp.where(mask, bias, mask_value(dtype))
  shape = (*bias.shape[:2], q_length, bias.shape[3])
  return jnp.broadcast_to(bias, shape)


_IMPLEMENTATIONS: dict[str, Callable[..., Array]] = {
  'xla': _xla,
  'cudnn': _cudnn,
  'tpu': _tpu,
}


class MultiHeadDotProductAttention(nn.Module):
  """Multi-head attention with flax's (and so big_vision's) parameter names.

  Attributes:
    num_heads: K; the width of the queries is split evenly.
    dtype: Type of the matrix products; parameters stay as they are stored.
    implementation: See `dot_product_attention`.
  """

  num_heads: int
  dtype: str = 'bfloat16'
  implementation: Implementation = 'xla'

  @nn.compact
  def __call__(
    self,
    inputs_q: Float[Array, 'B Lq C'],
    inputs_kv: Float[Array, 'B Lk C'],
    mask: Bool[Array, '#B #K #Lq Lk'] | None = None,
  ) -> Float[Array, 'B Lq C']:
    """Attends from `inputs_q` to `inputs_kv`, where `mask` is True.

    Raises:
      ValueError: If the width is no multiple of the number of heads.
    """
    width = inputs_q.shape[-1]
    if width % self.num_heads:
      raise ValueError(
        f'attention: width {width} is no multiple of {self.num_heads} heads.'
      )
    head_dim = width // self.num_heads

    def project(name: str) -> nn.DenseGeneral:
      return nn.DenseGeneral(
        (self.num_heads, head_dim),
        dtype=jnp.dtype(self.dtype),
        kernel_init=partitioning.with_logical_axes(
          nn.initializers.xavier_uniform(), ('embed', 'heads', 'kv')
        ),
        bias_init=partitioning.with_logical_axes(
          nn.initializers.zeros, ('heads', 'kv')
        ),
        dot_general=dense.dot_general,
        name=name,
      )

    x = dot_product_attention(
      project('query')(inputs_q),  # B Lq K D
      project('key')(inputs_kv),
      project('value')(inputs_kv),
      scale=head_dim**-0.5,
      mask=mask,
      implementation=self.implementation,
    )
    return nn.DenseGeneral(
      width,
      axis=(-2, -1),
      dtype=jnp.dtype(self.dtype),
      kernel_init=partitioning.with_logical_axes(
        nn.initializers.xavier_uniform(), ('heads', 'kv', 'embed')
      ),
      bias_init=partitioning.with_logical_axes(
        nn.initializers.zeros, ('embed',)
      ),
      dot_general=dense.dot_general,
      name='out',
    )(x)
