"""A video VLM in parts: T5 and Gemma, targets of uneven lengths, memory."""

import dataclasses
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'training'))

import microbatch_steps as steps
import small_gemma

from vidlm.core import trees
from vidlm.models.objective import VLMObjective
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import t5
from vidlm.training import optim

T5 = t5.T5Config(
  vocab_size=small_gemma.V,
  emb_dim=16,
  num_heads=2,
  head_dim=8,
  num_encoder_layers=2,
  num_decoder_layers=2,
  mlp_dim=24,
  dtype='float32',
  remat_policy='nothing_saveable',
)
GEMMA = dataclasses.replace(small_gemma.TWO, remat_policy='nothing_saveable')
TASKS = {
  't5': VLMObjective(
    small_gemma.vlm(T5),
    2,
    {'inputs': 6, 'targets': 6},
    label_smoothing=0.1,
    z_loss=1e-3,
  ),
  'gemma': dataclasses.replace(
    small_gemma.objective(GEMMA), loss_normalizing_factor='AVERAGE_PER_SEQUENCE'
  ),
}
# Gradients of norm 10: faster, and each step would multiply the rounding.
SLOWLY = (('.*', optim.constant(5e-3)),)
# Real tokens of each target: the first quarter has 21, the last has none.
LENGTHS = [6, 6, 5, 4, 1, 1, 3, 2, 6, 1, 1, 1, 0, 0, 0, 0]


def batch(task: VLMObjective, seed: int, lengths=LENGTHS):
  rng = np.random.default_rng(seed)
  shapes = task.batch_shapes(len(lengths))
  frames, text = shapes['frames'].shape, shapes['decoder_target_tokens'].shape
  targets = rng.integers(2, small_gemma.V, text, np.int32)
  real = np.arange(text[1]) < np.reshape(lengths, (-1, 1))
  prompt = shapes['encoder_input_tokens'].shape
  return {
    'frames': rng.integers(0, 256, frames, np.uint8),
    'frame_mask': rng.integers(0, 2, frames[:2]).astype(bool),
    'encoder_input_tokens': rng.integers(0, small_gemma.V, prompt, np.int32),
    'decoder_input_tokens': np.pad(targets, ((0, 0), (1, 0)))[:, :-1],
    'decoder_target_tokens': targets,
    'decoder_loss_weights': real.astype(np.float32),
  }


@pytest.mark.parametrize('name', TASKS)
def test_equals_the_whole_batch(name) -> None:
  task = TASKS[name]
  params = steps.random_params(task)
  batches = [batch(task, seed) for seed in range(3)]
  whole = steps.train(task, params, batches, 1, schedule=SLOWLY)
  for parts, mesh in ((4, (1, 1)), (2, (4, 2))):
    got = steps.train(task, params, batches, parts, mesh, schedule=SLOWLY)
    steps.assert_same(got, whole)
    steps.assert_moved(got, params)


@pytest.mark.parametrize(
  'factor', ['NUM_REAL_TARGET_TOKENS', 'AVERAGE_PER_SEQUENCE']
)
def test_tokens_are_weighed_by_the_batch_alone(factor) -> None:
  """The contract: `loss_fn` in two halves, the second linear."""
  task = dataclasses.replace(TASKS['t5'], loss_normalizing_factor=factor)
  params, one = {}, jax.tree.map(jnp.asarray, batch(task, 0))
  rng = np.random.default_rng(0)
  draw = lambda: {
    name: jnp.asarray(rng.normal(size=(16, 6)), jnp.float32)
    for name in ('loss', 'z_term', 'hit')
  }
  weights = jax.grad(lambda out: task.loss_of_outputs(params, out, one)[0])
  first, second = draw(), draw()
  for a, b in zip(
    weights(first).values(), weights(second).values(), strict=True
  ):
    np.testing.assert_array_equal(a, b)
  want = sum((x * first[n]).sum() for n, x in weights(first).items())
  got, metrics = task.loss_of_outputs(params, first, one)
  assert got == pytest.approx(float(want), rel=1e-5)
  assert metrics['target_tokens'] == sum(LENGTHS)
  assert task.loss_is_linear and task.repeated_flops(8, lambda _: True) == 0


def test_parts_take_less_memory() -> None:
  """Activations of a part, not of the batch: of 64 clips or of 16."""
  tower = VideoVLM(
    T5, '32,2,64,4/4', image_size=32, dtype='float32', remat_policy='none'
  )
  task = VLMObjective(tower, 2, {'inputs': 6, 'targets': 6})
  schedule = (('img/.*', optim.constant(0.1)), ('llm/.*', None))

  def temp_bytes(parts):
    partitioner, _, built = steps.build(task, 64, parts, schedule=schedule)
    with partitioner.activate():
      return built.compile().memory_analysis().temp_size_in_bytes

  assert temp_bytes(4) < 0.4 * temp_bytes(1)


def test_dropout_is_drawn_from_the_key_of_a_part() -> None:
  llm = dataclasses.replace(T5, dropout_rate=0.5)
  task = dataclasses.replace(TASKS['t5'], model=small_gemma.vlm(llm))
  params = trees.unflatten(steps.random_params(task))
  one = jax.tree.map(jnp.asarray, batch(task, 0, [6]))
  outputs = jax.jit(lambda key: task.outputs(params, one, key)['loss'])
  first, again, other = (outputs(jax.random.key(i)) for i in (0, 0, 1))
  np.testing.assert_array_equal(first, again)
  assert not np.allclose(first, other)
