"""Layers of T5 1.1, with t5x's numerics and parameter names.

Source: google-research/t5x `examples/t5/` (behaviour matched).
What differs from a textbook Transformer: no 1/sqrt(D) in attention (it sits in
the queries' initialisation), RMSNorm in float32, no biases, gated GELU, and
positions as a bias on attention (`t5_positions`).
"""

import functools
import operator
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vidlm.core import partitioning
from vidlm.nn import attention as attention_lib
from vidlm.nn import dense, layers
from vidlm.nn.t5_config import T5Config

# One decoded token's keys and values, or a whole cache: {'key': ..., 'value':}.
KeyValue = dict[str, Array]


def _dense(
  config: T5Config,
  features: int,
  axes: tuple[str, str],
  init: Any,
  name: str | None = None,
) -> nn.Dense:
  return nn.Dense(
    features,
    use_bias=False,
    dtype=jnp.dtype(config.dtype),
    kernel_init=partitioning.with_logical_axes(init, axes),
    dot_general=dense.dot_general,
    name=name,
  )


class RMSNorm(nn.Module):
  """Divides by the root mean square, taken in float32; a scale, no bias."""

  dtype: str = 'bfloat16'
  epsilon: float = 1e-6

  @nn.compact
  def __call__(self, x: Float[Array, '*batch C']) -> Float[Array, '*batch C']:
    """Normalises the last axis of `x`."""
    scale = self.param(
      'scale',
      partitioning.with_logical_axes(nn.initializers.ones, ('embed',)),
      (x.shape[-1],),
    )
    x = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    x = x * jax.lax.rsqrt(mean_square + self.epsilon)
    # Both factors are rounded, as in t5x (Gemma rounds the product).
    return x.astype(self.dtype) * scale.astype(self.dtype)


class MlpBlock(nn.Module):
  """Gated feed-forward: the product of activated wi_0 and wi_1, then wo."""

  config: T5Config

  @nn.compact
  def __call__(self, x: Float[Array, 'B L C']) -> Float[Array, 'B L C']:
    """Applies the block to each token of `x`."""
    cfg = self.config
    init = nn.initializers.variance_scaling(1.0, 'fan_in', 'truncated_normal')
    # t5x's names: 'wi' alone, or 'wi_0' and 'wi_1' where one gates the other.
    gates = len(cfg.mlp_activations)
    branches = []
    for i, name in enumerate(cfg.mlp_activations):
      dense_name = 'wi' if gates == 1 else f'wi_{i}'
      y = _dense(cfg, cfg.mlp_dim, ('embed', 'mlp'), init, dense_name)(x)
      branches.append(layers.activation(name)(y))
    product = dropout(self, functools.reduce(operator.mul, branches))
    return _dense(cfg, x.shape[-1], ('mlp', 'embed'), init, 'wo')(product)


class MultiHeadAttention(nn.Module):
  """Attention with T5's fused kernels and without scaling.

  The projections are methods of their own so that cached decoding can call
  them apart.
  """

  config: T5Config

  def setup(self):
    cfg = self.config
    init = nn.initializers.variance_scaling(1.0, 'fan_in', 'normal')
    joined = cfg.num_heads * cfg.head_dim

    def query_init(*args):
      # The 1/sqrt(D) that T5's attention leaves out.
      return init(*args) / np.sqrt(cfg.head_dim).astype(np.float32)

    axes = ('embed', 'joined_kv')
    self.query = _dense(cfg, joined, axes, query_init)
    self.key = _dense(cfg, joined, axes, init)
    self.value = _dense(cfg, joined, axes, init)
    self.out = _dense(cfg, cfg.emb_dim, ('joined_kv', 'embed'), init)

  def queries(self, x: Float[Array, 'B L C']) -> Float[Array, 'B L K D']:
    """Projects to queries."""
    return self._split(self.query(x))

  def keys_values(
    self, x: Float[Array, 'B L C']
  ) -> dict[str, Float[Array, 'B L K D']]:
    """Projects to keys and values."""
    return {
      'key': self._split(self.key(x)),
      'value': self._split(self.value(x)),
    }

  def attend(
    self,
    query: Float[Array, 'B Lq K D'],
    key_value: dict[str, Float[Array, 'B Lk K D']],
    bias: Float[Array, '#B K Lq Lk'] | None = None,
    mask: Bool[Array, '#B #K #Lq Lk'] | None = None,
    implementation: attention_lib.Implementation = 'xla',
  ) -> Float[Array, 'B Lq C']:
    """Attends and projects back.

    Args:
      key_value: Keys and values.
      implementation: See `attention.dot_product_attention`.
    """
    x = attention_lib.dot_product_attention(
      query,
      key_value['key'],
      key_value['value'],
      scale=1.0,
      bias=bias,
      mask=mask,
      implementation=implementation,
    )
    return self.out(x.reshape(*x.shape[:2], -1))

  def _split(self, x: Float[Array, 'B L J']) -> Float[Array, 'B L K D']:
    cfg = self.config
    return x.reshape(*x.shape[:2], cfg.num_heads, cfg.head_dim)

  def __call__(
    self,
    inputs_q: Float[Array, 'B Lq C'],
    inputs_kv: Float[Array, 'B Lk C'],
    bias: Float[Array, '#B K Lq Lk'] | None = None,
    mask: Bool[Array, '#B #K #Lq Lk'] | None = None,
  ) -> Float[Array, 'B Lq C']:
    """Attends from `inputs_q` to `inputs_kv`; see `attend`."""
    return self.attend(
      self.queries(inputs_q),
      self.keys_values(inputs_kv),
      bias,
      mask,
      self.config.attention,
    )


class Embed(nn.Module):
  """The token table, shared by encoder, decoder and, if tied, the logits."""

  config: T5Config

  def setup(self):
    cfg = self.config
    self.embedding = self.param(
      'embedding',
      partitioning.with_logical_axes(
        nn.initializers.normal(1.0), ('vocab', 'embed')
      ),
      (cfg.vocab_size, cfg.emb_dim),
    )

  def __call__(self, tokens: Int[Array, '*batch']) -> Float[Array, '*batch C']:
    """Looks up token ids."""
    return jnp.take(self.embedding, tokens, axis=0).astype(self.config.dtype)

  def attend(self, x: Float[Array, '*batch C']) -> Float[Array, '*batch V']:
    """Returns float32 logits by the table, as tied models scale them."""
    logits = _float32_product(x, self.embedding.T)
    return logits / np.sqrt(self.config.emb_dim).astype(np.float32)


class Logits(nn.Module):
  """The untied output layer; float32 out, accumulated in float32."""

  config: T5Config

  @nn.compact
  def __call__(self, x: Float[Array, '*batch C']) -> Float[Array, '*batch V']:
    """Maps hidden states to logits over the vocabulary."""
    kernel = self.param(
      'kernel',
      partitioning.with_logical_axes(
        nn.initializers.variance_scaling(1.0, 'fan_in', 'truncated_normal'),
        ('embed', 'vocab'),
      ),
      (x.shape[-1], self.config.vocab_size),
    )
    return _float32_product(x, kernel)


def _float32_product(x: Array, kernel: Any) -> Array:
  """Multiplies in the type of `x`: no float32 copy of a 250k-row table."""
  return jnp.einsum(
    '...c,cv->...v',
    x,
    kernel.astype(x.dtype),
    preferred_element_type=jnp.float32,
  )


def dropout(
  module: nn.Module, x: Float[Array, 'B L C']
) -> Float[Array, 'B L C']:
  """Applies T5's dropout: one mask for all positions of an example.

  Args:
    module: Has a `config` with the rate; its 'dropout' key is used.

  Returns:
    `x` itself if the rate is 0 or no 'dropout' key was given.
  """
  rate = module.config.dropout_rate
  if rate == 0.0 or not module.has_rng('dropout'):
    return x
  shape = (x.shape[0], 1, x.shape[2])
  kept = jax.random.bernoulli(module.make_rng('dropout'), 1.0 - rate, shape)
  return jnp.where(kept, x / (1.0 - rate), jnp.zeros((), x.dtype))
