"""T5 1.1 / UL2: an encoder-decoder over embeddings, with cached decoding.

Source: google-research/t5x `examples/t5/network.py` (numerics and parameter
names matched). Unlike there, masks are explicit (visual tokens have no ids) and
the keys and values of cross-attention are computed once per clip, not once per
decoded token.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vidlm.core import partitioning
from vidlm.nn.t5_config import T5Config
from vidlm.nn.t5_layers import Embed, KeyValue
from vidlm.nn.t5_stacks import Decoder, Encoder

__all__ = ['T5', 'KeyValue', 'T5Config']


class T5(nn.Module):
  """The encoder-decoder; parameters as t5x's `target`.

  `__call__` is the text model; a VLM calls `embed`, `encode` and `decode`.
  """

  config: T5Config

  def setup(self):
    self.token_embedder = Embed(self.config)
    self.encoder = Encoder(self.config)
    self.decoder = Decoder(self.config)

  def __call__(
    self,
    encoder_input_tokens: Int[Array, 'B S'],
    decoder_input_tokens: Int[Array, 'B L'],
  ) -> Float[Array, 'B L V']:
    """Returns logits of a text-to-text model; id 0 is padding.

    Args:
      decoder_input_tokens: Targets shifted right behind a 0.

    Returns:
      Logits in float32.
    """
    mask = encoder_input_tokens > 0
    x = self.embed(encoder_input_tokens)
    return self.forward(x, mask, decoder_input_tokens)

  def forward(
    self,
    embeddings: Float[Array, 'B S C'],
    mask: Bool[Array, 'B S'],
    decoder_input_tokens: Int[Array, 'B L'],
  ) -> Float[Array, 'B L V']:
    """Encodes, then decodes whole sequences; see `encode` and `decode`."""
    encoded = self.encode(embeddings, mask)
    return self.decode(encoded, mask, decoder_input_tokens)

  def embed(self, tokens: Int[Array, 'B L']) -> Float[Array, 'B L C']:
    """Embeds token ids."""
    return self.token_embedder(tokens)

  def encode(
    self, embeddings: Float[Array, 'B S C'], mask: Bool[Array, 'B S']
  ) -> Float[Array, 'B S C']:
    """Encodes embeddings.

    Args:
      mask: True for real positions.
    """
    return self.encoder(embeddings, mask)

  def decode(
    self,
    encoded: Float[Array, 'B S C'],
    mask: Bool[Array, 'B S'],
    decoder_input_tokens: Int[Array, 'B L'],
  ) -> Float[Array, 'B L V']:
    """Returns float32 logits of whole sequences.

    Padding sits at the end of a target, so the causal mask alone hides it from
    every real position.

    Args:
      mask: True for real encoder positions.
    """
    x = self.embed(decoder_input_tokens)
    return self.decoder(x, encoded, mask, self.token_embedder)

  def precompute_cross_kv(
    self, encoded: Float[Array, 'B S C']
  ) -> dict[str, Float[Array, 'layers B S K D']]:
    """Returns the decoder's keys and values of a clip, once for all steps."""
    return self.decoder.cross_kv(encoded)

  def init_cache(
    self, batch: int, samples: int, length: int
  ) -> dict[str, Float[Array, 'layers BR L K D']]:
    """Returns an empty self-attention cache.

    Args:
      batch: B, clips.
      samples: R, samples a clip.
      length: L, the most tokens that will be decoded.

    Returns:
      {'key', 'value'}: zeros; the samples lie in the batch axis, B * R long.
    """
    cfg = self.config
    shape = (
      cfg.num_decoder_layers,
      batch * samples,
      length,
      cfg.num_heads,
      cfg.head_dim,
    )

    def zeros() -> Array:
      return partitioning.constrain(
        jnp.zeros(shape, cfg.dtype), None, 'batch', None, 'heads', 'kv'
      )

    return {'key': zeros(), 'value': zeros()}

  def decode_step(
    self,
    tokens: Int[Array, 'B R'],
    index: Int[Array, ''],
    cache: dict[str, Float[Array, 'layers BR L K D']],
    cross_kv: dict[str, Float[Array, 'layers B S K D']],
    mask: Bool[Array, 'B S'],
  ) -> tuple[Float[Array, 'B R V'], dict[str, Float[Array, 'layers BR L K D']]]:
    """Decodes one token of each of R samples a clip.

    Args:
      tokens: The tokens decoded last (0 at the start).
      index: Their position, from 0.
      cache: From `init_cache` or the step before.
      cross_kv: From `precompute_cross_kv`.
      mask: True for real encoder positions.

    Returns:
      Logits of the next tokens in float32, and the new cache.
    """
    x = self.embed(tokens)
    return self.decoder.step(
      x, index, cache, cross_kv, mask, self.token_embedder
    )
