"""The video VLM: parameters, frames, masks, scan, and frozen gradients."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from vidlm.core import partitioning
from vidlm.models import flops
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import scan_layout, t5, vit

LLM = t5.T5Config(
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
MODEL = VideoVLM(
  LLM, '16,2,32,2/8', image_size=16, dtype='float32', remat_policy='none'
)
TASK = VLMObjective(MODEL, 3, {'inputs': 5, 'targets': 6})


def make_batch(task: VLMObjective, size: int, seed: int = 0):
  rng = np.random.default_rng(seed)
  shapes = task.batch_shapes(size)
  targets = rng.integers(2, 32, shapes['decoder_target_tokens'].shape)
  targets[0, 4:] = 0
  instruction = rng.integers(2, 32, shapes['encoder_input_tokens'].shape)
  instruction[0, 3:] = 0
  batch = {
    'frames': rng.integers(0, 256, shapes['frames'].shape, np.uint8),
    'frame_mask': np.ones(shapes['frame_mask'].shape, bool),
    'encoder_input_tokens': instruction,
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_target_tokens': targets,
    'decoder_loss_weights': targets > 0,
  }
  return {k: jnp.asarray(v, shapes[k].dtype) for k, v in batch.items()}


BATCH = make_batch(TASK, 4)


@pytest.fixture(scope='module')
def params():
  """Random weights; quicker than compiling an initialisation."""
  tree = nn.unbox(jax.eval_shape(TASK.init, jax.random.key(0)))
  rng = np.random.default_rng(1)
  flat = {
    name: jnp.asarray(
      rng.normal(size=x.shape) * 0.2 + name.endswith('scale'), jnp.float32
    )
    for name, x in flatten_dict(tree, sep='/').items()
  }
  return unflatten_dict(flat, sep='/')


@pytest.fixture(scope='module')
def run():
  return jax.jit(lambda params, batch: MODEL.apply({'params': params}, batch))


def names_of(model: VideoVLM) -> dict[str, tuple[int, ...]]:
  task = dataclasses.replace(TASK, model=model)
  tree = nn.unbox(jax.eval_shape(task.init, jax.random.key(0)))
  return {k: v.shape for k, v in flatten_dict(tree, sep='/').items()}


def test_parameter_counts_of_the_paper() -> None:
  shapes = names_of(VideoVLM())
  count = lambda prefix: sum(
    int(np.prod(s)) for n, s in shapes.items() if n.startswith(prefix)
  )
  assert count('img/') - count('img/head/') == 1_842_772_352
  assert count('img/head/') == 3_409_920
  assert count('llm/') == 2_849_757_184


def test_names() -> None:
  names = names_of(MODEL)
  assert {n.split('/')[0] for n in names} == {'img', 'llm'}
  assert names['img/head/kernel'] == (16, 16)
  assert names['img/embedding/kernel'] == (8, 8, 3, 16)
  assert 'img/frame_embedding' not in names
  with_frames = MODEL.clone(frame_embedding=True, max_frames=8)
  extra = names_of(with_frames)
  assert extra.pop('img/frame_embedding') == (8, 16)
  assert extra == names


def test_scan_equals_loop(params, run) -> None:
  loop = MODEL.clone(
    scan=False, llm_config=dataclasses.replace(LLM, scan_layers=False)
  )
  flat = scan_layout.unstack(flatten_dict(params, sep='/'))
  assert flat.keys() == names_of(loop).keys()
  tree = unflatten_dict(flat, sep='/')
  got = jax.jit(loop.apply)({'params': tree}, BATCH)
  np.testing.assert_allclose(got, run(params, BATCH), atol=2e-5)


def test_masked_frames_do_not_matter_and_others_do(params, run) -> None:
  mask = BATCH['frame_mask'].at[:, 2].set(False)
  batch = BATCH | {'frame_mask': mask}
  want = run(params, batch)
  hidden = BATCH['frames'].at[:, 2].set(7)
  got = run(params, batch | {'frames': hidden})
  np.testing.assert_allclose(got, want, atol=1e-6)
  seen = BATCH['frames'].at[:, 1].set(7)
  assert not np.allclose(run(params, batch | {'frames': seen}), want, atol=1e-3)


def test_order_of_frames_is_seen(params, run) -> None:
  backwards = BATCH | {'frames': BATCH['frames'][:, ::-1]}
  a, b = run(params, BATCH), run(params, backwards)
  assert not np.allclose(a, b, atol=1e-4)


def test_padding_of_the_instruction_is_unseen(params, run) -> None:
  """Longer padding: the same logits, though every text index stays."""
  longer = jnp.pad(BATCH['encoder_input_tokens'], ((0, 0), (0, 4)))
  got = run(params, BATCH | {'encoder_input_tokens': longer})
  np.testing.assert_allclose(got, run(params, BATCH), atol=1e-5)


def test_images_are_clips_of_one_frame(params, run) -> None:
  one = {
    'frames': BATCH['frames'][:, :1],
    'frame_mask': BATCH['frame_mask'][:, :1],
  }
  assert run(params, BATCH | one).shape == (4, 6, 32)


def test_tokens_are_a_plain_vits_on_minus_one_to_one(params) -> None:
  """Frame by frame, from big_vision's parameters under `img`."""
  tower = vit.ViT(
    '16,2,32,2/8', 16, num_classes=16, dtype='float32', remat_policy='none'
  )
  images = np.asarray(BATCH['frames'], np.float32).reshape(-1, 16, 16, 3)
  want, _ = jax.jit(tower.apply)(
    {'params': params['img']}, images / 127.5 - 1.0
  )
  embed = lambda p, x: MODEL.apply({'params': p}, x, method='embed_frames')
  got = jax.jit(embed)(params, BATCH['frames'])
  assert got.shape == (4, 3 * 4, 16)
  np.testing.assert_allclose(got.reshape(want.shape), want, atol=1e-5)


def test_eight_devices_give_the_loss_and_gradients_of_one(params) -> None:
  step = jax.value_and_grad(
    lambda p, b: TASK.loss_fn(p, b, jax.random.key(0))[0]
  )
  want_loss, want = jax.jit(step)(params, BATCH)
  mesh = partitioning.make_mesh(data=4, model=2)
  partitioner = partitioning.Partitioner(mesh, fsdp_min_size=1)
  boxed = jax.eval_shape(TASK.init, jax.random.key(0))
  shardings = partitioner.shardings(boxed)
  flat = flatten_dict(params, sep='/')
  placed = {k: jax.device_put(v, shardings[k]) for k, v in flat.items()}
  assert sum(not s.is_fully_replicated for s in shardings.values()) > 20
  batch = jax.device_put(BATCH, partitioner.batch_sharding)
  with partitioner.activate():
    loss, got = jax.jit(step)(unflatten_dict(placed, sep='/'), batch)
  np.testing.assert_allclose(loss, want_loss, rtol=1e-5)
  want = flatten_dict(want, sep='/')
  for name, grad in flatten_dict(got, sep='/').items():
    np.testing.assert_allclose(grad, want[name], atol=2e-5, err_msg=name)


def grad_of(task: VLMObjective, params, batch, prefix: str):
  """Differentiates with respect to the leaves under a prefix alone."""
  flat = flatten_dict(params, sep='/')
  trained = {k: v for k, v in flat.items() if k.startswith(prefix)}
  frozen = {
    k: v.astype(jnp.bfloat16) if v.dtype == jnp.float32 else v
    for k, v in flat.items()
    if k not in trained
  }

  def loss(trained, frozen):
    tree = unflatten_dict(trained | frozen, sep='/')
    return task.loss_fn(tree, batch, jax.random.key(0))[0]

  return jax.grad(loss), trained, frozen


@pytest.mark.parametrize('prefix', ['img/', 'llm/'])
def test_gradients_reach_what_is_trained(params, prefix: str) -> None:
  fn, trained, frozen = grad_of(TASK, params, BATCH, prefix)
  for name, grad in jax.jit(fn)(trained, frozen).items():
    assert grad.dtype == jnp.float32
    assert np.isfinite(grad).all(), name
    # A key's bias moves all logits of a row alike: its gradient is zero.
    if not name.endswith('key/bias'):
      assert np.abs(grad).max() > 0, name


def test_nothing_before_the_language_model_is_differentiated() -> None:
  """FLOPs of the traced program, layers unrolled, against the arithmetic."""
  model = VideoVLM(
    dataclasses.replace(
      LLM,
      emb_dim=128,
      num_heads=4,
      head_dim=32,
      mlp_dim=256,
      vocab_size=512,
      scan_layers=False,
    ),
    '128,2,512,4/8',
    image_size=64,
    dtype='float32',
    scan=False,
    remat_policy='none',
  )
  task = VLMObjective(model, 4, {'inputs': 16, 'targets': 16})
  params = nn.unbox(jax.eval_shape(task.init, jax.random.key(0)))
  batch = task.batch_shapes(1)
  # Of the unoptimised program: matrix products, and little else at this size.
  measure = lambda f, *args: jax.jit(f).lower(*args).cost_analysis()['flops']
  forward = measure(lambda p, b: model.apply({'params': p}, b), params, batch)
  parts = flops.video_vlm(model, 4, 16, 16)
  assert sum(p.forward for p in parts) == pytest.approx(forward, rel=0.1)

  def backward(prefix):
    flat = flatten_dict(params, sep='/')
    trained = {k: v for k, v in flat.items() if k.startswith(prefix)}
    frozen = {k: v for k, v in flat.items() if k not in trained}

    def loss(trained, frozen, batch):
      tree = unflatten_dict(trained | frozen, sep='/')
      return task.loss_fn(tree, batch, jax.random.key(0))[0]

    return measure(jax.value_and_grad(loss), trained, frozen, batch)

  for prefix in ('', 'img/', 'llm/'):
    want = task.flops_per_step(1, lambda name, p=prefix: name.startswith(p))
    assert backward(prefix) == pytest.approx(want, rel=0.12), prefix
