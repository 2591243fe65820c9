"""Samplers: how the next token is drawn from the logits of one position.

Each is a frozen dataclass with a pure `__call__(logits, key)`; rows of a batch
are drawn by `jax.vmap` with a key of their own, so a draw depends on nothing
but its logits and its key.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


@runtime_checkable
class Sampler(Protocol):
  """Draws token ids from logits."""

  def __call__(
    self, logits: Float[Array, '*batch V'], key: Key[Array, '']
  ) -> Int[Array, '*batch']:
    """Returns one id for each row of `logits`."""

  def __hash__(self) -> int:
    """Returns a hash: programs are kept by sampler."""


@dataclasses.dataclass(frozen=True)
class Greedy:
  """Takes the most likely token; the lowest id among equals."""

  def __call__(
    self, logits: Float[Array, '*batch V'], key: Key[Array, '']
  ) -> Int[Array, '*batch']:
    """Returns the argmax; the key is not used."""
    del key
    return jnp.argmax(logits, axis=-1)


@dataclasses.dataclass(frozen=True)
class Temperature:
  """Samples from softmax(logits / temperature)."""

  temperature: float = 1.0

  def __post_init__(self):
    _check_temperature(self.temperature)

  def __call__(
    self, logits: Float[Array, '*batch V'], key: Key[Array, '']
  ) -> Int[Array, '*batch']:
    """Draws one id for each row."""
    return jax.random.categorical(key, logits / self.temperature)


@dataclasses.dataclass(frozen=True)
class TopK:
  """Samples among the k most likely tokens (and any equal to the k-th)."""

  k: int = 40
  temperature: float = 1.0

  def __post_init__(self):
    _check_temperature(self.temperature)
    if self.k < 1:
      raise ValueError(f'TopK: k must be at least 1, not {self.k}.')

  def __call__(
    self, logits: Float[Array, '*batch V'], key: Key[Array, '']
  ) -> Int[Array, '*batch']:
    """Draws one id for each row."""
    k = min(self.k, logits.shape[-1])
    cutoff = jax.lax.top_k(logits, k)[0][..., -1:]
    kept = jnp.where(logits >= cutoff, logits, -jnp.inf)
    return jax.random.categorical(key, kept / self.temperature)


@dataclasses.dataclass(frozen=True)
class Nucleus:
  """Samples from the smallest set of tokens that holds `top_p` of the mass.

  The temperature is applied first; the token that crosses `top_p` is kept, as
  in big_vision and Hugging Face. The values are ours (LaViLa's narrator uses
  the same): the paper names nucleus sampling without numbers.
  """

  top_p: float = 0.95
  temperature: float = 0.7

  def __post_init__(self):
    _check_temperature(self.temperature)
    if not 0.0 < self.top_p <= 1.0:
      raise ValueError(f'Nucleus: top_p must be in (0, 1], not {self.top_p}.')

  def __call__(
    self, logits: Float[Array, '*batch V'], key: Key[Array, '']
  ) -> Int[Array, '*batch']:
    """Draws one id for each row."""
    logits = nucleus_logits(logits / self.temperature, self.top_p)
    return jax.random.categorical(key, logits)


def nucleus_logits(
  logits: Float[Array, '*batch V'], top_p: float
) -> Float[Array, '*batch V']:
  """Sets to minus infinity what lies outside the nucleus.

  The nucleus is {logit >= c} with the largest c for which it holds at least
  `top_p` of the mass. Sorting a vocabulary at every step is slow on
  accelerators; c is found by bisection over the bits of a float32 instead,
  which is exact after 32 sums.

  Args:
    top_p: Mass to keep, in (0, 1].
  """
  logits = logits.astype(jnp.float32)
  if top_p >= 1.0:
    return logits
  probs = jax.nn.softmax(logits, axis=-1)
  order = _ordered_bits(logits)

  def bisect(_, bounds):
    low, high = bounds  # The set at `low` holds the mass, that at `high` not.
    # The mean, without overflow, rounded up so that it moves off `low`.
    middle = (low | high) - ((low ^ high) >> 1)
    inside = jnp.where(order >= middle[..., None], probs, 0.0)
    enough = inside.sum(axis=-1) >= top_p
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle - 1)

  low = order.min(axis=-1)
  high = order.max(axis=-1)
  low, _ = jax.lax.fori_loop(0, 32, bisect, (low, high))
  return jnp.where(order >= low[..., None], logits, -jnp.inf)


def _ordered_bits(x: Float[Array, '*shape']) -> Int[Array, '*shape']:
  """Maps float32 to int32 with the same order."""
  bits = jax.lax.bitcast_convert_type(x, jnp.int32)
  # Sign and magnitude: as integers, negative floats are in reverse order.
  return jnp.where(bits < 0, bits ^ jnp.int32(0x7FFFFFFF), bits)


def _check_temperature(temperature: float) -> None:
  if not temperature > 0.0:
    raise ValueError(
      f'sampler: temperature must be positive, not {temperature}; for the most '
      'likely token use Greedy().'
    )
