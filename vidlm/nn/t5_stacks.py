"""The encoder and the decoder of T5 1.1: layers, and stacks of them."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vidlm.core import partitioning
from vidlm.nn import layers
from vidlm.nn.t5_config import T5Config
from vidlm.nn.t5_layers import (
  Embed,
  Logits,
  MlpBlock,
  MultiHeadAttention,
  RMSNorm,
  dropout,
)
from vidlm.nn.t5_positions import RelativePositionBias

# Tokens of R samples a clip, and the caches of all layers (BR: B * R rows).
StepCarry = tuple[
  Float[Array, 'B R C'], dict[str, Float[Array, 'layers BR L K D']]
]


def _constrain(x: Array) -> Array:
  return partitioning.constrain(x, 'batch', 'length', 'embed')


class EncoderLayer(nn.Module):
  """Self-attention and feed-forward, each behind an RMSNorm."""

  config: T5Config

  @nn.compact
  def __call__(
    self,
    x: Float[Array, 'B S C'],
    bias: Float[Array, '1 K S S'] | None,
    mask: Bool[Array, 'B 1 1 S'],
  ) -> tuple[Float[Array, 'B S C'], None]:
    """Applies the layer; returns the carry and the (empty) output of a scan.

    Args:
      bias: Shared by the stack; None if the layer has its own.
      mask: True for real tokens.
    """
    cfg = self.config
    x = _constrain(x)
    if bias is None:
      positions = jnp.arange(x.shape[1])
      table = RelativePositionBias(cfg, bidirectional=True, name='relpos_bias')
      bias = table(positions, positions)
    y = RMSNorm(cfg.dtype, name='pre_attention_layer_norm')(x)
    y = MultiHeadAttention(cfg, name='attention')(y, y, bias, mask)
    x = x + dropout(self, y)
    y = RMSNorm(cfg.dtype, name='pre_mlp_layer_norm')(x)
    y = MlpBlock(cfg, name='mlp')(y)
    return _constrain(x + dropout(self, y)), None


class Encoder(nn.Module):
  """The encoder stack over embeddings."""

  config: T5Config

  @nn.compact
  def __call__(
    self, x: Float[Array, 'B S C'], mask: Bool[Array, 'B S']
  ) -> Float[Array, 'B S C']:
    """Encodes embeddings.

    Args:
      x: Token or visual embeddings.
      mask: True for real tokens.
    """
    cfg = self.config
    bias = None
    if not cfg.relpos_per_layer:
      positions = jnp.arange(x.shape[1])
      table = RelativePositionBias(cfg, bidirectional=True, name='relpos_bias')
      bias = table(positions, positions)
    mask = mask[:, None, None, :]
    x = dropout(self, x)
    layer = layers.remat(
      EncoderLayer, cfg.remat_policy, prevent_cse=not cfg.scan_layers
    )
    if cfg.scan_layers:
      stack = layers.scan(
        layer, cfg.num_encoder_layers, {'__call__': nn.broadcast}
      )
      x, _ = stack(cfg, name='layers')(x, bias, mask)
    else:
      for i in range(cfg.num_encoder_layers):
        x, _ = layer(cfg, name=f'layers_{i}')(x, bias, mask)
    x = RMSNorm(cfg.dtype, name='encoder_norm')(x)
    return dropout(self, x)


class DecoderLayer(nn.Module):
  """Causal self-attention, cross-attention and feed-forward."""

  config: T5Config

  def setup(self):
    cfg = self.config
    if cfg.relpos_per_layer:
      self.relpos_bias = RelativePositionBias(cfg, bidirectional=False)
    self.pre_self_attention_layer_norm = RMSNorm(cfg.dtype)
    self.self_attention = MultiHeadAttention(cfg)
    self.pre_cross_attention_layer_norm = RMSNorm(cfg.dtype)
    self.encoder_decoder_attention = MultiHeadAttention(cfg)
    self.pre_mlp_layer_norm = RMSNorm(cfg.dtype)
    self.mlp = MlpBlock(cfg)

  def __call__(
    self,
    x: Float[Array, 'B L C'],
    encoded: Float[Array, 'B S C'],
    bias: Float[Array, '1 K L L'] | None,
    causal: Bool[Array, '1 1 L L'],
    mask: Bool[Array, 'B 1 1 S'],
  ) -> tuple[Float[Array, 'B L C'], None]:
    """Applies the layer to whole sequences.

    Args:
      bias: For self-attention; None if the layer has its own.
      mask: True for real encoder positions.

    Returns:
      And None.
    """
    x = _constrain(x)
    if bias is None:
      positions = jnp.arange(x.shape[1])
      bias = self.relpos_bias(positions, positions)
    y = self.pre_self_attention_layer_norm(x)
    x = x + dropout(self, self.self_attention(y, y, bias, causal))
    y = self.pre_cross_attention_layer_norm(x)
    y = self.encoder_decoder_attention(y, encoded, None, mask)
    x = x + dropout(self, y)
    y = self.mlp(self.pre_mlp_layer_norm(x))
    return _constrain(x + dropout(self, y)), None

  def cross_kv(
    self, carry: tuple[()], encoded: Float[Array, 'B S C']
  ) -> tuple[tuple[()], dict[str, Float[Array, 'B S K D']]]:
    """Returns this layer's cross-attention keys and values of `encoded`."""
    return carry, self.encoder_decoder_attention.keys_values(encoded)

  def step(
    self,
    carry: StepCarry,
    layer: Int[Array, ''],
    cross_kv: dict[str, Float[Array, 'B S K D']],
    index: Int[Array, ''],
    bias: Float[Array, '1 K 1 L'] | None,
    causal: Bool[Array, '1 1 1 L'],
    mask: Bool[Array, 'B 1 1 S'],
  ) -> tuple[StepCarry, None]:
    """Applies the layer to one new token of each of R samples a clip.

    Self-attention sees each sample apart ([B*R, 1] queries on its own cache);
    cross-attention takes the R samples as R queries on the clip's one copy of
    keys and values.

    Args:
      carry: Tokens, and the caches, of which only the slot (layer, :, index) is
        written.
      layer: Number of this layer.
      index: Position of the token.
      bias: None if the layer has its own.
      causal: True up to `index`.

    Returns:
      The new carry and None.
    """
    x, cache = carry
    x = _constrain(x)
    if bias is None:
      positions = jnp.arange(cache['key'].shape[2])
      bias = self.relpos_bias(index[None], positions)
    batch, samples, width = x.shape
    y = self.pre_self_attention_layer_norm(x)
    y = y.reshape(batch * samples, 1, width)
    new = self.self_attention.keys_values(y)  # B*R 1 K D
    cache = {
      name: jax.lax.dynamic_update_slice(
        cache[name], new[name][None], (layer, 0, index, 0, 0)
      )
      for name in cache
    }
    own = {
      name: jax.lax.dynamic_index_in_dim(c, layer, keepdims=False)
      for name, c in cache.items()
    }
    y = self.self_attention.attend(
      self.self_attention.queries(y), own, bias, causal
    )
    x = x + y.reshape(batch, samples, width)
    y = self.pre_cross_attention_layer_norm(x)
    x = x + self.encoder_decoder_attention.attend(
      self.encoder_decoder_attention.queries(y), cross_kv, None, mask
    )
    x = x + self.mlp(self.pre_mlp_layer_norm(x))
    return (_constrain(x), cache), None


class Decoder(nn.Module):
  """The decoder stack, whole sequences or token by token."""

  config: T5Config

  def setup(self):
    cfg = self.config
    if not cfg.relpos_per_layer:
      self.relpos_bias = RelativePositionBias(cfg, bidirectional=False)
    self.decoder_norm = RMSNorm(cfg.dtype)
    if not cfg.logits_via_embedding:
      self.logits_dense = Logits(cfg)
    layer = layers.remat(
      DecoderLayer, cfg.remat_policy, prevent_cse=not cfg.scan_layers
    )
    # Under a scan there is one module, 'layers'; else a list, 'layers_{i}'.
    if cfg.scan_layers:
      b = nn.broadcast
      axes = {'__call__': b, 'cross_kv': b, 'step': (0, 0, b, b, b, b)}
      self.layers: Any = layers.scan(layer, cfg.num_decoder_layers, axes)(cfg)
    else:
      self.layers = [layer(cfg) for _ in range(cfg.num_decoder_layers)]

  def __call__(
    self,
    x: Float[Array, 'B L C'],
    encoded: Float[Array, 'B S C'],
    mask: Bool[Array, 'B S'],
    embed: Embed,
  ) -> Float[Array, 'B L V']:
    """Decodes whole sequences (teacher forcing).

    Args:
      x: Embedded decoder inputs.
      mask: True for real encoder positions.
      embed: The token table, for tied logits.

    Returns:
      Logits in float32.
    """
    positions = jnp.arange(x.shape[1])
    bias = self._bias(positions, positions)
    causal = (positions[:, None] >= positions[None, :])[None, None]
    mask = mask[:, None, None, :]
    x = dropout(self, x)
    if self.config.scan_layers:
      x, _ = self.layers(x, encoded, bias, causal, mask)
    else:
      for layer in self.layers:
        x, _ = layer(x, encoded, bias, causal, mask)
    return self._logits(x, embed)

  def cross_kv(
    self, encoded: Float[Array, 'B S C']
  ) -> dict[str, Float[Array, 'layers B S K D']]:
    """Returns the cross-attention keys and values of all layers."""
    if self.config.scan_layers:
      return self.layers.cross_kv((), encoded)[1]
    each = [layer.cross_kv((), encoded)[1] for layer in self.layers]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

  def step(
    self,
    x: Float[Array, 'B R C'],
    index: Int[Array, ''],
    cache: dict[str, Float[Array, 'layers BR L K D']],
    cross_kv: dict[str, Float[Array, 'layers B S K D']],
    mask: Bool[Array, 'B S'],
    embed: Embed,
  ) -> tuple[Float[Array, 'B R V'], dict[str, Float[Array, 'layers BR L K D']]]:
    """Decodes one token of each of R samples a clip; see `T5.decode_step`."""
    positions = jnp.arange(cache['key'].shape[2])
    bias = self._bias(index[None], positions)
    causal = (positions <= index)[None, None, None]
    shared = (index, bias, causal, mask[:, None, None, :])
    carry = (x, cache)
    if self.config.scan_layers:
      numbers = jnp.arange(self.config.num_decoder_layers)
      carry, _ = self.layers.step(carry, numbers, cross_kv, *shared)
    else:
      for i, layer in enumerate(self.layers):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], cross_kv)
        carry, _ = layer.step(carry, jnp.asarray(i), own, *shared)
    x, cache = carry
    return self._logits(x, embed), cache

  def _bias(
    self, query_positions: Int[Array, 'Lq'], key_positions: Int[Array, 'Lk']
  ) -> Float[Array, '1 K Lq Lk'] | None:
    if self.config.relpos_per_layer:
      return None
    return self.relpos_bias(query_positions, key_positions)

  def _logits(
    self, x: Float[Array, 'B L C'], embed: Embed
  ) -> Float[Array, 'B L V']:
    x = dropout(self, self.decoder_norm(x))
    if self.config.logits_via_embedding:
      return embed.attend(x)
    return self.logits_dense(x)
