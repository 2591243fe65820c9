"""A Gemma VLM: decoding against the whole pass, padding, scan."""

import dataclasses
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from small_gemma import (
  BATCH,
  IDS,
  KINDS,
  NUCLEUS,
  ONE,
  TRAINING,
  B,
  L,
  V,
  draw,
  forward,
  random_params,
  sample,
  score,
  vlm,
  with_targets,
)

from vidlm.models import decoding, samplers
from vidlm.nn import language_model, scan_layout, t5


@pytest.fixture(scope='module', params=list(KINDS))
def kind(request):
  """A config and parameters of it."""
  llm = KINDS[request.param]
  return llm, random_params(llm)


def test_language_models_keep_one_interface() -> None:
  for config in (ONE, t5.T5Config()):
    model = language_model.build(config)
    assert isinstance(model, language_model.LanguageModel)
    assert model.config == config


def test_each_step_is_the_whole_forward_pass(kind) -> None:
  """Logits of R samples a clip, token by token from the cache."""
  llm, params = kind
  samples = 3
  rng = np.random.default_rng(2)
  tokens = jnp.asarray(rng.integers(2, V, (B, samples, L)), jnp.int32)
  model = vlm(llm)

  @jax.jit
  def steps(params):
    bound = model.bind({'params': params})
    encoded, mask = bound.encode(BATCH)
    kv = bound.precompute_cross_kv(encoded)
    cache = bound.init_cache(B, samples, L)
    out = []
    last = jnp.zeros((B, samples), jnp.int32)
    for i in range(L):
      logits, cache = bound.decode_step(last, jnp.asarray(i), cache, kv, mask)
      out.append(logits)
      last = tokens[:, :, i]
    return jnp.stack(out, axis=2)

  got = steps(params)
  for r in range(samples):
    batch = with_targets(tokens[:, r], jnp.full(B, L))
    want = forward(model, params, batch)
    scale = np.abs(want).max()
    assert np.abs(got[:, r] - want).max() <= 2e-5 * scale


@pytest.mark.parametrize('number', [1, 4])
@pytest.mark.parametrize('sampler', [samplers.Greedy(), NUCLEUS])
def test_cached_decoding_is_the_whole_forward_pass(
  kind, number, sampler
) -> None:
  """The same keys draw the same text from logits of whole passes."""
  llm, params = kind
  got = draw(llm, params, number, sampler)
  keys = decoding.sample_keys(0, IDS, number)
  model = vlm(llm)
  for k in range(number):
    tokens = jnp.zeros((B, L), jnp.int32)
    ended = jnp.zeros(B, bool)
    for i in range(L):
      batch = with_targets(tokens, jnp.full(B, L))
      logits = forward(model, params, batch)[:, i]
      each = jax.vmap(jax.random.fold_in, (0, None))(keys[:, k], i)
      ids = jax.vmap(sampler)(logits, each)
      tokens = tokens.at[:, i].set(jnp.where(ended, 0, ids))
      ended |= ids == decoding.EOS_ID
    np.testing.assert_array_equal(got.tokens[:, k], tokens)
    batch = with_targets(tokens, got.lengths[:, k])
    np.testing.assert_allclose(
      score(model, params, batch), got.logprobs[:, k], atol=1e-4
    )
  assert len(np.unique(got.tokens)) > 4


def test_padding_and_neighbours_do_not_matter(kind) -> None:
  """Each clip alone, its prompt unpadded and its masked frames cut off."""
  llm, params = kind
  whole = forward(vlm(llm), params, TRAINING)
  text = draw(llm, params, 2, NUCLEUS)
  for row, (frames, length) in [(1, (2, 1)), (2, (1, 3))]:
    alone = {name: x[row : row + 1] for name, x in TRAINING.items()}
    alone['frames'] = alone['frames'][:, :frames]
    alone['frame_mask'] = alone['frame_mask'][:, :frames]
    alone['encoder_input_tokens'] = alone['encoder_input_tokens'][:, :length]
    got = forward(vlm(llm), params, alone)
    np.testing.assert_allclose(got[0], whole[row], atol=2e-5)
    got = sample(
      vlm(llm),
      params,
      alone,
      sampler=NUCLEUS,
      num_samples=2,
      max_length=L,
      keys=decoding.sample_keys(0, IDS[row : row + 1], 2),
    )
    np.testing.assert_array_equal(got.tokens[0], text.tokens[row])


def test_what_is_masked_or_to_come_is_unseen(kind) -> None:
  llm, params = kind
  want = forward(vlm(llm), params, TRAINING)
  hidden = TRAINING | {'frames': TRAINING['frames'].at[2, 1].set(9)}
  got = forward(vlm(llm), params, hidden)
  np.testing.assert_allclose(got, want, atol=1e-6)
  later = TRAINING['decoder_input_tokens'].at[:, 4].add(1)
  got = forward(vlm(llm), params, TRAINING | {'decoder_input_tokens': later})
  np.testing.assert_allclose(got[:, :4], want[:, :4], atol=1e-6)
  assert not np.allclose(got[:, 4:], want[:, 4:], atol=1e-3)


def test_the_prefix_is_seen_both_ways(kind) -> None:
  """The first visual token hears of the prompt's last word."""
  llm, params = kind
  tokens = BATCH['encoder_input_tokens']
  changed = BATCH | {'encoder_input_tokens': tokens.at[0, 5].add(-1)}
  encode = jax.jit(
    lambda p, b: vlm(llm).apply({'params': p}, b, method='encode')[0]
  )
  a, b = encode(params, BATCH), encode(params, changed)
  assert not np.allclose(a['key'][1, 0, 0], b['key'][1, 0, 0], atol=1e-4)


def test_scan_equals_loop(kind) -> None:
  llm, params = kind
  loop = dataclasses.replace(llm, scan_layers=False)
  model = vlm(loop).clone(scan=False)
  flat = scan_layout.unstack(flatten_dict(params, sep='/'))
  tree = unflatten_dict(flat, sep='/')
  np.testing.assert_allclose(
    forward(model, tree, TRAINING),
    forward(vlm(llm), params, TRAINING),
    atol=2e-5,
  )
  got = sample(
    model,
    tree,
    BATCH,
    sampler=NUCLEUS,
    num_samples=2,
    max_length=L,
    keys=decoding.sample_keys(0, IDS, 2),
  )
  np.testing.assert_array_equal(
    got.tokens, draw(llm, params, 2, NUCLEUS).tokens
  )


def test_prefix_is_held_once_a_clip(kind) -> None:
  """No array of the compiled program has K copies of S positions."""
  llm, params = kind
  number, prefix = 3, 2 * 4 + 6
  text = str(
    jax.make_jaxpr(
      lambda p: decoding.sample(
        vlm(llm),
        p,
        BATCH,
        sampler=NUCLEUS,
        num_samples=number,
        max_length=L,
        keys=decoding.sample_keys(0, IDS, number),
      )
    )(params)
  )
  heads = llm.num_kv_heads
  assert f'f32[{B},{prefix},{heads},8]' in text
  assert f'f32[{B * number},{prefix},{heads},8]' not in text
  assert f'f32[{B},{number},{prefix},{heads},8]' not in text
