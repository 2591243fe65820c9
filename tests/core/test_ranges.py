"""Numbers out of range end in a line, where the object is made."""

import dataclasses
import inspect
import math
import pathlib
import typing

import gin
import numpy as np
import pytest

from dualenc.models import two_towers
from vidlm import train
from vidlm.core import launch, ranges
from vidlm.data.feed import batches, frame_cache, tasks, vocabulary
from vidlm.models import objective, video_vlm
from vidlm.nn import gemma_config, t5_config
from vidlm.training import checks, optim, recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Numbers that may be any.
FREE = {
  'TwoTowers.bias_init',
  'ViTST.mean',
  'ViTST.std',
  # Checked where it meets the batch and the devices.
  'train.num_microbatches',
}
# Arguments of `train` are those of a Loop, or checked there.
OF_TRAIN = {field.name for field in dataclasses.fields(recipe.Loop)} | {
  'random_seed',
  'eval_steps',
  'trial_steps',
  'skip_steps',
  'lr_mults',
  'wd_mults',
}
LENGTHS = {'inputs': 8, 'targets': 8}
MADE = [
  (train.MeshConfig, {}),
  (train.CheckpointConfig, {}),
  (recipe.Loop, {'train_steps': 1, 'batch_size': 1}),
  (
    batches.DatasetConfig,
    {'mixture_or_task': 'x', 'task_feature_lengths': LENGTHS, 'batch_size': 1},
  ),
  (frame_cache.FrameOptions, {}),
  (tasks.ClipTask, {'name': 'x', 'vocabulary': None}),
  (vocabulary.Vocabulary, {'path': 'x'}),
  (optim.Adafactor, {}),
  (optim.AdamW, {}),
  (optim.Sgd, {}),
  (t5_config.T5Config, {}),
  (gemma_config.GemmaConfig, {}),
  (video_vlm.VideoVLM, {}),
  (objective.VLMObjective, {'model': video_vlm.VideoVLM()}),
  (two_towers.TwoTowers, {}),
  (two_towers.vit_st.ViTST, {}),
  (two_towers.text_lib.TextTransformer, {}),
  (optim.constant, {'value': 1.0}),
  (optim.warmup_rsqrt, {}),
  (optim.warmup_cosine, {'peak': 1.0, 'warmup_steps': 1, 'total_steps': 2}),
  (optim.warmup_linear, {'peak': 1.0, 'warmup_steps': 1, 'total_steps': 2}),
]


def found_range(hint):
  """The range somewhere in a type, and whether of whole numbers."""
  for x in getattr(hint, '__metadata__', ()):
    if isinstance(x, ranges.Range):
      return x, typing.get_args(hint)[0] is int
  for part in typing.get_args(hint):
    if found := found_range(part):
      return found
  return None


FIELDS = [
  (maker, arguments, name, hint)
  for maker, arguments in MADE
  for name, hint in ranges._hints(maker).items()
]


@pytest.mark.parametrize(
  ('maker', 'arguments', 'name', 'hint'),
  FIELDS,
  ids=[f'{maker.__name__}.{name}' for maker, _, name, _ in FIELDS],
)
def test_a_number_beyond_its_range_is_one_line(maker, arguments, name, hint):
  found, whole = found_range(hint)
  mapping = 'Mapping' in str(hint)
  low, high = found.low, found.high
  wrong = [low - 1]
  if not found.low_is_in:
    wrong.append(low)
  if high is not None:
    wrong.append(high + 1 if found.high_is_in else high)
  if not whole:
    wrong = [*map(float, wrong), math.nan, math.inf]
  for value in wrong:
    given = {**LENGTHS, 'targets': value} if mapping else value
    with pytest.raises(ValueError, match='need ') as error:
      maker(**{**arguments, name: given})
    said = str(error.value)
    assert said.count('\n') == 0 and f'{value!r}: need ' in said


class Handed:
  """As gin hands it over; types of ours are checked while tests run."""

  steps: ranges.Size
  rate: ranges.Factor | None

  def __init__(self, steps, rate):
    self.steps, self.rate = steps, rate


@pytest.mark.parametrize(
  ('steps', 'rate', 'said'),
  [
    ('abc', 1.0, "Handed.steps='abc': need a whole number, at least 1"),
    (1.5, 1.0, 'Handed.steps=1.5: need a whole number'),
    (True, 1.0, 'Handed.steps=True: need a whole number'),
    (None, 1.0, 'Handed.steps=None: need a whole number'),
    (1, '1', "Handed.rate='1': need a number, at least 0"),
    (1, [1.0], r'Handed.rate=\[1.0\]: need a number'),
    (1, math.nan, 'Handed.rate=nan: need at least 0'),
  ],
)
def test_another_kind_than_a_number_is_one_line(steps, rate, said):
  with pytest.raises(ValueError, match=f'^{said}'):
    ranges.check(Handed(steps, rate))


def test_numbers_of_numpy_are_numbers():
  ranges.check(Handed(np.int64(3), np.float32(0.5)))
  ranges.check(Handed(3, None))
  ranges.check(Handed(3, 1))


def test_what_is_in_range_passes():
  for maker, arguments in MADE:
    maker(**arguments)
  train.MeshConfig(data=-1)
  train.CheckpointConfig(keep=None)
  assert recipe.Loop(train_steps=1, batch_size=1, eval_period=0).seed == 0
  optim.Adafactor(clipping_threshold=None, momentum=None)
  optim.constant(0.0)


@pytest.mark.parametrize(
  ('maker', 'arguments', 'said'),
  [
    (train.CheckpointConfig, {'keep': 0}, 'CheckpointConfig.keep=0: need at'),
    (
      train.CheckpointConfig,
      {'period': 0},
      'CHECKPOINT_PERIOD=0: need at least',
    ),
    (optim.Adafactor, {'clipping_threshold': 0.0}, 'need more than 0'),
    (
      recipe.Loop,
      {'train_steps': 1, 'batch_size': 1, 'grad_clip_norm': 0.0},
      'GRAD_CLIP_NORM=0.0: need more than 0',
    ),
    (
      recipe.Loop,
      {'train_steps': 1, 'batch_size': 1, 'seed': -1},
      'RANDOM_SEED=-1: need at least 0 and at most 4294967295',
    ),
    (
      tasks.ClipTask,
      {'name': 'x', 'vocabulary': None, 'limit': -3},
      'limit=-3: need a whole number of clips, at least 1',
    ),
    (
      frame_cache.FrameOptions,
      {'image_size': 0},
      'IMAGE_SIZE=0: need at least',
    ),
    (
      train.MeshConfig,
      {'data': 0},
      'MeshConfig.data=0: need at least 1, or -1',
    ),
  ],
)
def test_a_message_names_what_the_user_wrote(maker, arguments, said):
  with pytest.raises(ValueError) as error:
    maker(**arguments)
  assert said in str(error.value)


def numbers_of(maker):
  """Names of arguments that are numbers by their type."""
  signature = inspect.signature(maker)
  for name, parameter in signature.parameters.items():
    hint = parameter.annotation
    kinds = {int, float} & {hint, *typing.get_args(hint)}
    if kinds or found_range(hint):
      yield name, bool(found_range(hint))


def test_every_number_that_a_shipped_recipe_binds_has_a_range(monkeypatch):
  monkeypatch.chdir(ROOT)
  seen, without = set(), []
  for path in sorted((ROOT / 'configs').glob('*/**/*.gin')):
    with launch.isolated_gin():
      launch.parse_gin([str(path)])
      for selector in {selector for _, selector in gin.config._CONFIG}:
        made = gin.config._REGISTRY[selector].wrapped
        if made in seen or not made.__module__.startswith(('vidlm', 'dualenc')):
          continue
        seen.add(made)
        for name, has in numbers_of(made):
          full = f'{made.__name__}.{name}'
          of_train = made.__name__ == 'train' and name in OF_TRAIN
          if not (has or of_train or full in FREE):
            without.append(full)
  assert len(seen) > 15 and not without


def test_a_run_of_numbers_that_do_not_go_together():
  rate = [('img/.*', optim.warmup_rsqrt(1e-4, 1000)), ('.*', None)]
  checks.check_warmup(rate, 1000, 100, ())
  with pytest.raises(ValueError, match=r'takes 1000 steps'):
    checks.check_warmup(rate, 999, 100, ())
  with pytest.raises(ValueError, match='--allow=unfinished_warmup'):
    checks.check_warmup(rate, 30, 0, ())
  checks.check_warmup(rate, 30, 100, ())  # a trial is warned
  checks.check_warmup(rate, 30, 0, ('unfinished_warmup',))
  checks.check_warmup([('.*', lambda step: 1.0)], 1, 0, ())  # one's own


def test_a_batch_larger_than_the_set(tmp_path, caplog):
  checks.check_set(8, 8, str(tmp_path), ())
  with pytest.raises(ValueError, match='BATCH_SIZE=8: there are 7 examples'):
    checks.check_set(8, 7, str(tmp_path), ())
  checks.check_set(8, 7, str(tmp_path), ('small_set',))
  (tmp_path / 'checkpoint_3/state').mkdir(parents=True)
  caplog.clear()
  checks.check_set(8, 7, str(tmp_path), ())  # what has begun goes on
  assert 'more than once' in caplog.text
