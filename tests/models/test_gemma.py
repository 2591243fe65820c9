"""A Gemma VLM: decoding against the whole pass, padding, scan, gradients."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from vidlm import decoding, samplers
from vidlm.core import partitioning
from vidlm.models import flops
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import gemma, language_model, scan_layout, t5

V, B, L = 24, 4, 6
ONE = gemma.GemmaConfig(
  vocab_size=V,
  emb_dim=16,
  num_layers=3,
  mlp_dim=24,
  num_heads=4,
  num_kv_heads=1,
  head_dim=8,
  dtype='float32',
  remat_policy='none',
)
# The window is shorter than prefix and text.
TWO = dataclasses.replace(
  ONE,
  num_kv_heads=2,
  post_norms=True,
  attn_logit_cap=5.0,
  final_logit_cap=6.0,
  sliding_window=5,
  query_scale=0.4,
)
KINDS = {'gemma': ONE, 'gemma2': TWO}
NUCLEUS = samplers.Nucleus(top_p=0.95, temperature=0.7)
IDS = jnp.asarray([11, 7, 2**32 - 1, 5], jnp.uint32)


def vlm(llm: gemma.GemmaConfig) -> VideoVLM:
  return VideoVLM(
    llm, '16,1,32,2/8', image_size=16, dtype='float32', remat_policy='none'
  )


def objective(llm: gemma.GemmaConfig) -> VLMObjective:
  return VLMObjective(vlm(llm), 2, {'inputs': 6, 'targets': L})


def inputs() -> dict[str, jax.Array]:
  """Prompts of four lengths; a clip of one frame and one of none."""
  rng = np.random.default_rng(0)
  tokens = rng.integers(2, V, (B, 6))
  for row, length in zip(tokens, (6, 1, 3, 4), strict=True):
    row[length:] = 0
  return {
    'frames': jnp.asarray(rng.integers(0, 256, (B, 2, 16, 16, 3)), 'uint8'),
    'frame_mask': jnp.asarray([[1, 1], [1, 1], [1, 0], [0, 0]], bool),
    'encoder_input_tokens': jnp.asarray(tokens, 'int32'),
  }


BATCH = inputs()


def with_targets(tokens, lengths) -> dict[str, jax.Array]:
  real = jnp.arange(tokens.shape[1]) < lengths[:, None]
  return BATCH | {
    'decoder_input_tokens': jnp.pad(tokens, ((0, 0), (1, 0)))[:, :-1],
    'decoder_target_tokens': tokens,
    'decoder_loss_weights': real.astype(jnp.float32),
  }


TARGETS = jnp.asarray(np.random.default_rng(5).integers(2, V, (B, L)))
TRAINING = with_targets(TARGETS, jnp.asarray([6, 4, 6, 2]))


def random_params(llm: gemma.GemmaConfig):
  tree = nn.unbox(jax.eval_shape(objective(llm).init, jax.random.key(0)))
  rng = np.random.default_rng(1)
  flat = {
    name: jnp.asarray(rng.normal(size=x.shape) * 0.3, jnp.float32)
    for name, x in flatten_dict(tree, sep='/').items()
  }
  flat['llm/embedder/input_embedding'] *= 0.5
  return unflatten_dict(flat, sep='/')


@pytest.fixture(scope='module', params=list(KINDS))
def kind(request):
  """A config and parameters of it."""
  llm = KINDS[request.param]
  return llm, random_params(llm)


forward = jax.jit(
  lambda model, p, b: model.apply({'params': p}, b), static_argnums=0
)
sample = jax.jit(
  decoding.sample,
  static_argnames=('model', 'sampler', 'num_samples', 'max_length'),
)
score = jax.jit(decoding.score, static_argnums=0)


def draw(llm, params, number, sampler, batch=BATCH, length=L):
  return sample(
    vlm(llm),
    params,
    batch,
    sampler=sampler,
    num_samples=number,
    max_length=length,
    keys=decoding.sample_keys(0, IDS, number),
  )


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


def test_remat_changes_no_gradient() -> None:
  llm, params = TWO, random_params(TWO)

  def grads(config):
    task = objective(config)
    return jax.jit(
      jax.grad(lambda p: task.loss_fn(p, TRAINING, jax.random.key(0))[0])
    )(params)

  again = dataclasses.replace(llm, remat_policy='nothing_saveable')
  want = flatten_dict(grads(llm), sep='/')
  for name, grad in flatten_dict(grads(again), sep='/').items():
    np.testing.assert_allclose(grad, want[name], atol=1e-5, err_msg=name)
    if not name.endswith('key/bias'):  # It moves a whole row of logits.
      assert np.abs(grad).max() > 0, name


def test_eight_devices_give_the_loss_gradients_and_text_of_one() -> None:
  llm, params = TWO, random_params(TWO)
  task = objective(llm)
  step = jax.jit(
    jax.value_and_grad(lambda p, b: task.loss_fn(p, b, jax.random.key(0))[0])
  )
  want_loss, want = step(params, TRAINING)
  want_text = draw(llm, params, 2, NUCLEUS)
  mesh = partitioning.make_mesh(data=4, model=2)
  partitioner = partitioning.Partitioner(mesh, fsdp_min_size=1)
  shardings = partitioner.shardings(
    jax.eval_shape(task.init, jax.random.key(0))
  )
  flat = flatten_dict(params, sep='/')
  placed = unflatten_dict(
    {k: jax.device_put(v, shardings[k]) for k, v in flat.items()}, sep='/'
  )
  llm_specs = [s for n, s in shardings.items() if n.startswith('llm/')]
  assert all(not s.is_fully_replicated for s in llm_specs)
  with partitioner.activate():
    batch = jax.device_put(TRAINING, partitioner.batch_sharding)
    loss, got = step(placed, batch)
    text = draw(llm, placed, 2, NUCLEUS, {name: batch[name] for name in BATCH})
  np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
  want = flatten_dict(want, sep='/')
  for name, grad in flatten_dict(got, sep='/').items():
    np.testing.assert_allclose(grad, want[name], atol=2e-5, err_msg=name)
  np.testing.assert_array_equal(text.tokens, want_text.tokens)


def test_logical_axes_of_kernels() -> None:
  tree = jax.eval_shape(objective(ONE).init, jax.random.key(0))
  specs = flatten_dict(nn.get_partition_spec(tree), sep='/')
  for name, axes in {
    'layers/attn/q_einsum/w': ('layers', 'heads', 'embed', 'kv'),
    'layers/attn/kv_einsum/w': ('layers', None, 'heads', 'embed', 'kv'),
    'layers/attn/attn_vec_einsum/w': ('layers', 'heads', 'kv', 'embed'),
    'layers/mlp/gating_einsum': ('layers', None, 'embed', 'mlp'),
    'layers/mlp/linear': ('layers', 'mlp', 'embed'),
    'embedder/input_embedding': ('vocab', 'embed'),
  }.items():
    assert tuple(specs[f'llm/{name}']) == axes


def test_initialisation_has_the_scale_of_its_fan_in() -> None:
  config = dataclasses.replace(ONE, emb_dim=128, mlp_dim=256, num_layers=1)
  init = jax.jit(gemma.Gemma(config).init)
  ids = jnp.ones((1, 3), jnp.int32)
  tree = nn.unbox(init(jax.random.key(0), ids, ids))['params']
  flat = {n: float(x.std()) for n, x in flatten_dict(tree, sep='/').items()}
  for name, fan_in in {
    'layers/attn/q_einsum/w': 128,
    'layers/attn/kv_einsum/w': 128,
    'layers/attn/attn_vec_einsum/w': 32,
    'layers/mlp/gating_einsum': 128,
    'layers/mlp/linear': 256,
    'embedder/input_embedding': 128,
  }.items():
    assert flat[name] == pytest.approx(fan_in**-0.5, rel=0.1), name


def test_a_target_of_one_token_and_a_clip_of_nothing() -> None:
  """Edges: no token follows the prefix; a prefix without a real position."""
  params = random_params(ONE)
  short = TRAINING | {'decoder_input_tokens': jnp.zeros((B, 1), jnp.int32)}
  got = forward(vlm(ONE), params, short)
  whole = forward(vlm(ONE), params, TRAINING)
  np.testing.assert_allclose(got[:, 0], whole[:, 0], atol=1e-5)
  nothing = TRAINING | {
    'frame_mask': jnp.zeros((B, 2), bool),
    'encoder_input_tokens': jnp.zeros((B, 6), jnp.int32),
  }
  assert np.isfinite(forward(vlm(ONE), params, nothing)).all()


def test_bfloat16_is_near_float32() -> None:
  params = random_params(TWO)
  model = vlm(dataclasses.replace(TWO, dtype='bfloat16'))
  got = forward(model.clone(dtype='bfloat16'), params, TRAINING)
  want = forward(vlm(TWO), params, TRAINING)
  assert got.dtype == jnp.float32
  assert np.abs(got - want).max() <= 0.1 * np.abs(want).max()


def test_the_published_size_samples_in_bfloat16() -> None:
  """Shapes alone: four captions a clip by PaliGemma 2 of 3B."""
  model = VideoVLM(
    gemma.GemmaConfig(
      vocab_size=257_216,
      emb_dim=2304,
      num_layers=26,
      mlp_dim=9216,
      num_kv_heads=4,
      post_norms=True,
      attn_logit_cap=50.0,
      final_logit_cap=30.0,
      sliding_window=4096,
    ),
    'So400m/14',
  )
  task = VLMObjective(model, 8, {'inputs': 16, 'targets': 64})
  params = nn.unbox(jax.eval_shape(task.init, jax.random.key(0)))
  small = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16), params
  )
  batch = {n: task.batch_shapes(2)[n] for n in BATCH}
  out = jax.eval_shape(
    lambda p, b: (
      decoding.sample(
        model,
        p,
        b,
        sampler=NUCLEUS,
        num_samples=4,
        max_length=64,
        keys=decoding.sample_keys(0, IDS[:2], 4),
      ).tokens
    ),
    small,
    batch,
  )
  assert out.shape == (2, 4, 64)


def test_dropout_only_with_a_key() -> None:
  config = dataclasses.replace(ONE, dropout_rate=0.5)
  params = random_params(ONE)
  model = vlm(config)
  quiet = forward(model, params, TRAINING)
  np.testing.assert_allclose(quiet, forward(vlm(ONE), params, TRAINING))
  loud = jax.jit(
    lambda key: model.apply({'params': params}, TRAINING, rngs={'dropout': key})
  )
  a, b = loud(jax.random.key(0)), loud(jax.random.key(1))
  assert not np.allclose(a, quiet) and not np.allclose(a, b)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'num_kv_heads': 3}, 'no multiple'),
    ({'head_dim': 7}, 'odd'),
  ],
)
def test_bad_sizes_are_errors(fields, message) -> None:
  with pytest.raises(ValueError, match=message):
    dataclasses.replace(ONE, **fields)


def test_flops_against_the_traced_program() -> None:
  """Layers unrolled, matrix products and little else at this size."""
  for llm in KINDS.values():
    config = dataclasses.replace(
      llm,
      emb_dim=128,
      num_heads=4,
      head_dim=32,
      mlp_dim=512,
      vocab_size=512,
      scan_layers=False,
    )
    model = VideoVLM(
      config,
      '128,2,512,4/8',
      image_size=64,
      dtype='float32',
      scan=False,
      remat_policy='none',
    )
    task = VLMObjective(model, 2, {'inputs': 16, 'targets': 17})
    params = nn.unbox(jax.eval_shape(task.init, jax.random.key(0)))
    batch = task.batch_shapes(1)
    run = jax.jit(lambda p, b, model=model: model.apply({'params': p}, b))
    measured = run.lower(params, batch).cost_analysis()['flops']
    parts = flops.video_vlm(model, 2, 16, 17)
    assert sum(p.forward for p in parts) == pytest.approx(measured, rel=0.1)
