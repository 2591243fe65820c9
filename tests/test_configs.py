"""Every shipped gin parses and resolves; its real step has a shape; the
CPU-sized ones train a step, and exactly what SCHEDULE names moves."""

import pathlib

import gin
import jax
import numpy as np
import pytest

from vidlm.commands import plan
from vidlm.core import launch, runs
from vidlm.train import MeshConfig
from vidlm.training import optim, step

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECIPES = sorted(
  str(path.relative_to(ROOT))
  for folder in ('vidlm/recipes', 'dualenc/recipes', 'miniature', 'real_pixels')
  for path in (ROOT / 'configs' / folder).glob('*.gin')
  if path.parts[-2:] != ('miniature', 'vlm.gin')  # a model, the others' base
)
CPU_SIZED = [
  recipe
  for recipe in RECIPES
  if pathlib.Path(recipe).parent.name in ('miniature', 'real_pixels')
  or 'tiny' in recipe
]
PIECES = sorted(
  str(path.relative_to(ROOT)) for path in (ROOT / 'configs').rglob('*.gin')
)


# Shrinks a recipe with a T5 to CPU size; what trains stays as it is.
SHRUNK = [
  "video_vlm.VideoVLM.variant='32,2,64,4/8'",
  't5.T5Config.vocab_size=256',
  't5.T5Config.emb_dim=32',
  't5.T5Config.num_heads=4',
  't5.T5Config.head_dim=8',
  't5.T5Config.num_encoder_layers=2',
  't5.T5Config.num_decoder_layers=2',
  't5.T5Config.mlp_dim=64',
  "DTYPE='float32'",
  "FROZEN_DTYPE='float32'",
  'IMAGE_SIZE=16',
  'NUM_FRAMES=1',
  'BATCH_SIZE=8',
]
FROM_OPEN_WEIGHTS = {
  'siglip_so400m_flan_t5_xl_align': 'img/head/',
  'siglip_so400m_flan_t5_xl': 'img/',
  'siglip2_gopt_t5_xl_align': 'img/head/',
  'siglip2_gopt_t5_xl': 'img/',
}


@pytest.fixture(autouse=True)
def in_checkout(monkeypatch):
  monkeypatch.chdir(ROOT)
  with launch.isolated_gin():
    yield


def read(recipe, bindings=()):
  launch.parse_gin([recipe], ["MODEL_DIR='unused'", *bindings])
  return plan.recipe()


@pytest.mark.parametrize('path', PIECES)
def test_files_are_short_and_name_their_parts(path):
  lines = (ROOT / path).read_text().splitlines()
  assert len(lines) <= 60 and lines[0].startswith('#')


@pytest.mark.parametrize('recipe', RECIPES)
def test_recipe_resolves_and_its_step_has_a_shape(recipe):
  parsed = read(recipe)
  tx = parsed.make_optimizer()
  built = step.build_train_step(
    parsed.objective,
    tx,
    MeshConfig(fsdp=False).partitioner(),
    8,
    parsed.loop.frozen_dtype,
  )
  state, metrics = jax.eval_shape(
    built.function, built.state, built.batch, built.learning_rates, built.key
  )
  assert metrics['loss'].shape == ()
  assert set(state.trained) == set(tx.trained)
  assert launch.macro('MIXTURE_OR_TASK').name


@pytest.mark.parametrize('recipe', RECIPES)
def test_config_is_resolved_after_being_written(recipe, tmp_path):
  read(recipe)
  runs.write_run(str(tmp_path))
  first = repr(launch.macro('MODEL'))
  with launch.isolated_gin():
    launch.parse_gin([str(tmp_path / 'config.gin')])
    assert repr(launch.macro('MODEL')) == first
  with launch.isolated_gin():
    runs.parse_run(str(tmp_path))
    assert repr(launch.macro('MODEL')) == first
    assert launch.macro('NUM_FRAMES') and launch.macro('IMAGE_SIZE')
    assert gin.query_parameter('%VOCABULARY')
    assert 'OPTIMIZER' not in gin.config_str()


def random_batch(built, vocab=200):
  rng = np.random.default_rng(0)
  batch = {}
  for name, x in built.batch.items():
    if x.dtype == bool:
      batch[name] = np.ones(x.shape, bool)
    elif name == 'frames':
      batch[name] = rng.integers(0, 256, x.shape, np.uint8)
    elif np.issubdtype(x.dtype, np.integer):
      batch[name] = rng.integers(2, vocab, x.shape).astype(x.dtype)
    else:
      batch[name] = np.ones(x.shape, x.dtype)
  return batch


@pytest.mark.parametrize('recipe', CPU_SIZED)
def test_exactly_what_the_schedule_names_moves(recipe):
  assert moves(read(recipe))


@pytest.mark.parametrize(('name', 'prefix'), FROM_OPEN_WEIGHTS.items())
def test_from_open_weights_the_projection_moves_first(name, prefix):
  recipe = f'configs/vidlm/recipes/{name}.gin'
  shrunk = read(recipe, SHRUNK)
  names = shrunk.objective.parameter_names()
  want = {n for n in names if n.startswith(prefix)}
  assert moves(shrunk) == want and 'img/head/kernel' in want
  with launch.isolated_gin():
    assert set(read(recipe).make_optimizer().trained) == want


def moves(parsed):
  """Trains three steps; what moved, which must be what the schedule names.

  On one device, which compiles quicker; eight are the loop's tests' affair.
  """
  tx = parsed.make_optimizer()
  partitioner = MeshConfig(fsdp=False).partitioner(jax.devices()[:1])
  built = step.build_train_step(
    parsed.objective, tx, partitioner, 8, parsed.loop.frozen_dtype
  )
  state = step.initial_state(
    parsed.objective, tx, partitioner, parsed.loop.frozen_dtype, 0, {}
  )
  before = jax.device_get({**state.trained, **state.frozen})
  key = jax.random.key(0)
  with partitioner.activate():
    for number in range(3):
      batch = partitioner.shard_batch(random_batch(built))
      rates = tx.learning_rates(number + 10)
      state, metrics = built.function(state, batch, rates, key)
  assert np.isfinite(float(metrics['loss']))
  after = jax.device_get({**state.trained, **state.frozen})
  moved = {n for n in before if not np.array_equal(before[n], after[n])}
  assert moved == set(tx.trained)
  return moved


@pytest.mark.parametrize(
  'recipe',
  [
    'configs/vidlm/recipes/adapt_visual.gin',
    'configs/vidlm/recipes/adapt_language.gin',
    'configs/vidlm/recipes/paligemma2_3b_224.gin',
    'configs/dualenc/recipes/dualenc_l14.gin',
  ],
)
def test_one_gpu_takes_batches_in_parts(recipe):
  """The step of the whole batch, in parts of an eighth."""
  assert read(recipe).loop.num_microbatches == 1
  with launch.isolated_gin():
    launch.parse_gin(
      [recipe, 'configs/shared/one_h200.gin'], ["MODEL_DIR='unused'"]
    )
    parsed = plan.recipe()
  assert parsed.loop.num_microbatches == 8
  one = parsed.mesh.partitioner(jax.devices()[:1])
  built = step.build_train_step(
    parsed.objective,
    parsed.make_optimizer(),
    one,
    parsed.loop.batch_size,
    parsed.loop.frozen_dtype,
    parsed.loop.num_microbatches,
  )
  state, metrics = jax.eval_shape(
    built.function, built.state, built.batch, built.learning_rates, built.key
  )
  assert metrics['loss'].shape == ()
  same = jax.tree.map(
    lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype), state, built.state
  )
  assert all(jax.tree.leaves(same))


def test_a_config_from_before_microbatches_is_planned(tmp_path):
  read('configs/miniature/visual.gin')
  runs.write_run(str(tmp_path))
  old = (tmp_path / 'config.gin').read_text()
  lines = [x for x in old.splitlines() if 'num_microbatches' not in x.lower()]
  assert len(lines) == len(old.splitlines()) - 2
  (tmp_path / 'config.gin').write_text('\n'.join(lines))
  with launch.isolated_gin():
    launch.parse_gin([str(tmp_path / 'config.gin')])
    assert plan.recipe().loop.num_microbatches is None


def test_stages_freeze_what_the_paper_freezes():
  visual = read('configs/vidlm/recipes/adapt_visual.gin').make_optimizer()
  assert {name.split('/')[0] for name in visual.trained} == {'img'}
  assert 'img/head/kernel' in visual.trained  # the projection is F_V's
  with launch.isolated_gin():
    language = read('configs/vidlm/recipes/adapt_language.gin')
  assert {n.split('/')[0] for n in language.make_optimizer().trained} == {'llm'}


def test_optimizers_are_the_papers():
  assert isinstance(
    read('configs/vidlm/recipes/adapt_visual.gin').optimizer, optim.Adafactor
  )
