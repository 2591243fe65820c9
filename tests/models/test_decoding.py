"""Sampling: independence of the batch, log-probabilities, stopping."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from vidlm.core import partitioning
from vidlm.models import decoding, samplers
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import t5

V, B, K, L = 12, 4, 3, 8
MODEL = VideoVLM(
  t5.T5Config(
    vocab_size=V,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=2,
    mlp_dim=24,
    dtype='float32',
    remat_policy='none',
  ),
  '16,1,32,2/8',
  image_size=16,
  dtype='float32',
  remat_policy='none',
)
TASK = VLMObjective(MODEL, 2, {'inputs': 4, 'targets': L})
NUCLEUS = samplers.Nucleus(top_p=0.95, temperature=0.7)
IDS = jnp.asarray([11, 7, 2**32 - 1, 5], jnp.uint32)

sample = jax.jit(
  decoding.sample,
  static_argnames=('model', 'sampler', 'num_samples', 'max_length'),
)


def encoder_inputs(size: int = B) -> dict[str, jax.Array]:
  rng = np.random.default_rng(0)
  return {
    'frames': jnp.asarray(rng.integers(0, 256, (size, 2, 16, 16, 3)), 'uint8'),
    'frame_mask': jnp.ones((size, 2), bool),
    'encoder_input_tokens': jnp.asarray(rng.integers(2, V, (size, 4)), 'int32'),
  }


BATCH = encoder_inputs()


@pytest.fixture(autouse=True, scope='module')
def quick_compilation():
  before = jax.config.read('jax_disable_most_optimizations')
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', before)


@pytest.fixture(scope='module')
def params():
  """Random weights whose next token depends on what came before."""
  tree = nn.unbox(jax.eval_shape(TASK.init, jax.random.key(0)))
  rng = np.random.default_rng(1)
  flat = {
    name: jnp.asarray(
      rng.normal(size=x.shape) * 0.3 + name.endswith('scale'), jnp.float32
    )
    for name, x in flatten_dict(tree, sep='/').items()
  }
  flat['llm/decoder/logits_dense/kernel'] *= 0.3  # So that some samples end.
  return unflatten_dict(flat, sep='/')


def run(params, batch, ids, *, sampler=NUCLEUS, num_samples=K, length=L):
  return sample(
    MODEL,
    params,
    batch,
    sampler=sampler,
    num_samples=num_samples,
    max_length=length,
    keys=decoding.sample_keys(0, ids, num_samples),
  )


@pytest.fixture(scope='module')
def samples(params) -> decoding.Samples:
  return run(params, BATCH, IDS)


def test_shapes_and_variety(samples) -> None:
  assert samples.tokens.shape == (B, K, L)
  assert samples.tokens.dtype == samples.lengths.dtype == jnp.int32
  assert samples.logprobs.shape == samples.lengths.shape == (B, K)
  assert len({tuple(t) for t in np.asarray(samples.tokens).reshape(-1, L)}) > 6


def test_nothing_follows_the_end(samples) -> None:
  ended = 0
  for tokens, length in zip(
    np.asarray(samples.tokens).reshape(-1, L),
    np.asarray(samples.lengths).ravel(),
    strict=True,
  ):
    assert (tokens[length:] == 0).all()
    assert (tokens[: length - 1] != decoding.EOS_ID).all()
    if length < L:
      assert tokens[length - 1] == decoding.EOS_ID
      ended += 1
  assert 0 < ended < B * K  # Both ways of stopping were seen.


def test_order_of_the_batch_does_not_matter(params, samples) -> None:
  order = np.array([2, 0, 3, 1])
  shuffled = {k: v[order] for k, v in BATCH.items()}
  got = run(params, shuffled, IDS[order])
  np.testing.assert_array_equal(got.tokens, samples.tokens[order])
  np.testing.assert_array_equal(got.logprobs, samples.logprobs[order])


def test_each_sample_alone_is_the_same(params, samples) -> None:
  """One clip, one sample: no other shares its step, cache or keys."""
  keys = decoding.sample_keys(0, IDS, K)
  for clip, k in [(0, 0), (1, 2), (3, 1)]:
    alone = sample(
      MODEL,
      params,
      {name: x[clip : clip + 1] for name, x in BATCH.items()},
      sampler=NUCLEUS,
      num_samples=1,
      max_length=L,
      keys=keys[clip : clip + 1, k : k + 1],
    )
    np.testing.assert_array_equal(alone.tokens[0, 0], samples.tokens[clip, k])
    np.testing.assert_allclose(
      alone.logprobs[0, 0], samples.logprobs[clip, k], atol=1e-4
    )


def test_keys_do_not_depend_on_the_number_of_samples() -> None:
  few, many = (decoding.sample_keys(3, IDS, n) for n in (2, 5))
  data = jax.random.key_data
  np.testing.assert_array_equal(data(few), data(many)[:, :2])
  assert len({tuple(x) for x in np.asarray(data(many)).reshape(-1, 2)}) == 20


def test_logprobs_are_the_models_own(params, samples) -> None:
  """`score` of the sampled text, without temperature or nucleus."""
  score = jax.jit(decoding.score, static_argnums=0)
  for k in range(K):
    tokens = samples.tokens[:, k]
    real = jnp.arange(L) < samples.lengths[:, k, None]
    batch = BATCH | {
      'decoder_input_tokens': jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1],
      'decoder_target_tokens': tokens,
      'decoder_loss_weights': real.astype(jnp.float32),
    }
    np.testing.assert_allclose(
      score(MODEL, params, batch), samples.logprobs[:, k], atol=1e-4
    )


def test_eight_devices_sample_what_one_does(params) -> None:
  ids = jnp.concatenate([IDS, IDS + 100])
  batch = encoder_inputs(8)
  want = run(params, batch, ids)
  mesh = partitioning.make_mesh(data=4, model=2)
  partitioner = partitioning.Partitioner(mesh, fsdp_min_size=1)
  shardings = partitioner.shardings(
    jax.eval_shape(TASK.init, jax.random.key(0))
  )
  flat = flatten_dict(params, sep='/')
  placed = unflatten_dict(
    {k: jax.device_put(v, shardings[k]) for k, v in flat.items()}, sep='/'
  )
  with partitioner.activate():
    got = run(placed, jax.device_put(batch, partitioner.batch_sharding), ids)
  np.testing.assert_array_equal(got.tokens, want.tokens)
  np.testing.assert_allclose(got.logprobs, want.logprobs, atol=1e-4)


def test_greedy_is_the_argmax_of_the_whole_forward_pass(params) -> None:
  greedy = jax.jit(decoding.greedy, static_argnames=('model', 'max_length'))
  got = greedy(MODEL, params, BATCH, max_length=L)
  tokens = got.tokens[:, 0]
  logits = jax.jit(lambda p, b: MODEL.apply({'params': p}, b))(
    params,
    BATCH | {'decoder_input_tokens': jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1]},
  )
  real = np.arange(L) < np.asarray(got.lengths)
  want = np.where(real, np.argmax(logits, -1), 0)
  np.testing.assert_array_equal(tokens, want)


class Counter(VideoVLM):
  """A model that ends clip i after `frame_mask` says so; counts its steps."""

  def decode_step(self, tokens, index, cache, cross_kv, mask):
    stop = (mask.sum(axis=1) // 4)[:, None]  # Visible frames.
    logits = jnp.where(index >= stop, decoding.EOS_ID, 5)
    logits = jnp.broadcast_to(logits, tokens.shape)
    return jax.nn.one_hot(logits, V) * 50, {'key': cache['key'] + 1}

  def init_cache(self, batch, samples, length):
    return {'key': jnp.zeros(())}


def test_the_loop_stops_when_all_have_ended(params) -> None:
  batch = BATCH | {
    'frame_mask': jnp.asarray([[1, 1], [1, 0], [0, 0], [1, 0]], bool),
    'encoder_input_tokens': jnp.zeros((B, 4), jnp.int32),
  }
  model = Counter(
    **{f: getattr(MODEL, f) for f in ('llm_config', 'variant', 'image_size')}
  )
  got = jax.jit(
    decoding.sample,
    static_argnames=('model', 'sampler', 'num_samples', 'max_length'),
  )(
    model,
    params,
    batch,
    sampler=samplers.Greedy(),
    num_samples=1,
    max_length=6,
    keys=decoding.sample_keys(0, IDS, 1),
  )
  np.testing.assert_array_equal(got.lengths[:, 0], [3, 2, 1, 2])
  np.testing.assert_array_equal(got.tokens[0, 0], [5, 5, 1, 0, 0, 0])
  np.testing.assert_allclose(got.logprobs, 0.0, atol=1e-6)


def test_cross_attention_holds_one_copy_a_clip(params) -> None:
  """No array of the compiled step has K copies of S positions."""
  jaxpr = jax.make_jaxpr(
    lambda p, b, keys: decoding.sample(
      MODEL,
      p,
      b,
      sampler=NUCLEUS,
      num_samples=K,
      max_length=L,
      keys=keys,
    )
  )(params, BATCH, decoding.sample_keys(0, IDS, K))
  text = str(jaxpr)
  assert f'f32[{B},12,2,8]' in text  # B, S = 2 * 4 + 4, heads, size.
  assert f'f32[{B * K},12,2,8]' not in text
  assert f'f32[{B},{K},12,2,8]' not in text


def test_wrong_number_of_keys_is_an_error(params) -> None:
  with pytest.raises(ValueError, match='sample_keys'):
    decoding.sample(
      MODEL,
      params,
      BATCH,
      sampler=NUCLEUS,
      num_samples=2,
      max_length=L,
      keys=decoding.sample_keys(0, IDS, 3),
    )
