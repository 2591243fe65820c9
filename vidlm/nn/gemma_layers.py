"""Layers of Gemma 1 and 2, with big_vision's parameter names.

Source: google-research/big_vision `models/ppp/gemma.py` (names and numerics of
PaliGemma matched). What differs from T5: one stack, rotary positions, RMSNorm
that multiplies by 1 + scale, embeddings times sqrt(width), heads of keys shared
by several heads of queries. Gemma 2 adds norms after each block, caps on logits
and a sliding window on every other layer.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from vidlm.core import partitioning
from vidlm.nn import attention as attention_lib
from vidlm.nn import layers
from vidlm.nn.gemma_config import GemmaConfig
from vidlm.nn.prefix_attention import prefix_attention


class RMSNorm(nn.Module):
  """Divides by the root mean square, all in float32; times 1 + scale."""

  config: GemmaConfig

  @nn.compact
  def __call__(self, x: Float[Array, '*batch C']) -> Float[Array, '*batch C']:
    """Normalises the last axis of `x`."""
    scale = self.param(
      'scale',
      partitioning.with_logical_axes(nn.initializers.zeros, ('embed',)),
      (x.shape[-1],),
    )
    x = x.astype(jnp.float32)
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    x = x * jax.lax.rsqrt(mean_square + self.config.norm_epsilon)
    # The product is rounded, not its factors (T5 rounds both).
    return (x * (1.0 + scale.astype(jnp.float32))).astype(self.config.dtype)


def rotate(
  x: Float[Array, 'B L K D'],
  positions: Int[Array, 'B L'],
  max_wavelength: float = 10_000.0,
) -> Float[Array, 'B L K D']:
  """Turns the halves of each head by angles that grow with the position.

  Args:
    x: Queries or keys.
    positions: Only their differences matter to attention.
    max_wavelength: Wavelength of the slowest pair.

  Returns:
    The turned heads in the type of `x`; computed in float32.
  """
  half = x.shape[-1] // 2
  # In NumPy: XLA's float32 powers are off by more than a rounding.
  timescale = np.float32(max_wavelength ** (np.arange(half) / half))
  angle = positions.astype(jnp.float32)[..., None, None] / timescale
  sin, cos = jnp.sin(angle), jnp.cos(angle)  # B L 1 D/2
  a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
  out = jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)
  return out.astype(x.dtype)


class Embedder(nn.Module):
  """The token table, which is also the output layer."""

  config: GemmaConfig

  def setup(self):
    cfg = self.config
    self.input_embedding = self.param(
      'input_embedding',
      partitioning.with_logical_axes(
        nn.initializers.normal(cfg.emb_dim**-0.5), ('vocab', 'embed')
      ),
      (cfg.vocab_size, cfg.emb_dim),
    )

  def __call__(self, tokens: Int[Array, '*batch']) -> Float[Array, '*batch C']:
    """Looks up token ids and multiplies by sqrt(C)."""
    cfg = self.config
    x = jnp.take(self.input_embedding, tokens, axis=0).astype(cfg.dtype)
    # The factor is rounded to the same type: 45.25 and not 45.2548 at 2B.
    return x * jnp.asarray(np.sqrt(cfg.emb_dim), cfg.dtype)

  def attend(self, x: Float[Array, '*batch C']) -> Float[Array, '*batch V']:
    """Returns float32 logits by the table, capped where the config says."""
    logits = jnp.einsum(
      '...c,vc->...v',
      x,
      self.input_embedding.astype(x.dtype),
      preferred_element_type=jnp.float32,
    )
    return attention_lib.soft_cap(logits, self.config.final_logit_cap)


class Einsum(nn.Module):
  """A kernel called `w`, with an initialisation by its fan-in.

  Attributes:
    shape: Shape of the kernel.
    axes: Its logical axes.
    fan_in: The axes that are summed over.
    batch: Axes that count neither as input nor as output.
    dtype: Type of the product.
  """

  shape: tuple[int, ...]
  axes: tuple[str | None, ...]
  fan_in: tuple[int, ...]
  batch: tuple[int, ...] = ()
  dtype: str = 'bfloat16'

  @nn.compact
  def __call__(self, formula: str, x: Float[Array, '...']) -> Array:
    """Returns the einsum of `x` and the kernel."""
    init = kernel_init(self.fan_in, self.batch, len(self.shape))
    w = self.param(
      'w', partitioning.with_logical_axes(init, self.axes), self.shape
    )
    return jnp.einsum(formula, x, w.astype(self.dtype))


def kernel_init(
  fan_in: tuple[int, ...], batch: tuple[int, ...], ndim: int
) -> nn.initializers.Initializer:
  """Returns a truncated normal of variance 1 / fan-in.

  Args:
    fan_in: Axes of the kernel that are summed over.
    batch: Axes that count neither as input nor as output.
    ndim: Dimensions of the kernel.
  """
  rest = tuple(i for i in range(ndim) if i not in fan_in + batch)
  return nn.initializers.variance_scaling(
    1.0,
    'fan_in',
    'truncated_normal',
    in_axis=fan_in,
    out_axis=rest,
    batch_axis=batch,
  )


class Attention(nn.Module):
  """Projections with Gemma's kernels; who sees whom is the caller's."""

  config: GemmaConfig

  def setup(self):
    cfg = self.config
    k, g, c, d = cfg.num_heads, cfg.num_kv_heads, cfg.emb_dim, cfg.head_dim
    axes = (None, 'heads', 'embed', 'kv')

    def fused(parts: int, heads: int) -> Einsum:
      return Einsum((parts, heads, c, d), axes, (2,), (0,), dtype=cfg.dtype)

    if k == g:  # One kernel for all three, as big_vision keeps it.
      self.qkv_einsum = fused(3, k)
    else:
      self.q_einsum = Einsum((k, c, d), axes[1:], (1,), dtype=cfg.dtype)
      self.kv_einsum = fused(2, g)
    self.attn_vec_einsum = Einsum(
      (k, d, c), ('heads', 'kv', 'embed'), (0, 1), dtype=cfg.dtype
    )

  def project(
    self, x: Float[Array, 'B L C'], positions: Int[Array, 'B L']
  ) -> tuple[Float[Array, 'B L K D'], dict[str, Float[Array, 'B L G D']]]:
    """Projects to queries, and to keys and values, with their positions."""
    cfg = self.config
    if cfg.num_heads == cfg.num_kv_heads:
      query, key, value = self.qkv_einsum('blc,pkcd->pblkd', x)
    else:
      query = self.q_einsum('blc,kcd->blkd', x)
      key, value = self.kv_einsum('blc,pgcd->pblgd', x)
    turn = lambda y: rotate(y, positions, cfg.rope_max_wavelength)
    return turn(query), {'key': turn(key), 'value': value}

  def within(
    self,
    query: Float[Array, 'B S K D'],
    key_value: dict[str, Float[Array, 'B S G D']],
    mask: Bool[Array, 'B 1 1 S'],
  ) -> Float[Array, 'B S C']:
    """Attends within the prefix, in both directions.

    Args:
      mask: True for real positions.
    """
    x = attention_lib.dot_product_attention(
      query,
      key_value['key'],
      key_value['value'],
      scale=self._scale,
      mask=mask,
      implementation=self.config.attention,
      logit_cap=self.config.attn_logit_cap,
    )
    return self.attn_vec_einsum('blkd,kdc->blc', x)

  def beyond(
    self,
    query: Float[Array, 'B R L K D'],
    prefix: dict[str, Float[Array, 'B S G D']],
    own: dict[str, Float[Array, 'B R Lk G D']],
    prefix_mask: Bool[Array, 'B #L S'],
    own_mask: Bool[Array, 'L Lk'],
  ) -> Float[Array, 'B R L C']:
    """Attends from the text to prefix and past; see `prefix_attention`."""
    x = prefix_attention(
      query,
      prefix,
      own,
      scale=self._scale,
      prefix_mask=prefix_mask,
      own_mask=own_mask,
      logit_cap=self.config.attn_logit_cap,
    )
    return self.attn_vec_einsum('brlkd,kdc->brlc', x)

  @property
  def _scale(self) -> float:
    return self.config.query_scale or self.config.head_dim**-0.5


class FeedForward(nn.Module):
  """GEGLU: gelu of one product times another, then back."""

  config: GemmaConfig

  @nn.compact
  def __call__(self, x: Float[Array, '*batch C']) -> Float[Array, '*batch C']:
    """Applies the block to each token."""
    cfg = self.config
    gate = self.param(
      'gating_einsum',
      partitioning.with_logical_axes(
        kernel_init((1,), (0,), 3), (None, 'embed', 'mlp')
      ),
      (2, cfg.emb_dim, cfg.mlp_dim),
    ).astype(cfg.dtype)
    linear = self.param(
      'linear',
      partitioning.with_logical_axes(
        kernel_init((0,), (), 2), ('mlp', 'embed')
      ),
      (cfg.mlp_dim, cfg.emb_dim),
    ).astype(cfg.dtype)
    return jnp.dot(
      layers.gelu(jnp.dot(x, gate[0])) * jnp.dot(x, gate[1]), linear
    )
