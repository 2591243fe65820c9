"""ViT-st: CLIP's image tower with joint attention over space and time.

The tower of paper section 5.2: patches of all frames are one sequence in front
of which stands one class token, and PE[i] = PE_t[i] + PE_s. With one frame and
PE_t = 0 it is the image tower of openai/CLIP (`clip/model.py`); the layout of
the sequence is that of AVION (`avion/models/transformer.py`).
"""

from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from vidlm.core import partitioning, ranges
from vidlm.nn import attention as attention_lib
from vidlm.nn import layers, transformer, vit

# Of CLIP's training images, in units of 255.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# Not big_vision's 1e-6: CLIP's weights were trained with PyTorch's default.
EPSILON = 1e-5


class ViTST(nn.Module):
  """A space-time Vision Transformer with CLIP's details.

  Attributes:
    variant: See `vit.decode_variant`: 'B/16', 'B/32', 'L/14', 'mu/16', or
      numbers, '64,2,256,4/16'.
    num_frames: T; calls with fewer frames use the first temporal embeddings.
    image_size: Height and width of the frames, in pixels.
    embed_dim: Width of the space shared with the text tower.
    temporal_std: Spread of the initial temporal embedding; the paper says it is
      random and not how, 0.02 is ours; 0 gives zeros, as in AVION.
    mean: Mean of the pixels, in units of 255.
    std: Spread of the pixels, in units of 255.
    activation: QuickGELU in OpenAI's weights, 'gelu_exact' in some of
      open_clip's.
    scan: See `transformer.Encoder`.
    remat_policy: See `layers.REMAT_POLICIES`.
    dtype: Type of activations and matrix products; parameters are float32.
    attention: See `attention.dot_product_attention`.
  """

  variant: str = 'B/16'
  num_frames: Annotated[ranges.Size, ranges.Called('NUM_FRAMES')] = 4
  image_size: Annotated[ranges.Size, ranges.Called('IMAGE_SIZE')] = 224
  embed_dim: Annotated[ranges.Size, ranges.Called('EMBED_DIM')] = 512
  temporal_std: ranges.Factor = 0.02
  mean: tuple[float, float, float] = CLIP_MEAN
  std: tuple[float, float, float] = CLIP_STD
  activation: str = 'quick_gelu'
  scan: bool = True
  remat_policy: str = 'nothing_saveable'
  dtype: str = 'bfloat16'
  attention: attention_lib.Implementation = 'xla'

  def __post_init__(self) -> None:
    ranges.check(self)
    super().__post_init__()

  @nn.compact
  def __call__(
    self, frames: UInt8[Array, 'B T H W 3']
  ) -> tuple[Float[Array, 'B E'], dict[str, Any]]:
    """Encodes clips.

    Args:
      frames: Pixels as decoded; normalised here, on the device.

    Returns:
      Embeddings, not normalised, and the named intermediates.

    Raises:
      ValueError: If there are more frames than `num_frames`, or their size is
        not `image_size`.
    """
    self._check(frames.shape)
    v = vit.decode_variant(self.variant)
    out: dict[str, Any] = {}
    x = normalize(frames, self.mean, self.std)
    x = out['stem'] = self._embed(x, v)  # B 1+T*N C
    x = layers.layer_norm('ln_pre', EPSILON, self.dtype)(x)
    x, out['encoder'] = transformer.Encoder(
      v.depth,
      v.mlp_dim,
      v.num_heads,
      epsilon=EPSILON,
      activation=self.activation,
      scan=self.scan,
      remat_policy=self.remat_policy,
      dtype=self.dtype,
      attention=self.attention,
      name='Transformer',
    )(x)
    out['encoded'] = x
    return project(x[:, 0], self.embed_dim, self.dtype), out

  def _check(self, shape: tuple[int, ...]) -> None:
    _, t, h, w, _ = shape
    size = self.image_size
    if (h, w) != (size, size):
      raise ValueError(
        f'ViTST: frames of {h}x{w} pixels, but image_size is {size}; crop the '
        'frames or set ViTST.image_size.'
      )
    if t > self.num_frames:
      raise ValueError(
        f'ViTST: {t} frames, but num_frames is {self.num_frames}; sample fewer '
        'frames or set ViTST.num_frames.'
      )

  def _embed(
    self, x: Float[Array, 'B T H W 3'], v: vit.Variant
  ) -> Float[Array, 'B S C']:
    """Cuts patches, adds PE_t + PE_s, puts the class token in front."""
    b, t = x.shape[:2]
    x = nn.Conv(
      v.width,
      (v.patch_size, v.patch_size),
      strides=(v.patch_size, v.patch_size),
      padding='VALID',
      use_bias=False,
      dtype=jnp.dtype(self.dtype),
      kernel_init=partitioning.with_logical_axes(
        nn.initializers.lecun_normal(), (None, None, None, 'embed')
      ),
      name='embedding',
    )(x.reshape(b * t, *x.shape[2:]))
    n, c = x.shape[1] * x.shape[2], x.shape[3]
    cls, pos, temporal = self._position_embeddings(n, c)
    x = x.reshape(b, t, n, c)
    x = x + (temporal[:, :t, None] + pos[:, None, 1:]).astype(x.dtype)
    # The class token belongs to no frame: it gets no temporal embedding.
    cls = jnp.broadcast_to((cls + pos[:, :1]).astype(x.dtype), (b, 1, c))
    x = jnp.concatenate([cls, x.reshape(b, t * n, c)], axis=1)
    return partitioning.constrain(x, 'batch', 'length', 'embed')

  def _position_embeddings(
    self, n: int, c: int
  ) -> tuple[
    Float[Array, '1 1 C'], Float[Array, '1 N C'], Float[Array, '1 T C']
  ]:
    """Returns the class token, PE_s (its own place first) and PE_t."""

    def table(name: str, length: int, std: float) -> Float[Array, '1 N C']:
      init = partitioning.with_logical_axes(
        nn.initializers.normal(std), (None, None, 'embed')
      )
      return self.param(name, init, (1, length, c))

    return (
      table('cls', 1, c**-0.5),
      table('pos_embedding', 1 + n, c**-0.5),
      table('temporal_embedding', self.num_frames, self.temporal_std),
    )


def normalize(
  frames: UInt8[Array, '*shape 3'],
  mean: tuple[float, float, float],
  std: tuple[float, float, float],
) -> Float[Array, '*shape 3']:
  """Returns (frames / 255 - mean) / std in float32."""
  x = frames.astype(jnp.float32) / 255.0
  return (x - jnp.asarray(mean)) / jnp.asarray(std)


def project(
  x: Float[Array, 'B C'], embed_dim: int, dtype: str
) -> Float[Array, 'B E']:
  """Applies CLIP's projection, a dense `head` without bias [C, E]."""
  return nn.Dense(
    embed_dim,
    use_bias=False,
    dtype=jnp.dtype(dtype),
    kernel_init=partitioning.with_logical_axes(
      nn.initializers.normal(x.shape[-1] ** -0.5), ('embed', None)
    ),
    name='head',
  )(x)
