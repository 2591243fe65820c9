"""Every shipped gin parses and resolves; its real step has a shape; the
CPU-sized ones train a step, and exactly what SCHEDULE names moves."""

import pathlib

import jax
import numpy as np
import pytest

from vidlm import plan_run
from vidlm.core import launch, optim, runs, step
from vidlm.train import MeshConfig

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


@pytest.fixture(autouse=True)
def in_checkout(monkeypatch):
  monkeypatch.chdir(ROOT)
  with launch.isolated_gin():
    yield


def read(recipe):
  launch.parse_gin([recipe], ["MODEL_DIR='unused'"])
  return plan_run.recipe()


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
    parsed.frozen_dtype,
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
  parsed = read(recipe)
  tx = parsed.make_optimizer()
  partitioner = MeshConfig(fsdp=False).partitioner()
  built = step.build_train_step(
    parsed.objective, tx, partitioner, 8, parsed.frozen_dtype
  )
  state = step.initial_state(
    parsed.objective, tx, partitioner, parsed.frozen_dtype, 0, {}
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
