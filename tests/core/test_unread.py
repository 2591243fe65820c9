"""A binding that nothing reads is an error with the nearest name."""

import pathlib
import random

import gin
import pytest

from vidlm import train
from vidlm.commands import caption, instruct, prepare
from vidlm.core import gin_meaning, launch, unread

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAD = (
  'from __gin__ import dynamic_registration\n'
  'from vidlm.training import optim\n'
  'from vidlm.data.feed import batches\n'
  'from vidlm.data.feed import tasks\n'
)
VISUAL = "include 'configs/miniature/visual.gin'\n"
RECIPES = sorted(
  str(path.relative_to(ROOT))
  for folder in ('vidlm/recipes', 'dualenc/recipes', 'miniature', 'real_pixels')
  for path in (ROOT / 'configs' / folder).glob('*.gin')
  if path.parts[-2:] != ('miniature', 'vlm.gin')  # a model, the others' base
)


@pytest.fixture(autouse=True)
def in_checkout(monkeypatch):
  monkeypatch.chdir(ROOT)
  with launch.isolated_gin():
    yield


def refused(files, *bindings):
  """What is said of a command line, '' if nothing."""
  gin.clear_config()
  record = launch.parse_gin(list(map(str, files)), ["MODEL_DIR='x'", *bindings])
  try:
    train.check_bindings(record)
  except ValueError as error:
    return str(error)
  return ''


def write(path, text, head=HEAD + VISUAL):
  path.write_text(head + text)
  return path


@pytest.mark.parametrize('recipe', RECIPES)
def test_shipped_recipes_are_clean(recipe, monkeypatch, caplog):
  monkeypatch.setattr(launch, 'is_ours', lambda name: False)
  assert refused([recipe]) == '' and not caplog.text


@pytest.mark.parametrize(
  'recipe', ['miniature/self_train', 'vidlm/recipes/paligemma2_tiny']
)
def test_a_config_that_was_written_is_clean(recipe, tmp_path, caplog):
  assert refused([f'configs/{recipe}.gin']) == ''
  (tmp_path / 'config.gin').write_text(gin.config_str())
  assert refused([tmp_path / 'config.gin']) == '' and not caplog.text
  text = gin.config_str() + 'BATCHSIZE = 3\n'
  (tmp_path / 'config.gin').write_text(text)
  assert refused([tmp_path / 'config.gin']) == ''
  assert 'BATCHSIZE: nothing reads this macro; did you mean BATCH_SIZE?' in (
    caplog.text
  )


@pytest.mark.parametrize(
  ('text', 'said'),
  [
    (
      'BATCHSIZE = 4',
      'BATCHSIZE: nothing reads this macro; did you mean BATCH',
    ),
    ('TRAIN_STEP = 4', 'did you mean TRAIN_STEPS?'),
    ('STEPS = 4', 'did you mean EVAL_STEPS or TRAIN_STEPS?'),
    ('batch_size = 4', 'did you mean BATCH_SIZE?'),
    ('Learning_rate = 1e-3', 'Learning_rate: nothing reads this macro'),
    ('VOCABULARY_PTH = "x"', 'did you mean VOCABULARY_PATH?'),
    (
      'optim.warmup_rsqrt.peak = 1e-3',
      'nothing here uses optim.warmup_rsqrt; did you mean optim.warmup_cosine?',
    ),
    ('optim.warmup_linear.peak = 1.', 'did you mean optim.warmup_cosine?'),
    ('optim.Adafactor.decay_rate = 0.9', 'nothing here uses '),
    ('shrt/tasks.ClipTask.limit = 3', 'did you mean short/tasks.ClipTask?'),
    (
      'img/optim.warmup_cosine.peak = 3.',
      'nothing uses optim.warmup_cosine in ',
    ),
    (
      'train_evl/batches.DatasetConfig.batch_size = 8',
      'did you mean train_eval/batches.DatasetConfig?',
    ),
    (
      'tasks.ClipTask.clips = "mine"',
      'short/tasks.ClipTask.clips is bound too, and wins',
    ),
    (
      'batches.DatasetConfig.batch_size = %BATCHSIZE',
      '%BATCHSIZE: no gin file defines this macro; did you mean BATCH_SIZE?',
    ),
    (
      'MIXTURE_OR_TASK = @shorts/tasks.ClipTask()\n'
      'short/tasks.ClipTask.limit = 3',
      'nothing uses tasks.ClipTask in scope short; did you mean shorts/tasks',
    ),
  ],
)
def test_what_nothing_reads_is_named(tmp_path, text, said):
  path = write(tmp_path / 'mine.gin', text)
  message = refused([path])
  assert said in message, message
  if not said.startswith('%'):
    line = len((HEAD + VISUAL).splitlines()) + len(text.splitlines())
    assert f'{path}:{line}: ' in message
  assert '\n' not in message


@pytest.mark.parametrize(
  ('binding', 'said'),
  [
    (
      'trian_eval/batches.DatasetConfig.batch_size=8',
      'did you mean train_eval/',
    ),
    ('shrot/tasks.ClipTask.limit=3', 'did you mean short/tasks.ClipTask?'),
    ('optim.warmup_rsqrt.peak=1e-3', 'did you mean optim.warmup_cosine?'),
    ("tasks.ClipTask.clips='mine'", 'short/tasks.ClipTask.clips is bound too'),
  ],
)
def test_a_flag_that_nothing_reads_is_named(binding, said):
  message = refused(['configs/miniature/visual.gin'], binding)
  assert message.startswith(f'--gin.{binding.split("=")[0]}: ')
  assert said in message


def test_a_flag_that_a_recipe_bound_past_is_named():
  recipe = 'configs/dualenc/recipes/dualenc_l14_both.gin'
  assert refused([recipe]) == ''
  message = refused([recipe], "CAPTIONS='mine'")
  assert '--gin.CAPTIONS: nothing reads this macro' in message


@pytest.mark.parametrize(
  'bindings',
  [
    ['optim.warmup_cosine.peak=3.0', 'TRAIN_STEPS=3'],
    ['train.lr_mults=[("img/.*", 0.1)]'],
    ['train_eval/batches.DatasetConfig.batch_size=16'],
    ['tasks.FrameOptions.cache_mib=0'],
    ['FrameOptions.cache_mib=0'],
    ['short/tasks.ClipTask.limit=3'],
    ["infer_eval.TextScores.task='smit_captions'"],
    ['SCHEDULE/optim.warmup_cosine.peak=3.0'],  # a macro is a scope
  ],
)
def test_flags_that_are_read_pass(bindings):
  assert refused(['configs/miniature/visual.gin'], *bindings) == ''


CAPTION = (
  'from __gin__ import dynamic_registration\n'
  'from vidlm.captions import folder\n'
  'from vidlm.data.video import sampling\n'
)


@pytest.mark.parametrize(
  ('text', 'bindings', 'said'),
  [
    ('sampling.Sampling.fps = 4.0\nfolder.Cutting.videos_per_file = 6', [], ''),
    ('', ['NUM_FRAMES=4'], '--gin.NUM_FRAMES: '),
    ('FPS = 4.0', [], 'mine.gin:4: FPS: nothing reads this macro'),
    ('FPS = 4.0\nsampling.Sampling.fps = %FPS', [], ''),
    (
      'clip/sampling.Sampling.fps = 4.0',
      [],
      'in scope clip; did you mean samp',
    ),
    (
      'from vidlm.data.prepare import pipeline\npipeline.Work.workers = 3',
      [],
      'nothing here uses pipeline.Work',
    ),
  ],
)
def test_other_commands_refuse_it_too(tmp_path, text, bindings, said):
  (tmp_path / 'mine.gin').write_text(CAPTION + text + '\n')
  files = [str(tmp_path / 'mine.gin')] if text else []
  record = launch.parse_gin(files, bindings)
  if not said:
    unread.check(record, caption._BOUND)
    return
  with pytest.raises(ValueError, match=said):
    unread.check(record, caption._BOUND)


@pytest.mark.parametrize('command', [caption, prepare, instruct])
def test_what_a_command_binds_is_there(command):
  for name in command._BOUND:
    assert gin_meaning._object(name) is not None, name


def test_what_a_later_file_replaced_was_no_mistake(tmp_path):
  base = write(tmp_path / 'base.gin', 'optim.AdamW.b2 = 0.9\n')
  head = HEAD + f"include '{base}'\n"
  mine = write(tmp_path / 'mine.gin', 'OPTIMIZER = @optim.Sgd()\n', head)
  assert refused([mine]) == ''
  # A piece that means something with others only.
  stage = write(
    tmp_path / 'stage.gin',
    "SCHEDULE = [('.*', @optim.warmup_linear())]\n"
    'optim.warmup_linear.peak = 1e-3\n'
    'optim.warmup_linear.warmup_steps = 1\n'
    'optim.warmup_linear.total_steps = %TRAIN_STEPS\n',
    HEAD,
  )
  assert refused([base, stage]) == ''
  assert refused([stage, base]) == ''  # the second undoes the first


def test_a_binding_that_an_include_undoes_is_said(tmp_path, caplog):
  path = tmp_path / 'mine.gin'
  path.write_text(HEAD + 'TRAIN_STEPS = 7\n' + VISUAL)
  assert refused([path]) == ''
  assert f'{path}:5: TRAIN_STEPS is undone by the include in line 6' in (
    caplog.text
  )


def test_what_a_program_may_call_by_itself_is_a_warning(
  tmp_path, monkeypatch, caplog
):
  monkeypatch.syspath_prepend(tmp_path)
  (tmp_path / 'my_own.py').write_text(
    'import gin\n@gin.configurable\ndef cook(time=1):\n  return time\n'
  )
  path = tmp_path / 'mine.gin'
  path.write_text(HEAD + 'import my_own\n' + VISUAL + 'my_own.cook.time = 3\n')
  assert refused([path]) == ''
  assert 'unless the program calls it by itself' in caplog.text


def misspelt():
  """Macros with a letter dropped, replaced or doubled, at random places."""
  rng = random.Random(0)
  names = ['TRAIN_STEPS', 'BATCH_SIZE', 'CHECKPOINT_PERIOD', 'RANDOM_SEED']
  for name in names:
    for at in rng.sample(range(1, len(name)), 4):
      for letters in ('', 'Q', name[at] * 2):
        yield name, name[:at] + letters + name[at + 1 :]


def test_any_misspelt_macro_is_refused_with_the_right_one(tmp_path):
  for name, wrong in misspelt():
    path = write(tmp_path / 'mine.gin', f'{wrong} = 3\n')
    assert f'{wrong}: nothing reads this macro; did you mean {name}?' in (
      refused([path])
    )
