"""A contrastive batch in parts: the whole batch still contrasts (GradCache)."""

import pathlib
import sys

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'training'))

import microbatch_steps as steps

from dualenc.models import text, two_towers, vit_st
from dualenc.objective import DualEncoderObjective
from vidlm.training import optim

IMAGE_FROZEN = (('img/.*', None), ('.*', optim.constant(0.05)))


def objective(loss: str, **image) -> DualEncoderObjective:
  common = {'embed_dim': 16, 'dtype': 'float32'}
  image = {'num_frames': 2, 'image_size': 32, **image}
  return DualEncoderObjective(
    two_towers.TwoTowers(
      img=vit_st.ViTST('32,2,64,2/16', **image, **common),
      txt=text.TextTransformer(
        width=32, depth=2, num_heads=2, vocab_size=50, context_length=8,
        eos_id=1, **common,
      ),
      bias_init=None if loss == 'softmax' else -2.0,
    ),
    loss=loss,
  )  # fmt: skip


def batches(task, size, number):
  shapes = task.batch_shapes(size)
  for seed in range(number):
    rng = np.random.default_rng(seed)
    ids = rng.integers(2, 50, shapes['text'].shape).astype(np.int32)
    ids[:, -1] = 1
    frames = rng.integers(0, 256, shapes['frames'].shape).astype(np.uint8)
    yield {'frames': frames, 'text': ids}


@pytest.mark.parametrize('loss', ['softmax', 'sigmoid'])
def test_equals_the_whole_batch(loss) -> None:
  task = objective(loss)
  params = steps.random_params(task)
  data = list(batches(task, 16, 3))
  whole = steps.train(task, params, data, 1)
  for parts, mesh in ((4, (1, 1)), (2, (4, 2))):
    got = steps.train(task, params, data, parts, mesh)
    steps.assert_same(got, whole)
    steps.assert_moved(got, params)  # t, and b where there is one, too


def test_parts_take_less_memory() -> None:
  task = objective('softmax', image_size=64, remat_policy='none')

  def temp_bytes(parts):
    partitioner, _, built = steps.build(task, 64, parts)
    with partitioner.activate():
      return built.compile().memory_analysis().temp_size_in_bytes

  assert temp_bytes(4) < 0.4 * temp_bytes(1)


def test_embeddings_are_made_twice_where_a_gradient_passes() -> None:
  """4/3 of the FLOPs; a frozen tower before all that trains: once."""
  task = objective('softmax')
  everything, texts = (lambda _: True), (lambda n: not n.startswith('img/'))
  once = task.flops_per_step(64, everything)
  matrix = 3 * 2 * 64**2 * 16
  repeated = task.repeated_flops(64, everything)
  assert repeated == pytest.approx((once - matrix) / 3)
  by_text = task.repeated_flops(64, texts)
  image = task.flops_per_step(64, lambda _: False) - matrix - by_text
  assert image > 0 and by_text + image == pytest.approx(repeated)


def test_a_frozen_tower_is_computed_once() -> None:
  """In the compiled step: the pass with gradients has texts alone."""
  task = objective('softmax')
  partitioner, _, built = steps.build(task, 16, 4, schedule=IMAGE_FROZEN)
  with partitioner.activate():
    compiled = built.compile()
  convolutions = compiled.as_text().count(' convolution(')
  assert convolutions == 1  # the patch embedding of the first pass
  assert all(not name.startswith('img/') for name in built.state.trained)
  assert jax.tree.leaves(built.state.frozen)
