"""Decoding: R samples a clip from one encoding, greedy text, and likelihoods.

The clip is read once, and its keys and values (of cross-attention, or of the
prefix of a decoder-only model) are computed once and held once for its R
samples; the loop stops when all have ended.
The key of step i is `fold_in(sample key, i)`: what a clip gets does not depend
on who shares its batch.
"""

import dataclasses
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt32

from vidlm.models import samplers

EOS_ID = 1

Batch = dict[str, Array]
Params = Any


@flax.struct.dataclass
class Samples:
  """Sampled token sequences.

  Attributes:
    tokens: Ids, 0 after the end.
    logprobs: Sums of the model's own log-probabilities (temperature 1, no
      truncation) of the emitted tokens, EOS included.
    lengths: Numbers of emitted tokens, EOS included.
  """

  # Plain types: a pytree is also rebuilt around things that are no arrays.
  tokens: Array  # int32[B, R, L]
  logprobs: Array  # float32[B, R]
  lengths: Array  # int32[B, R]


def sample_keys(
  seed: int, ids: UInt32[Array, 'B'], num_samples: int
) -> Key[Array, 'B R']:
  """Returns a key for each sample of each clip.

  Args:
    seed: Seed of the run.
    ids: A hash of each clip's id.
    num_samples: R.

  Returns:
    Keys: sample r of a clip has the same key for any batch and any R.
  """
  root = jax.random.key(seed)
  fold = jax.vmap(jax.random.fold_in, in_axes=(None, 0))
  clips = fold(root, ids)
  return jax.vmap(lambda key: fold(key, jnp.arange(num_samples)))(clips)


def sample(
  model: nn.Module,
  params: Params,
  batch: Batch,
  *,
  sampler: samplers.Sampler,
  num_samples: int,
  max_length: int,
  keys: Key[Array, 'B R'],
) -> Samples:
  """Samples `num_samples` token sequences for each clip.

  To be compiled with model, sampler, num_samples and max_length static.

  Args:
    model: A linen module with the methods `encode`, `precompute_cross_kv`,
      `init_cache` and `decode_step`, as `VideoVLM`.
    params: Its parameters.
    batch: The model's encoder inputs, [B, ...].
    sampler: See `vidlm.models.samplers`.
    num_samples: R.
    max_length: L, the most tokens of a sample, EOS included.
    keys: See `sample_keys`.

  Returns:
    `Samples`.

  Raises:
    ValueError: If `keys` are not R a clip.
  """
  if keys.shape[1] != num_samples:
    raise ValueError(
      f'sample: keys are {keys.shape[1]} a clip but num_samples is '
      f'{num_samples}; make them with sample_keys.'
    )

  def call(method: str, *args: Any) -> Any:
    return model.apply({'params': params}, *args, method=method)

  encoded, mask = call('encode', batch)
  cross_kv = call('precompute_cross_kv', encoded)
  cache = call('init_cache', mask.shape[0], num_samples, max_length)

  def step(state: '_State') -> '_State':
    logits, cache = call(
      'decode_step', state.last, state.step, state.cache, cross_kv, mask
    )
    return _advance(state, logits, cache, sampler, keys)

  state = _initial_state(keys.shape, max_length, cache)
  state = jax.lax.while_loop(
    lambda s: (s.step < max_length) & ~jnp.all(s.ended), step, state
  )
  return Samples(state.tokens, state.logprobs, state.lengths)


def greedy(
  model: nn.Module, params: Params, batch: Batch, *, max_length: int
) -> Samples:
  """Decodes the most likely token at each step.

  Args:
    model: See `sample`.
    params: Its parameters.
    batch: The model's encoder inputs, [B, ...].
    max_length: The most tokens of a sample, EOS included.

  Returns:
    `Samples` with R = 1.
  """
  # `Greedy` doesn't look at its keys: any will do.
  ids = jnp.zeros(_batch_size(batch), jnp.uint32)
  return sample(
    model,
    params,
    batch,
    sampler=samplers.Greedy(),
    num_samples=1,
    max_length=max_length,
    keys=sample_keys(0, ids, 1),
  )


def score(model: nn.Module, params: Params, batch: Batch) -> Float[Array, 'B']:
  """Returns the log-likelihood of the targets of each example.

  Args:
    model: A linen module whose `__call__(batch)` gives logits [B, L, V].
    params: Its parameters.
    batch: Encoder inputs, `decoder_input_tokens`, `decoder_target_tokens` and,
      to count some tokens only, `decoder_loss_weights`.

  Returns:
    Sums over real target tokens.
  """
  logits: Any = model.apply({'params': params}, batch, method='__call__')
  targets = batch['decoder_target_tokens']
  logprobs = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  picked = jnp.take_along_axis(logprobs, targets[..., None], axis=-1)[..., 0]
  weights = batch.get('decoder_loss_weights')
  if weights is None:
    weights = (targets > 0).astype(jnp.float32)
  return (picked * weights).sum(axis=-1)


@flax.struct.dataclass
class _State:
  """What the loop carries from token to token."""

  step: Array  # int32
  last: Array  # int32[B, R]
  tokens: Array  # int32[B, R, L]
  logprobs: Array  # float32[B, R]
  lengths: Array  # int32[B, R]
  ended: Array  # bool[B, R]
  cache: Any


def _initial_state(shape: tuple[int, ...], length: int, cache: Any) -> _State:
  zeros = jnp.zeros(shape, jnp.int32)
  return _State(
    step=jnp.zeros((), jnp.int32),
    last=zeros,
    tokens=jnp.zeros((*shape, length), jnp.int32),
    logprobs=jnp.zeros(shape, jnp.float32),
    lengths=zeros,
    ended=jnp.zeros(shape, bool),
    cache=cache,
  )


def _advance(
  state: _State,
  logits: Float[Array, 'B R V'],
  cache: Any,
  sampler: samplers.Sampler,
  keys: Key[Array, 'B R'],
) -> _State:
  """Draws the next tokens and books them for samples that have not ended."""
  draw = lambda row, key: sampler(row, jax.random.fold_in(key, state.step))
  ids = jax.vmap(jax.vmap(draw))(logits, keys).astype(jnp.int32)
  ids = jnp.where(state.ended, 0, ids)
  logprobs = jax.nn.log_softmax(logits, axis=-1)
  picked = jnp.take_along_axis(logprobs, ids[..., None], axis=-1)[..., 0]
  return dataclasses.replace(
    state,
    step=state.step + 1,
    last=ids,
    tokens=state.tokens.at[:, :, state.step].set(ids),
    logprobs=state.logprobs + jnp.where(state.ended, 0.0, picked),
    lengths=state.lengths + ~state.ended,
    ended=state.ended | (ids == EOS_ID),
    cache=cache,
  )


def _batch_size(batch: Batch) -> int:
  return next(iter(batch.values())).shape[0]
