"""Losses: values, one device against eight, and the objective around them."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from dualenc import losses
from dualenc.models import text, two_towers, vit_st
from dualenc.objective import DualEncoderObjective
from vidlm.core import partitioning, trees


def unit(rng: np.random.Generator, b: int, e: int) -> jax.Array:
  return two_towers.l2_normalize(
    jnp.asarray(rng.normal(size=(b, e)), jnp.float32)
  )


@pytest.fixture(scope='module')
def embeddings():
  rng = np.random.default_rng(0)
  return unit(rng, 16, 8), unit(rng, 16, 8)


@pytest.fixture(scope='module')
def objective():
  common = {'embed_dim': 16, 'dtype': 'float32'}
  return DualEncoderObjective(
    two_towers.TwoTowers(
      img=vit_st.ViTST('mu/16', num_frames=2, image_size=32, **common),
      txt=text.TextTransformer(
        width=32, depth=2, num_heads=2, vocab_size=50, context_length=8,
        eos_id=1, **common,
      ),
    )
  )  # fmt: skip


def random_batch(objective, size, seed=0):
  rng = np.random.default_rng(seed)
  shapes = objective.batch_shapes(size)
  text_ids = rng.integers(2, 50, shapes['text'].shape).astype(np.int32)
  text_ids[:, -1] = 1
  frames = rng.integers(0, 256, shapes['frames'].shape).astype(np.uint8)
  return {'frames': jnp.asarray(frames), 'text': jnp.asarray(text_ids)}


def test_equals_open_clip(open_clip, embeddings):
  import torch
  from open_clip.loss import ClipLoss, SigLipLoss

  a, b = (torch.tensor(np.asarray(x)) for x in embeddings)
  products = losses.similarity(*embeddings)
  expected = ClipLoss()(a, b, torch.tensor(37.0)).item()
  actual = losses.softmax_loss(37.0 * products)
  assert actual == pytest.approx(expected, abs=2e-5)
  expected = SigLipLoss()(a, b, torch.tensor(10.0), torch.tensor(-10.0)).item()
  actual = losses.sigmoid_loss(10.0 * products - 10.0)
  assert actual == pytest.approx(expected, abs=2e-5)


def test_known_values():
  perfect = 1e3 * jnp.eye(4)
  assert losses.softmax_loss(perfect) == 0
  assert losses.accuracy(perfect) == 1
  flat = jnp.zeros((4, 4))
  assert losses.softmax_loss(flat) == pytest.approx(np.log(4))
  # Row 0 wins for everyone; the columns tie, and the first wins.
  assert losses.accuracy(jnp.array([[2.0, 1.0], [2.0, 1.0]])) == 0.5


@pytest.mark.parametrize('loss', [losses.softmax_loss, losses.sigmoid_loss])
def test_one_device_equals_eight(embeddings, loss):
  """Sharded or not, the batch of the loss is the global one."""

  def step(a, b):
    return loss(20.0 * losses.similarity(a, b))

  expected = jax.value_and_grad(step, argnums=(0, 1))(*embeddings)
  mesh = Mesh(np.array(jax.devices()[:8]).reshape(8, 1), ('data', 'model'))
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  with jax.set_mesh(mesh), nn.logical_axis_rules([('batch', 'data')]):
    sharded = [jax.device_put(x, sharding) for x in embeddings]
    compiled = jax.jit(jax.value_and_grad(step, argnums=(0, 1)))
    actual = compiled(*sharded)
  assert len(actual[1][0].sharding.device_set) == 8
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-6), actual, expected
  )


def test_similarity_rows_stay_sharded(embeddings):
  mesh = Mesh(np.array(jax.devices()[:8]).reshape(8, 1), ('data', 'model'))
  sharding = NamedSharding(mesh, PartitionSpec('data'))
  with jax.set_mesh(mesh), nn.logical_axis_rules([('batch', 'data')]):
    sharded = [jax.device_put(x, sharding) for x in embeddings]
    products = jax.jit(losses.similarity)(*sharded)
  assert products.sharding.shard_shape(products.shape) == (2, 16)


def test_objective_on_a_mesh(objective, random_params):
  """Data and model parallel, parameters split: the same loss."""
  params = random_params(objective.init)
  batch = random_batch(objective, 16)
  step = jax.jit(objective.loss_fn)
  expected = step(params, batch, jax.random.key(0))
  partitioner = partitioning.Partitioner(
    partitioning.make_mesh(data=4, model=2), fsdp_min_size=64
  )
  abstract = jax.eval_shape(objective.init, jax.random.key(0))
  shardings = trees.unflatten(partitioner.shardings(abstract))
  with partitioner.activate():
    params = jax.device_put(params, shardings)
    batch = partitioner.shard_batch(jax.tree.map(np.asarray, batch))
    actual = jax.jit(objective.loss_fn)(params, batch, jax.random.key(0))
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, atol=1e-5), actual, expected
  )


def test_objective_learns_a_batch_by_heart(objective, random_params):
  params = random_params(objective.init)
  batch = random_batch(objective, 8)
  optimizer = optax.adam(3e-3)
  state = optimizer.init(params)

  @jax.jit
  def step(params, state):
    (_, metrics), gradients = jax.value_and_grad(
      objective.loss_fn, has_aux=True
    )(params, batch, jax.random.key(0))
    updates, state = optimizer.update(gradients, state)
    return optax.apply_updates(params, updates), state, metrics

  params, state, first = step(params, state)
  assert first['loss'] > 1
  for _ in range(60):
    params, state, metrics = step(params, state)
  assert metrics['loss'] < 0.3 and metrics['accuracy'] == 1


def test_sigmoid_objective_has_a_bias(objective, random_params):
  model = objective.model.clone(bias_init=-10.0)
  sigmoid = DualEncoderObjective(model, loss='sigmoid')
  params = random_params(sigmoid.init)
  assert params['b'].shape == params['t'].shape == (1,)
  loss_fn = jax.jit(sigmoid.loss_fn)
  loss, _ = loss_fn(params, random_batch(sigmoid, 4), jax.random.key(0))
  assert np.isfinite(loss)


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_what_fills_a_batch_up_is_not_scored(objective, random_params, loss):
  model = objective.model.clone(bias_init=-10.0)
  task = DualEncoderObjective(model, loss=loss)
  params = random_params(task.init)
  batch = random_batch(task, 8)
  score = jax.jit(task.eval_fn)
  five = {name: x[:5] for name, x in batch.items()}
  _, want = jax.jit(task.loss_fn)(params, five, jax.random.key(0))
  got = score(params, batch, jnp.arange(8) < 5)
  for name in ('loss', 'accuracy'):
    mean, weight = got[name]
    assert weight == 5 and mean == pytest.approx(float(want[name]), rel=1e-5)
  all_of_them = score(params, batch, jnp.ones(8, bool))
  _, whole = jax.jit(task.loss_fn)(params, batch, jax.random.key(0))
  assert all_of_them['loss'][0] == pytest.approx(float(whole['loss']), rel=1e-6)


def test_scale_and_bias_start_as_published(objective):
  model = objective.model.clone(bias_init=-10.0)

  @jax.jit  # The rest of the parameters is never computed.
  def init(key):
    params = nn.meta.unbox(DualEncoderObjective(model).init(key))
    return params['t'], params['b']

  t, b = init(jax.random.key(0))
  np.testing.assert_allclose([t[0], b[0]], [np.log(1 / 0.07), -10], rtol=1e-6)


def test_batch_shapes(objective):
  shapes = objective.batch_shapes(6)
  assert shapes['frames'].shape == (6, 2, 32, 32, 3)
  assert shapes['text'].shape == (6, 8)
  assert DualEncoderObjective().batch_shapes(1)['text'].shape == (1, 77)


def test_flops_of_the_papers_models():
  """722 + 13 GFLOP forward for ViT-st-L/14, three times that to train."""
  large = DualEncoderObjective(
    two_towers.TwoTowers(
      img=vit_st.ViTST('L/14', embed_dim=768),
      txt=text.TextTransformer(width=768, num_heads=12, embed_dim=768),
    )
  )
  everything = large.flops_per_step(1, lambda name: True)
  assert everything == pytest.approx(2.21e12, rel=5e-3)
  frozen_image = large.flops_per_step(1, lambda n: n.startswith('txt'))
  assert frozen_image == pytest.approx(723e9 + 3 * 13.3e9, rel=5e-3)
  only_time = large.flops_per_step(1, lambda n: n == 'img/temporal_embedding')
  assert only_time == pytest.approx(2 * 723e9 + 13.3e9, rel=5e-3)
  assert large.flops_per_step(8, lambda name: True) == pytest.approx(
    8 * everything, rel=1e-4
  )


def test_flops_against_the_compiler(objective):
  """On an unrolled forward pass: a scanned one is counted once."""
  model = objective.model.clone(
    img=objective.model.img.clone(scan=False, remat_policy='none'),
    txt=objective.model.txt.clone(scan=False, remat_policy='none'),
  )
  unrolled = DualEncoderObjective(model)
  batch = unrolled.batch_shapes(4)
  abstract = nn.meta.unbox(jax.eval_shape(unrolled.init, jax.random.key(0)))
  compiled = (
    jax.jit(lambda p, b: unrolled.loss_fn(p, b, jax.random.key(0))[0])
    .lower(abstract, batch)
    .compile()
  )
  counted = compiled.cost_analysis()['flops']
  ours = unrolled.flops_per_step(4, lambda name: False)
  assert ours == pytest.approx(counted, rel=0.15)
