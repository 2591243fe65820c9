"""One layer of Gemma, and the stack of them, over a prefix and what follows.

The prefix never looks at what follows it, so a layer does it first and hands
its keys and values on. In training both go through each layer together: the
layer's weights are gathered once, and no [S + L, S + L] mask exists. In
decoding the prefix goes through all layers once, and tokens come after.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vidlm.core import partitioning
from vidlm.nn import layers
from vidlm.nn.gemma_config import GemmaConfig
from vidlm.nn.gemma_layers import Attention, FeedForward, RMSNorm
from vidlm.nn.t5_layers import dropout

# Tokens of R samples a clip, and the caches of all layers.
StepCarry = tuple[
  Float[Array, 'B R C'], dict[str, Float[Array, 'layers B R L G D']]
]


class Prefix(NamedTuple):
  """Where the prefix is real, and which position each token has.

  Attributes:
    mask: True for real tokens.
    positions: Number of each token, counting real ones alone.
    length: How many real ones there are.
  """

  # Shapes unchecked: a pytree is also rebuilt around things that are no arrays.
  mask: Array  # bool[B, S]
  positions: Array  # int32[B, S]
  length: Array  # int32[B]


def prefix_of(mask: Bool[Array, 'B S']) -> Prefix:
  """Returns the positions behind a mask; padding may lie anywhere."""
  count = jnp.cumsum(mask.astype(jnp.int32), axis=1)
  # At least 0: padding in front of the first real token would be at -1.
  return Prefix(mask, jnp.maximum(count - 1, 0), count[:, -1])


class View(NamedTuple):
  """What the tokens after a prefix see, in all layers or near by.

  Attributes:
    prefix: True where a token of the prefix is seen.
    own: True where one of the tokens after it is seen.
    near_prefix: The same within the sliding window, or None.
    near_own: The same within the sliding window, or None.
  """

  prefix: Array  # bool[B, 1 or L, S]
  own: Array  # bool[L, Lk]
  near_prefix: Array | None = None
  near_own: Array | None = None

  def select(
    self, windowed: Bool[Array, '']
  ) -> tuple[Bool[Array, 'B #L S'], Bool[Array, 'L Lk']]:
    """Returns the masks of a layer, over the prefix and over own tokens."""
    if self.near_prefix is None or self.near_own is None:
      return self.prefix, self.own
    # By `where`: in a scan over layers `windowed` is traced.
    return (
      jnp.where(windowed, self.near_prefix, self.prefix),
      jnp.where(windowed, self.near_own, self.own),
    )


def view_of(
  prefix: Prefix,
  queries: Int[Array, 'L'],
  keys: Int[Array, 'Lk'],
  window: int,
) -> View:
  """Returns who is seen from tokens after a prefix.

  Args:
    prefix: What they follow.
    queries: Their numbers after it, from 0; -1 sees the prefix alone.
    keys: Numbers of the tokens whose keys there are.
    window: See `GemmaConfig.sliding_window`.

  Returns:
    The `View`.
  """
  own = keys[None, :] <= queries[:, None]
  seen = prefix.mask[:, None, :]
  if not window:
    return View(seen, own)
  position = prefix.length[:, None] + queries[None, :]  # B L
  distance = position[:, :, None] - prefix.positions[:, None, :]
  near_own = own & (queries[:, None] - keys[None, :] < window)
  return View(seen, own, seen & (distance < window), near_own)


class Layer(nn.Module):
  """Attention and feed-forward, each behind a norm (Gemma 2: between two)."""

  config: GemmaConfig

  def setup(self):
    cfg = self.config
    self.pre_attention_norm = RMSNorm(cfg)
    self.attn = Attention(cfg)
    self.pre_ffw_norm = RMSNorm(cfg)
    self.mlp = FeedForward(cfg)
    if cfg.post_norms:
      self.post_attention_norm = RMSNorm(cfg)
      self.post_ffw_norm = RMSNorm(cfg)

  def __call__(
    self,
    carry: tuple[Float[Array, 'B S C'], Float[Array, 'B L C']],
    windowed: Bool[Array, ''],
    prefix: Prefix,
    view: View,
  ) -> tuple[tuple[Float[Array, 'B S C'], Float[Array, 'B L C']], None]:
    """Applies the layer to a prefix and to all that follows it.

    Args:
      carry: The prefix, and what follows it.
      windowed: Whether this layer has a sliding window.
      prefix: Mask and positions of the first.
      view: What the second sees.

    Returns:
      The new carry and None.
    """
    x, y = carry
    x, key_value = self.prefill(x, prefix)
    y = _constrain(y)
    own = jnp.arange(y.shape[1])
    query, new = self.attn.project(
      self.pre_attention_norm(y), prefix.length[:, None] + own
    )
    one = lambda z: z[:, None]  # One sample a clip.
    out = self.attn.beyond(
      one(query), key_value, jax.tree.map(one, new), *view.select(windowed)
    )
    return (x, self._finish(y, out[:, 0])), None

  def prefill(
    self, x: Float[Array, 'B S C'], prefix: Prefix
  ) -> tuple[Float[Array, 'B S C'], dict[str, Float[Array, 'B S G D']]]:
    """Applies the layer to a prefix; returns its keys and values too."""
    x = _constrain(x)
    query, key_value = self.attn.project(
      self.pre_attention_norm(x), prefix.positions
    )
    mask = prefix.mask[:, None, None, :]
    return self._finish(x, self.attn.within(query, key_value, mask)), key_value

  def step(
    self,
    carry: StepCarry,
    layer: Int[Array, ''],
    windowed: Bool[Array, ''],
    key_value: dict[str, Float[Array, 'B S G D']],
    slot: Int[Array, ''],
    positions: Int[Array, 'B R'],
    view: View,
  ) -> tuple[StepCarry, None]:
    """Applies the layer to one new token of each of R samples a clip.

    Args:
      carry: Tokens, and the caches, of which only the slot (layer, :, :, slot)
        is written.
      layer: Number of this layer.
      windowed: Whether it has a sliding window.
      key_value: Keys and values of the prefix.
      slot: Where the new keys and values go.
      positions: Positions of the tokens.
      view: What they see.

    Returns:
      The new carry and None.
    """
    x, cache = carry
    x = _constrain(x)
    query, new = self.attn.project(self.pre_attention_norm(x), positions)
    cache = {
      name: jax.lax.dynamic_update_slice(
        cache[name], new[name][None, :, :, None], (layer, 0, 0, slot, 0, 0)
      )
      for name in cache
    }
    own = {
      name: jax.lax.dynamic_index_in_dim(c, layer, keepdims=False)
      for name, c in cache.items()
    }
    out = self.attn.beyond(
      query[:, :, None], key_value, own, *view.select(windowed)
    )
    return (self._finish(x, out[:, :, 0]), cache), None

  def _finish(self, x: Array, y: Array) -> Array:
    """Adds the attention's output `y`, then the feed-forward's."""
    if self.config.post_norms:
      y = self.post_attention_norm(y)
    x = x + dropout(self, y)
    y = self.mlp(self.pre_ffw_norm(x))
    if self.config.post_norms:
      y = self.post_ffw_norm(y)
    return _constrain(x + dropout(self, y))


class Stack(nn.Module):
  """All layers; a scan over one stacked layer, or a loop over `layers_{i}`."""

  config: GemmaConfig

  def setup(self):
    cfg = self.config
    layer = layers.remat(
      Layer, cfg.remat_policy, prevent_cse=not cfg.scan_layers
    )
    if cfg.scan_layers:
      b = nn.broadcast
      axes = {
        '__call__': (0, b, b),
        'prefill': b,
        'step': (0, 0, 0, b, b, b),
      }
      self.layers: Any = layers.scan(layer, cfg.num_layers, axes)(cfg)
    else:
      self.layers = [layer(cfg) for _ in range(cfg.num_layers)]

  def __call__(
    self,
    x: Float[Array, 'B S C'],
    y: Float[Array, 'B L C'],
    prefix: Prefix,
  ) -> tuple[Float[Array, 'B S C'], Float[Array, 'B L C']]:
    """Runs a prefix `x` and what follows it, `y`, through all layers."""
    numbers = jnp.arange(y.shape[1])
    view = view_of(prefix, numbers, numbers, self.config.sliding_window)
    carry, windowed = (x, y), self._windowed()
    if self.config.scan_layers:
      return self.layers(carry, windowed, prefix, view)[0]
    for i, layer in enumerate(self.layers):
      carry, _ = layer(carry, windowed[i], prefix, view)
    return carry

  def prefill(
    self, x: Float[Array, 'B S C'], prefix: Prefix
  ) -> tuple[Float[Array, 'B S C'], dict[str, Float[Array, 'layers B S G D']]]:
    """Runs a prefix alone; returns the keys and values of all layers too."""
    if self.config.scan_layers:
      return self.layers.prefill(x, prefix)
    each = []
    for layer in self.layers:
      x, key_value = layer.prefill(x, prefix)
      each.append(key_value)
    return x, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

  def step(
    self,
    x: Float[Array, 'B R C'],
    index: Int[Array, ''],
    cache: dict[str, Float[Array, 'layers B R L G D']],
    key_value: dict[str, Float[Array, 'layers B S G D']],
    prefix: Prefix,
  ) -> StepCarry:
    """Runs token `index` after the prefix, of R samples a clip.

    Args:
      index: Number of the token, from 0. At -1 the result means nothing, and
        slot 0, which it leaves behind, is written again at 0.
      cache: Keys and values of the tokens before.
      key_value: Keys and values of the prefix.
      prefix: Mask and positions.

    Returns:
      The token's states, and the new cache.
    """
    slots = jnp.arange(cache['key'].shape[3])
    view = view_of(prefix, index[None], slots, self.config.sliding_window)
    positions = jnp.broadcast_to((prefix.length + index)[:, None], x.shape[:2])
    shared = (jnp.maximum(index, 0), positions, view)
    carry, windowed = (x, cache), self._windowed()
    numbers = jnp.arange(self.config.num_layers)
    if self.config.scan_layers:
      return self.layers.step(carry, numbers, windowed, key_value, *shared)[0]
    for i, layer in enumerate(self.layers):
      own = jax.tree.map(lambda leaf, i=i: leaf[i], key_value)
      carry, _ = layer.step(carry, numbers[i], windowed[i], own, *shared)
    return carry

  def _windowed(self) -> Bool[Array, 'layers']:
    even = jnp.arange(self.config.num_layers) % 2 == 0
    return even & (self.config.sliding_window > 0)


def _constrain(x: Array) -> Array:
  return partitioning.constrain(x, 'batch', 'length', 'embed')
