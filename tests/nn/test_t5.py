"""T5: sizes, names, initialisation, dropout and cached decoding."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from vidlm.nn import scan_layout, t5, t5_layers

TINY = t5.T5Config(
  vocab_size=32,
  emb_dim=16,
  num_heads=2,
  head_dim=8,
  num_encoder_layers=2,
  num_decoder_layers=2,
  mlp_dim=24,
  dtype='float32',
  remat_policy='none',
)


def replace(**kwargs) -> t5.T5Config:
  return t5.T5Config(**(TINY.__dict__ | kwargs))


def batch(seed: int = 0) -> tuple[jax.Array, jax.Array]:
  rng = np.random.default_rng(seed)
  source = rng.integers(2, 32, (2, 12))
  source[0, 7:] = 0
  target = np.pad(rng.integers(2, 32, (2, 5)), ((0, 0), (1, 0)))
  return jnp.asarray(source), jnp.asarray(target)


def shapes(config: t5.T5Config) -> dict[str, tuple[int, ...]]:
  tree = jax.eval_shape(t5.T5(config).init, jax.random.key(0), *batch())
  flat = flatten_dict(nn.unbox(tree['params']), sep='/')
  return {name: x.shape for name, x in flat.items()}


def random_params(config: t5.T5Config):
  """Random weights; quicker than compiling an initialisation."""
  rng = np.random.default_rng(0)
  flat = {
    name: jnp.asarray(
      rng.normal(size=shape) * 0.3 + name.endswith('scale'), jnp.float32
    )
    for name, shape in shapes(config).items()
  }
  return unflatten_dict(flat, sep='/')


@pytest.fixture(scope='module')
def params():
  return random_params(TINY)


@pytest.mark.parametrize(
  ('config', 'parameters'),
  [
    (t5.T5Config(), 2_849_757_184),
    (t5.T5Config(vocab_size=250_112), 3_742_619_648),
    (t5.T5Config(32128, 768, 12, 64, 12, 12, 2048), 247_577_856),
    (t5.T5Config(32128, 512, 6, 64, 8, 8, 1024), 76_961_152),
    # umT5-XL: 46 tables of 32 heads by 32 buckets more than one a stack.
    (
      t5.T5Config(vocab_size=256_384, relpos_per_layer=True),
      3_742_619_648 + 2 * 2048 * (256_384 - 250_112) + 46 * 32 * 32,
    ),
  ],
)
def test_parameter_counts(config: t5.T5Config, parameters: int) -> None:
  total = sum(int(np.prod(s)) for s in shapes(config).values())
  assert total == parameters


def test_names_are_t5xs() -> None:
  names = shapes(replace(scan_layers=False, num_decoder_layers=1))
  attention = ('query', 'key', 'value', 'out')
  mlp = {'wi_0': (16, 24), 'wi_1': (16, 24), 'wo': (24, 16)}
  want = {
    'token_embedder/embedding': (32, 16),
    'encoder/relpos_bias/rel_embedding': (2, 32),
    'encoder/encoder_norm/scale': (16,),
    'decoder/relpos_bias/rel_embedding': (2, 32),
    'decoder/decoder_norm/scale': (16,),
    'decoder/logits_dense/kernel': (16, 32),
  }
  for i in range(2):
    p = f'encoder/layers_{i}'
    want |= {f'{p}/attention/{n}/kernel': (16, 16) for n in attention}
    want |= {f'{p}/mlp/{n}/kernel': s for n, s in mlp.items()}
    want[f'{p}/pre_attention_layer_norm/scale'] = (16,)
    want[f'{p}/pre_mlp_layer_norm/scale'] = (16,)
  p = 'decoder/layers_0'
  for part in ('self_attention', 'encoder_decoder_attention'):
    want |= {f'{p}/{part}/{n}/kernel': (16, 16) for n in attention}
  want |= {f'{p}/mlp/{n}/kernel': s for n, s in mlp.items()}
  for norm in ('self_attention', 'cross_attention', 'mlp'):
    want[f'{p}/pre_{norm}_layer_norm/scale'] = (16,)
  assert names == want


def test_every_layer_may_have_positions_of_its_own() -> None:
  """umT5: tables move into the layers, and are sharded as the others."""
  config = replace(relpos_per_layer=True)
  moved = {
    name.replace('relpos_bias', 'layers/relpos_bias'): shape
    for name, shape in shapes(TINY).items()
  }
  for side in ('encoder', 'decoder'):
    moved[f'{side}/layers/relpos_bias/rel_embedding'] = (2, 2, 32)
  assert shapes(config) == moved
  tree = jax.eval_shape(t5.T5(config).init, jax.random.key(0), *batch())
  specs = flatten_dict(nn.get_partition_spec(tree)['params'], sep='/')
  table = specs['decoder/layers/relpos_bias/rel_embedding']
  assert tuple(table) == ('layers', 'heads', 'relpos_buckets')


def test_tied_logits_have_no_kernel_and_are_scaled() -> None:
  config = replace(logits_via_embedding=True)
  assert not any('logits_dense' in name for name in shapes(config))
  table = {'params': {'embedding': jnp.ones((32, 16))}}
  logits = t5_layers.Embed(config).apply(
    table, jnp.ones((1, 1, 16)), method='attend'
  )
  np.testing.assert_allclose(logits, 16 / 4.0)


def test_logical_axes_of_kernels() -> None:
  tree = jax.eval_shape(t5.T5(TINY).init, jax.random.key(0), *batch())
  specs = flatten_dict(nn.get_partition_spec(tree)['params'], sep='/')
  query = specs['encoder/layers/attention/query/kernel']
  assert tuple(query) == ('layers', 'embed', 'joined_kv')
  assert tuple(specs['token_embedder/embedding']) == ('vocab', 'embed')
  wo = specs['decoder/layers/mlp/wo/kernel']
  assert tuple(wo) == ('layers', 'mlp', 'embed')


def test_query_initialisation_holds_the_missing_scale() -> None:
  config = replace(emb_dim=256, num_heads=8, head_dim=32)
  x = jnp.zeros((1, 1, 256))
  init = jax.jit(t5_layers.MultiHeadAttention(config).init)
  kernels = nn.unbox(init(jax.random.key(0), x, x)['params'])
  std = lambda name: np.std(kernels[name]['kernel'])
  assert std('key') == pytest.approx(256**-0.5, rel=0.02)
  assert std('query') == pytest.approx((256 * 32) ** -0.5, rel=0.02)


@pytest.mark.parametrize('per_layer', [False, True])
def test_scan_equals_loop(per_layer: bool) -> None:
  config = replace(relpos_per_layer=per_layer)
  params = random_params(config)
  flat = scan_layout.unstack(flatten_dict(params, sep='/'))
  want = jax.jit(t5.T5(config).apply)({'params': params}, *batch())
  loop = t5.T5(replace(scan_layers=False, relpos_per_layer=per_layer))
  got = jax.jit(loop.apply)({'params': unflatten_dict(flat, sep='/')}, *batch())
  np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('scan', [True, False])
@pytest.mark.parametrize('per_layer', [False, True])
def test_cached_steps_give_the_logits_of_the_whole(scan, per_layer) -> None:
  source, target = batch()
  model = t5.T5(replace(scan_layers=scan, relpos_per_layer=per_layer))
  params = random_params(replace(relpos_per_layer=per_layer))
  if not scan:
    flat = scan_layout.unstack(flatten_dict(params, sep='/'))
    params = unflatten_dict(flat, sep='/')

  def both(params):
    bound = model.bind({'params': params})
    mask = source > 0
    encoded = bound.encode(bound.embed(source), mask)
    whole = bound.decode(encoded, mask, target)
    cross_kv = bound.precompute_cross_kv(encoded)
    cache = bound.init_cache(2, 3, target.shape[1])

    def step(cache, inputs):
      index, tokens = inputs
      three = jnp.repeat(tokens[:, None], 3, axis=1)
      logits, cache = model.apply(
        {'params': params},
        three,
        index,
        cache,
        cross_kv,
        mask,
        method='decode_step',
      )
      return cache, logits

    steps = (jnp.arange(target.shape[1]), target.T)
    return whole, jax.lax.scan(step, cache, steps)[1], cross_kv

  whole, steps, cross_kv = jax.jit(both)(params)
  assert cross_kv['key'].shape == (2, 2, 12, 2, 8)
  for sample in range(3):
    np.testing.assert_allclose(
      steps[:, :, sample].swapaxes(0, 1), whole, atol=2e-5
    )


def test_decoder_does_not_look_ahead_and_padding_is_unseen(params) -> None:
  source, target = batch()
  run = jax.jit(t5.T5(TINY).apply)
  want = run({'params': params}, source, target)
  later = run({'params': params}, source, target.at[:, 4:].set(3))
  np.testing.assert_allclose(later[:, :4], want[:, :4], atol=1e-6)
  assert not np.allclose(later[:, 4:], want[:, 4:])


def test_dropout_needs_a_key_and_a_rate(params) -> None:
  source, target = batch()
  variables = {'params': params}
  want = jax.jit(t5.T5(TINY).apply)(variables, source, target)
  model = t5.T5(replace(dropout_rate=0.5, remat_policy='nothing_saveable'))
  run = jax.jit(
    lambda key: model.apply(variables, source, target, rngs={'dropout': key})
  )
  one, two = run(jax.random.key(1)), run(jax.random.key(2))
  np.testing.assert_array_equal(one, run(jax.random.key(1)))
  assert not np.allclose(one, two)
  without = jax.jit(model.apply)(variables, source, target)
  np.testing.assert_allclose(without, want, atol=1e-6)


def test_frozen_half_precision_weights_are_enough(params) -> None:
  half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  config = replace(dtype='bfloat16')
  logits = jax.jit(t5.T5(config).apply)({'params': half}, *batch())
  assert logits.dtype == jnp.float32
  assert np.isfinite(logits).all()
