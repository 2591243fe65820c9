"""Pre-LayerNorm Transformer blocks with big_vision's parameter names.

Shared by the image towers of `vidlm` and both towers of `dualenc`.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from vidlm.core import partitioning
from vidlm.nn import attention as attention_lib
from vidlm.nn import dense, layers


class MlpBlock(nn.Module):
  """Two dense layers with an activation between."""

  mlp_dim: int
  activation: str = 'gelu'
  dtype: str = 'bfloat16'

  @nn.compact
  def __call__(self, x: Float[Array, 'B N C']) -> Float[Array, 'B N C']:
    """Applies the layers to each token of `x`."""

    def layer(features: int, axes: tuple[str, str], name: str) -> nn.Dense:
      return nn.Dense(
        features,
        dtype=jnp.dtype(self.dtype),
        kernel_init=partitioning.with_logical_axes(
          nn.initializers.xavier_uniform(), axes
        ),
        bias_init=partitioning.with_logical_axes(
          # As in big_vision: nearly zero, not zero.
          nn.initializers.normal(1e-6),
          axes[1:],
        ),
        dot_general=dense.dot_general,
        name=name,
      )

    width = x.shape[-1]
    x = layer(self.mlp_dim, ('embed', 'mlp'), 'Dense_0')(x)
    x = layers.activation(self.activation)(x)
    return layer(width, ('mlp', 'embed'), 'Dense_1')(x)


class EncoderBlock(nn.Module):
  """A pre-LayerNorm Transformer block.

  `vidlm` uses big_vision's numbers; `dualenc` passes CLIP's epsilon and
  activation.
  """

  mlp_dim: int
  num_heads: int
  epsilon: float = 1e-6
  activation: str = 'gelu'
  dtype: str = 'bfloat16'
  attention: attention_lib.Implementation = 'xla'

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B N C'],
    mask: Bool[Array, '#B #K #N N'] | None = None,
  ) -> tuple[Float[Array, 'B N C'], None]:
    """Applies the block.

    Args:
      mask: True where a key may be seen; or None.

    Returns:
      The carry of a scan, and its output, None.
    """
    x = partitioning.constrain(x, 'batch', 'length', 'embed')
    y = layers.layer_norm('LayerNorm_0', self.epsilon, self.dtype)(x)
    x = x + attention_lib.MultiHeadDotProductAttention(
      num_heads=self.num_heads,
      dtype=self.dtype,
      implementation=self.attention,
      name='MultiHeadDotProductAttention_0',
    )(y, y, mask)
    y = layers.layer_norm('LayerNorm_1', self.epsilon, self.dtype)(x)
    x = x + MlpBlock(
      self.mlp_dim, self.activation, self.dtype, name='MlpBlock_0'
    )(y)
    return partitioning.constrain(x, 'batch', 'length', 'embed'), None


class Encoder(nn.Module):
  """A stack of blocks and, unless `final_norm` is off, `encoder_norm`."""

  depth: int
  mlp_dim: int
  num_heads: int
  epsilon: float = 1e-6
  activation: str = 'gelu'
  scan: bool = True
  remat_policy: str = 'nothing_saveable'
  final_norm: bool = True
  dtype: str = 'bfloat16'
  attention: attention_lib.Implementation = 'xla'

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B N C'],
    mask: Bool[Array, '#B #K #N N'] | None = None,
  ) -> tuple[Float[Array, 'B N C'], dict[str, Any]]:
    """Runs the stack.

    Args:
      mask: The same for all blocks; or None.

    Returns:
      The tokens, and a dict with the result of each block, `block00`, ... (only
      without scan: a scan would have to keep them all) and of the last,
      `pre_ln`.
    """
    out = {}
    block = layers.remat(
      EncoderBlock, self.remat_policy, prevent_cse=not self.scan
    )
    kwargs = {
      'mlp_dim': self.mlp_dim,
      'num_heads': self.num_heads,
      'epsilon': self.epsilon,
      'activation': self.activation,
      'dtype': self.dtype,
      'attention': self.attention,
    }
    if self.scan:
      scanned = layers.scan(block, self.depth, {'__call__': nn.broadcast})
      x, _ = scanned(**kwargs, name='encoderblock')(x, mask)
    else:
      for i in range(self.depth):
        x, _ = block(**kwargs, name=f'encoderblock_{i}')(x, mask)
        out[f'block{i:02d}'] = x
    out['pre_ln'] = x
    if self.final_norm:
      x = layers.layer_norm('encoder_norm', self.epsilon, self.dtype)(x)
    return x, out


class MAPHead(nn.Module):
  """Multi-head attention pooling by one learned probe."""

  mlp_dim: int
  num_heads: int
  dtype: str = 'bfloat16'

  @nn.compact
  def __call__(self, x: Float[Array, 'B N C']) -> Float[Array, 'B C']:
    """Pools tokens to one vector."""
    batch, _, width = x.shape
    probe = self.param(
      'probe',
      partitioning.with_logical_axes(
        nn.initializers.xavier_uniform(), (None, None, 'embed')
      ),
      (1, 1, width),
    )
    probe = jnp.tile(probe.astype(x.dtype), (batch, 1, 1))
    # One query: a fused kernel would only pad it.
    x = attention_lib.MultiHeadDotProductAttention(
      self.num_heads, self.dtype, name='MultiHeadDotProductAttention_0'
    )(probe, x)
    y = layers.layer_norm('LayerNorm_0', dtype=self.dtype)(x)
    x = x + MlpBlock(self.mlp_dim, dtype=self.dtype, name='MlpBlock_0')(y)
    return x[:, 0]
