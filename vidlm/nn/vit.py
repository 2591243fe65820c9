"""The Vision Transformer, as big_vision defines it and names its parameters.

Source: google-research/big_vision `models/vit.py` (numerics and names matched),
variants from "Scaling Vision Transformers", Table 2 (arXiv 2106.04560).
"""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidlm.core import partitioning
from vidlm.nn import attention as attention_lib
from vidlm.nn.transformer import Encoder, MAPHead

PoolType = str  # 'none', 'map', 'gap' or 'tok'.

# name: width, depth, mlp_dim, heads.
_VARIANTS = {
  'mu': (32, 1, 128, 2),
  'Ti': (192, 12, 768, 3),
  'S': (384, 12, 1536, 6),
  'M': (512, 12, 2048, 8),
  'B': (768, 12, 3072, 12),
  'L': (1024, 24, 4096, 16),
  'So400m': (1152, 27, 4304, 16),
  'H': (1280, 32, 5120, 16),
  'g': (1408, 40, 6144, 16),
  'g-opt': (1536, 40, 6144, 16),
  'G': (1664, 48, 8192, 16),
  'G-opt': (1536, 48, 8192, 16),
  'e': (1792, 56, 15360, 16),
}


@dataclasses.dataclass(frozen=True)
class Variant:
  """The numbers behind a name such as 'G/14'."""

  width: int
  depth: int
  mlp_dim: int
  num_heads: int
  patch_size: int


def decode_variant(variant: str) -> Variant:
  """Returns the numbers of a variant.

  Args:
    variant: Name and patch size, such as 'B/16' or 'So400m/14', or the five
      numbers themselves, 'width,depth,mlp_dim,heads/patch' ('64,4,256,4/16').

  Returns:
    The `Variant`.

  Raises:
    ValueError: If the name is unknown or has no patch size.
  """
  name, _, patch = variant.partition('/')
  if not patch.isdigit():
    raise ValueError(
      f'ViT variant {variant!r} has no patch size; write e.g. {name}/16.'
    )
  numbers = name.split(',')
  if name in _VARIANTS:
    width, depth, mlp_dim, heads = _VARIANTS[name]
    return Variant(width, depth, mlp_dim, heads, int(patch))
  if len(numbers) == 4 and all(n.strip().isdigit() for n in numbers):
    width, depth, mlp_dim, heads = map(int, numbers)
    return Variant(width, depth, mlp_dim, heads, int(patch))
  raise ValueError(
    f'ViT variant {variant!r} is unknown; choose one of '
    f'{", ".join(_VARIANTS)} or write width,depth,mlp_dim,heads/patch.'
  )


class ViT(nn.Module):
  """A Vision Transformer.

  Attributes:
    variant: See `decode_variant`.
    image_size: Height and width of the images, in pixels.
    pool_type: 'none' keeps all tokens, 'map' attention pooling, 'gap' mean,
      'tok' a class token.
    num_classes: Width of the dense `head` on the pooled features, or on every
      token with pool_type 'none' (the projection of a VLM); None for no head.
    head_zeroinit: Start the head at zero, as big_vision does.
    scan: One scanned block (`Transformer/encoderblock`, depth leading) in
      place of `Transformer/encoderblock_{i}`.
    remat_policy: See `layers.REMAT_POLICIES`.
    dtype: Type of activations and matrix products; parameters are float32.
    attention: Implementation, see `attention.dot_product_attention`.
  """

  variant: str = 'B/16'
  image_size: int = 224
  pool_type: PoolType = 'none'
  num_classes: int | None = None
  head_zeroinit: bool = True
  scan: bool = True
  remat_policy: str = 'nothing_saveable'
  dtype: str = 'bfloat16'
  attention: attention_lib.Implementation = 'xla'

  @nn.compact
  def __call__(
    self, images: Float[Array, 'B H W 3']
  ) -> tuple[Float[Array, '...'], dict[str, Any]]:
    """Encodes images.

    Args:
      images: Values in [-1, 1].

    Returns:
      Features ([B, N, C] with pool_type 'none', else [B, C]; the last axis is
      `num_classes` if there is a head), and the named intermediates.

    Raises:
      ValueError: If the images are not `image_size` pixels.
    """
    size = self.image_size
    if images.shape[1:3] != (size, size):
      raise ValueError(
        f'ViT: images of {images.shape[1]}x{images.shape[2]} pixels, but '
        f'image_size is {size}; resize them or the position embedding.'
      )
    v = decode_variant(self.variant)
    out: dict[str, Any] = {}
    x = out['stem'] = self._embed(images, v)  # B N C
    x, out['encoder'] = Encoder(
      v.depth,
      v.mlp_dim,
      v.num_heads,
      scan=self.scan,
      remat_policy=self.remat_policy,
      dtype=self.dtype,
      attention=self.attention,
      name='Transformer',
    )(x)
    out['encoded'] = x
    x = out['head_input'] = self._pool(x, v)
    if self.num_classes:
      kernel_init = (
        nn.initializers.zeros
        if self.head_zeroinit
        else nn.initializers.lecun_normal()
      )
      x = out['logits'] = nn.Dense(
        self.num_classes,
        dtype=jnp.dtype(self.dtype),
        kernel_init=partitioning.with_logical_axes(
          kernel_init, ('embed', None)
        ),
        bias_init=partitioning.with_logical_axes(
          nn.initializers.zeros, ('embed',)
        ),
        name='head',
      )(x)
    return x, out

  def _embed(
    self, images: Float[Array, 'B H W 3'], v: Variant
  ) -> Float[Array, 'B N C']:
    """Cuts patches, projects them and adds positions and class token."""
    x = nn.Conv(
      v.width,
      (v.patch_size, v.patch_size),
      strides=(v.patch_size, v.patch_size),
      padding='VALID',
      dtype=jnp.dtype(self.dtype),
      kernel_init=partitioning.with_logical_axes(
        nn.initializers.lecun_normal(), (None, None, None, 'embed')
      ),
      bias_init=partitioning.with_logical_axes(
        nn.initializers.zeros, ('embed',)
      ),
      name='embedding',
    )(images.astype(self.dtype))
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height * width, channels)
    posemb = self.param(
      'pos_embedding',
      partitioning.with_logical_axes(
        nn.initializers.normal(channels**-0.5), (None, None, 'embed')
      ),
      (1, height * width, channels),
    )
    x = x + posemb.astype(x.dtype)
    # Behind the positions, as in big_vision: the class token has none.
    if self.pool_type == 'tok':
      cls = self.param(
        'cls',
        partitioning.with_logical_axes(
          nn.initializers.zeros, (None, None, 'embed')
        ),
        (1, 1, channels),
      )
      cls = jnp.tile(cls.astype(x.dtype), (batch, 1, 1))
      x = jnp.concatenate([cls, x], axis=1)
    return x

  def _pool(self, x: Float[Array, 'B N C'], v: Variant) -> Float[Array, '...']:
    """Reduces tokens to features as `pool_type` says."""
    match self.pool_type:
      case 'none':
        return x
      case 'map':
        return MAPHead(v.mlp_dim, v.num_heads, self.dtype, name='MAPHead_0')(x)
      case 'gap':
        return x.mean(axis=1)
      case 'tok':
        return x[:, 0]
    raise ValueError(
      f'ViT: unknown pool_type {self.pool_type!r}; choose none, map, gap or '
      'tok.'
    )
