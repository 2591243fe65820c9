"""A Gemma VLM: gradients, devices, initialisation, precision, cost."""

import dataclasses
import pathlib
import sys

import flax.linen as nn
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
  TWO,
  B,
  draw,
  forward,
  objective,
  random_params,
  vlm,
)

from vidlm.core import partitioning
from vidlm.models import decoding, flops
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import gemma


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
