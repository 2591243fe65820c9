"""CLIP's text tower: a causal Transformer, read where the text ends.

Source: openai/CLIP `clip/model.py` (behaviour matched); names as in big_vision
`models/proj/image_text/text_transformer.py`.
"""

from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from dualenc.models import vit_st
from vidlm.core import partitioning, ranges
from vidlm.nn import attention as attention_lib
from vidlm.nn import transformer


class TextTransformer(nn.Module):
  """Token ids to one embedding.

  Attributes:
    width: C; 512 beside ViT-B, 768 beside ViT-L.
    depth: Number of blocks.
    num_heads: K; CLIP has width / 64.
    mlp_dim: None for 4 * width, as in CLIP.
    vocab_size: V.
    context_length: Length of the position embedding, and so the longest text.
    embed_dim: Width of the space shared with the frame tower.
    eos_id: The text is read at the first token with this id (at the last token
      if there is none); None reads at the highest id, which is the end of text
      in CLIP's vocabulary.
    activation: QuickGELU in OpenAI's weights.
    scan: See `transformer.Encoder`.
    remat_policy: See `layers.REMAT_POLICIES`.
    dtype: Type of activations and matrix products; parameters are float32.
    attention: See `attention.dot_product_attention`.
  """

  width: ranges.Size = 512
  depth: ranges.Size = 12
  num_heads: ranges.Size = 8
  mlp_dim: ranges.Size | None = None
  vocab_size: ranges.Size = 49408
  context_length: ranges.Size = 77
  embed_dim: Annotated[ranges.Size, ranges.Called('EMBED_DIM')] = 512
  eos_id: ranges.Count | None = None
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
    self, text: Int[Array, 'B L']
  ) -> tuple[Float[Array, 'B E'], dict[str, Any]]:
    """Encodes texts.

    Args:
      text: Token ids, at most `context_length`. What stands behind the end of
        text has no influence: attention is causal.

    Returns:
      Embeddings, not normalised, and the named intermediates.

    Raises:
      ValueError: If the texts are longer than `context_length`.
    """
    length = text.shape[1]
    if length > self.context_length:
      raise ValueError(
        f'TextTransformer: texts of {length} tokens, but context_length is '
        f'{self.context_length}; tokenize to that length.'
      )
    out: dict[str, Any] = {}
    x = out['stem'] = self._embed(text)  # B L C
    x, out['encoder'] = transformer.Encoder(
      self.depth,
      self.mlp_dim or 4 * self.width,
      self.num_heads,
      epsilon=vit_st.EPSILON,
      activation=self.activation,
      scan=self.scan,
      remat_policy=self.remat_policy,
      dtype=self.dtype,
      attention=self.attention,
      name='Encoder_0',
    )(x, jnp.tril(jnp.ones((1, 1, length, length), bool)))
    out['encoded'] = x
    end = end_of_text(text, self.eos_id)
    x = jnp.take_along_axis(x, end[:, None, None], axis=1)[:, 0]  # B C
    return vit_st.project(x, self.embed_dim, self.dtype), out

  def _embed(self, text: Int[Array, 'B L']) -> Float[Array, 'B L C']:
    x = nn.Embed(
      self.vocab_size,
      self.width,
      dtype=jnp.dtype(self.dtype),
      embedding_init=partitioning.with_logical_axes(
        # CLIP's spread, as that of the positions.
        nn.initializers.normal(0.02),
        ('vocab', 'embed'),
      ),
      name='Embed_0',
    )(text)
    positions = self.param(
      'pos_embedding',
      partitioning.with_logical_axes(
        nn.initializers.normal(0.01), (None, None, 'embed')
      ),
      (1, self.context_length, self.width),
    )
    x = x + positions[:, : text.shape[1]].astype(x.dtype)
    return partitioning.constrain(x, 'batch', 'length', 'embed')


def end_of_text(text: Int[Array, 'B L'], eos_id: int | None) -> Int[Array, 'B']:
  """Returns the position at which each text is read.

  Args:
    eos_id: Id of the end of text; None takes the highest id in the row.

  Returns:
    The first such position; the last of the row if `eos_id` is missing.
  """
  if eos_id is None:
    return jnp.argmax(text, axis=1)
  is_end = text == eos_id
  return jnp.where(
    is_end.any(axis=1), jnp.argmax(is_end, axis=1), text.shape[1] - 1
  )
