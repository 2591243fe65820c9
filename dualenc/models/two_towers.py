"""Two towers and a temperature, named as in big_vision's `two_towers`."""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

from dualenc.models import text as text_lib
from dualenc.models import vit_st
from vidlm.core import partitioning, ranges

# CLIP and AVION keep the logit scale exp(t) between 1 and 100.
MIN_LOG_SCALE = 0.0
MAX_LOG_SCALE = math.log(100.0)


class TwoTowers(nn.Module):
  """Embeds clips and texts into one space.

  Parameters are `img`, `txt`, `t` (log of the logit scale, [1]) and, with
  `bias_init`, `b`.

  Attributes:
    img: The tower of the frames.
    txt: The tower of the texts; same `embed_dim`.
    temperature_init: The initial t is the log of its inverse.
    bias_init: Initial logit bias of the sigmoid loss; None has no bias.
  """

  img: vit_st.ViTST = vit_st.ViTST()
  txt: text_lib.TextTransformer = text_lib.TextTransformer()
  temperature_init: ranges.Positive = 0.07
  bias_init: float | None = None

  def __post_init__(self) -> None:
    ranges.check(self)
    super().__post_init__()

  @nn.compact
  def __call__(
    self,
    frames: UInt8[Array, 'B T H W 3'] | None = None,
    text: Int[Array, 'P L'] | None = None,
  ) -> tuple[
    Float[Array, 'B E'] | None, Float[Array, 'P E'] | None, dict[str, Any]
  ]:
    """Embeds what is given.

    Returns:
      Unit vectors in float32, None where the input was; and
      a dict with the logit scale `t`, the bias `b` if there is one, and the
      named intermediates `img/...`, `txt/...`.

    Raises:
      ValueError: If the towers disagree about the width of the embedding.
    """
    if self.img.embed_dim != self.txt.embed_dim:
      raise ValueError(
        f'TwoTowers: the towers embed into {self.img.embed_dim} and '
        f'{self.txt.embed_dim} dimensions; set both embed_dim alike.'
      )
    out = self._scale_and_bias()
    zimg = ztxt = None
    if frames is not None:
      zimg, intermediates = self.img(frames)
      zimg = l2_normalize(zimg)
      out |= {f'img/{k}': v for k, v in intermediates.items()}
    if text is not None:
      ztxt, intermediates = self.txt(text)
      ztxt = l2_normalize(ztxt)
      out |= {f'txt/{k}': v for k, v in intermediates.items()}
    return zimg, ztxt, out

  def _scale_and_bias(self) -> dict[str, Any]:
    def scalar(name: str, value: float) -> Float[Array, '1']:
      init = partitioning.with_logical_axes(
        nn.initializers.constant(value), (None,)
      )
      return self.param(name, init, (1,))

    t = scalar('t', -math.log(self.temperature_init)).astype(jnp.float32)
    out = {'t/parameter': t}
    out['t'] = jnp.exp(projected_clip(t, MIN_LOG_SCALE, MAX_LOG_SCALE))[0]
    if self.bias_init is not None:
      out['b'] = scalar('b', self.bias_init)[0]
    return out


def l2_normalize(x: Float[Array, 'B E']) -> Float[Array, 'B E']:
  """Returns rows of length one, in float32."""
  x = x.astype(jnp.float32)
  return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-12)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def projected_clip(
  x: Float[Array, '*shape'], low: float, high: float
) -> Float[Array, '*shape']:
  """Clips, and stops only those gradients that would lead further out.

  AVION projects the parameter itself back after each step. This needs nothing
  from the optimizer: at a bound, descent outwards sees a zero gradient and
  descent inwards the true one, so the parameter neither drifts away nor sticks
  as it would behind `jnp.clip`. Momentum may carry it some learning rates past
  the bound; the value used stays inside.

  Args:
    x: Any array.
    low: Lower bound.
    high: Upper bound.

  Returns:
    The clipped array.
  """
  return jnp.clip(x, low, high)


def _projected_clip_forward(x, low, high):
  return jnp.clip(x, low, high), x


def _projected_clip_backward(low, high, x, gradient):
  outwards = ((x >= high) & (gradient < 0)) | ((x <= low) & (gradient > 0))
  return (jnp.where(outwards, 0, gradient),)


projected_clip.defvjp(_projected_clip_forward, _projected_clip_backward)
