"""Gemma 1 and 2 as prefix-LMs: both ways over the prefix, causal after it.

Source: google-research/big_vision `models/ppp/gemma.py` and PaliGemma
(numerics and parameter names matched). The first target is predicted from the
last token of the prefix, so unlike T5 no start token is fed; position counts
real tokens alone, so padding changes nothing.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vidlm.core import partitioning
from vidlm.nn.gemma_config import GemmaConfig
from vidlm.nn.gemma_layers import Embedder, RMSNorm
from vidlm.nn.gemma_stack import Stack, prefix_of
from vidlm.nn.prefix_attention import KeyValue

__all__ = ['Gemma', 'GemmaConfig', 'KeyValue']


class Gemma(nn.Module):
  """The language model; parameters as big_vision's `llm`.

  `__call__` is the text model; a VLM calls `embed` and `forward`, or `encode`
  once and `decode_step` for each token.
  """

  config: GemmaConfig

  def setup(self):
    self.embedder = Embedder(self.config)
    self.stack = Stack(self.config)
    nn.share_scope(self, self.stack)  # 'llm/layers', not 'llm/stack/layers'.
    self.final_norm = RMSNorm(self.config)

  def __call__(
    self,
    encoder_input_tokens: Int[Array, 'B S'],
    decoder_input_tokens: Int[Array, 'B L'],
  ) -> Float[Array, 'B L V']:
    """Returns logits of a text-to-text model; id 0 is padding.

    Args:
      encoder_input_tokens: The prefix.
      decoder_input_tokens: Targets shifted right behind a 0.

    Returns:
      Logits in float32.
    """
    mask = encoder_input_tokens > 0
    x = self.embed(encoder_input_tokens)
    return self.forward(x, mask, decoder_input_tokens)

  def embed(self, tokens: Int[Array, 'B L']) -> Float[Array, 'B L C']:
    """Embeds token ids."""
    return self.embedder(tokens)

  def forward(
    self,
    embeddings: Float[Array, 'B S C'],
    mask: Bool[Array, 'B S'],
    decoder_input_tokens: Int[Array, 'B L'],
  ) -> Float[Array, 'B L V']:
    """Returns float32 logits of whole targets.

    Args:
      embeddings: The prefix.
      mask: True for real positions.
      decoder_input_tokens: Targets shifted right; the first is not read,
        padding sits at the end.
    """
    y = self.embed(decoder_input_tokens[:, 1:])
    x, y = self.stack(embeddings, y, prefix_of(mask))
    return self._logits(jnp.concatenate([_last(x, mask), y], axis=1))

  def encode(
    self, embeddings: Float[Array, 'B S C'], mask: Bool[Array, 'B S']
  ) -> KeyValue:
    """Reads the prefix.

    Args:
      mask: True for real positions.

    Returns:
      What decoding needs of it: {'key', 'value'} [layers, B, S, G, D], and
      'last' [B, 1, C], the state that the first token is predicted from.
    """
    x, key_value = self.stack.prefill(embeddings, prefix_of(mask))
    return {**key_value, 'last': _last(x, mask)}

  def precompute_cross_kv(self, encoded: KeyValue) -> KeyValue:
    """Returns what the steps read of a clip: all of `encode`."""
    return encoded

  def init_cache(
    self, batch: int, samples: int, length: int
  ) -> dict[str, Float[Array, 'layers B R L G D']]:
    """Returns an empty cache for the tokens after the prefix.

    Args:
      batch: B, clips.
      samples: R, samples a clip.
      length: L, the most tokens that will be decoded.

    Returns:
      {'key', 'value'}: zeros.
    """
    cfg = self.config
    heads, size = cfg.num_kv_heads, cfg.head_dim
    shape = (cfg.num_layers, batch, samples, length, heads, size)
    axes = (None, 'batch', None, None, 'heads', 'kv')
    return {
      name: partitioning.constrain(jnp.zeros(shape, cfg.dtype), *axes)
      for name in ('key', 'value')
    }

  def decode_step(
    self,
    tokens: Int[Array, 'B R'],
    index: Int[Array, ''],
    cache: dict[str, Float[Array, 'layers B R L G D']],
    cross_kv: KeyValue,
    mask: Bool[Array, 'B S'],
  ) -> tuple[
    Float[Array, 'B R V'], dict[str, Float[Array, 'layers B R L G D']]
  ]:
    """Decodes one token of each of R samples a clip.

    Args:
      tokens: The tokens decoded last (of no meaning at the start).
      index: How many were decoded before.
      cache: From `init_cache` or the step before.
      cross_kv: From `encode`, one copy a clip.
      mask: True for real positions of the prefix.

    Returns:
      Logits of the next tokens in float32, and the new cache.
    """
    key_value = {name: cross_kv[name] for name in ('key', 'value')}
    # The prefix itself predicts token 0: the stack is one token behind.
    x, cache = self.stack.step(
      self.embed(tokens), index - 1, cache, key_value, prefix_of(mask)
    )
    return self._logits(jnp.where(index == 0, cross_kv['last'], x)), cache

  def _logits(self, x: Float[Array, 'B L C']) -> Float[Array, 'B L V']:
    return self.embedder.attend(self.final_norm(x))


def _last(
  x: Float[Array, 'B S C'], mask: Bool[Array, 'B S']
) -> Float[Array, 'B 1 C']:
  """Returns the last real position; position 0 if there is none."""
  last = jnp.max(jnp.where(mask, jnp.arange(mask.shape[1]), 0), axis=1)
  return jnp.take_along_axis(x, last[:, None, None], axis=1)
