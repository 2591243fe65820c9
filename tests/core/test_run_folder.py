"""A folder that holds another run: refused with what differs, or kept."""

import pathlib

import gin
import pytest

from vidlm.core import launch, run_folder, runs

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLD = ROOT / 'tests/testdata/runs_49c9bdf'
RECIPE = 'configs/miniature/language.gin'


@pytest.fixture(autouse=True)
def in_checkout(monkeypatch):
  monkeypatch.chdir(ROOT)
  with launch.isolated_gin():
    yield


def parse(*bindings, recipe=RECIPE, **macros):
  gin.clear_config()
  given = [*bindings, *(f'{name}={value!r}' for name, value in macros.items())]
  launch.parse_gin([recipe], given)


@pytest.fixture
def folder(tmp_path):
  """A run of a language recipe, at step 300."""
  vocabulary = tmp_path / 'v.model'
  vocabulary.write_bytes(b'pieces')
  run = tmp_path / 'run'
  parse(MODEL_DIR=str(run), VOCABULARY_PATH=str(vocabulary))
  runs.write_run(str(run), data=['a: 12 examples, 0f'])
  (run / 'checkpoint_300/state').mkdir(parents=True)
  return run


def refused(folder, data=('a: 12 examples, 0f',)):
  """What differs, or '' if the run goes on."""
  before = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
  try:
    run_folder.Run(str(folder), data).check([100, 300])
    said = ''
  except ValueError as error:
    said = str(error)
  after = {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}
  assert before == after, 'something was written before it was known'
  return said


@pytest.mark.parametrize(
  'binding',
  [
    'TRAIN_STEPS=5000',
    'CHECKPOINT_PERIOD=7',
    'LOG_PERIOD=7',
    'EVAL_PERIOD=7',
    'EVAL_STEPS=3',
    "TRAIN_EVAL='val'",
    "INFER_EVAL='val'",
    "KEEP_BEST='loss'",
    'train_script.CheckpointConfig.keep=9',
    'train_script.MeshConfig.model=2',
    'train_script.MeshConfig.fsdp=True',
    'PEAK_FLOPS=1e12',
    'NUM_MICROBATCHES=2',
    'tasks.FrameOptions.cache_mib=0',
    "t5.T5Config.remat_policy='nothing_saveable'",
    "DATA_DIR='elsewhere'",  # its content is compared
    "MODEL_DIR='elsewhere'",
    'optim.AdamW.eps=1e-8',  # the default, now said
    'train_script.train.lr_mults=None',
    'optim.warmup_rsqrt.peak=3.0',  # nothing of the run reads it
  ],
)
def test_what_may_change_goes_on(folder, binding):
  path = folder.parent / 'v.model'
  parse(binding, VOCABULARY_PATH=str(path))
  assert refused(folder) == ''


@pytest.mark.parametrize(
  ('binding', 'said'),
  [
    ('BATCH_SIZE=16', 'BATCH_SIZE: 32 -> 16'),
    ('RANDOM_SEED=1', 'RANDOM_SEED: 0 -> 1'),
    (
      "TASK_FEATURE_LENGTHS={'inputs': 28, 'targets': 30}",
      'TASK_FEATURE_LENGTHS.targets: 24 -> 30',
    ),
    ('NUM_FRAMES=4', 'NUM_FRAMES: 8 -> 4'),
    ("DTYPE='bfloat16'", "DTYPE: 'float32' -> 'bfloat16'"),
    ("FROZEN_DTYPE='bfloat16'", "FROZEN_DTYPE: 'float32' -> 'bfloat16'"),
    ('AUGMENT=True', 'AUGMENT: False -> True'),
    ('optim.AdamW.b2=0.99', 'OPTIMIZER.b2: 0.95 -> 0.99'),
    ('optim.AdamW.eps=1e-6', 'OPTIMIZER.eps: 1e-08 -> 1e-06'),
    ('GRAD_CLIP_NORM=1.0', 'GRAD_CLIP_NORM: None -> 1.0'),
    ('optim.warmup_cosine.peak=2e-3', 'SCHEDULE[1][1].peak: 0.001 -> 0.002'),
    ('optim.warmup_cosine.total_steps=9', "'%TRAIN_STEPS' -> 9"),
    ('SCHEDULE=[(".*", @optim.warmup_cosine())]', 'SCHEDULE: '),
    ("short/tasks.ClipTask.clips='web'", "clips: 'short_captions' -> 'web'"),
    ("short/tasks.ClipTask.prompt='Say:'", "prompt: '' -> 'Say:'"),
    ('short/tasks.ClipTask.limit=3', 'limit: None -> 3'),
    ('MIXTURE_OR_TASK=@short/tasks.ClipTask()', 'MIXTURE_OR_TASK: ClipMixture'),
    ('vocabulary.Vocabulary.extra_ids=100', 'VOCABULARY.extra_ids: 0 -> 100'),
    ('t5.T5Config.emb_dim=64', 'emb_dim: 96 -> 64'),
    ("INITIAL_CHECKPOINT_PATH='runs/x'", 'INITIAL_CHECKPOINT_PATH: None ->'),
    ('train_script.train.lr_mults=[("img/.*", 0.1)]', 'lr_mults: None ->'),
  ],
)
def test_what_changes_the_meaning_is_refused(folder, binding, said):
  path = folder.parent / 'v.model'
  parse(binding, VOCABULARY_PATH=str(path))
  message = refused(folder)
  assert message.startswith(f'MODEL_DIR={folder} holds another run (')
  assert said in message and message.count(' -> ') == 1, message
  assert '--allow=changed_config' in message and 'another MODEL_DIR' in message
  run_folder.Run(str(folder), allow_changed=True).check([300])


def test_a_folder_without_a_checkpoint_is_free(folder):
  parse(BATCH_SIZE=16)
  run_folder.Run(str(folder)).check([])


def test_many_differences_are_five_and_a_count(folder):
  parse(
    VOCABULARY_PATH=str(folder.parent / 'v.model'),
    BATCH_SIZE=16,
    RANDOM_SEED=2,
    NUM_FRAMES=2,
    IMAGE_SIZE=48,
    DTYPE='bfloat16',
    FROZEN_DTYPE='bfloat16',
    DROPOUT_RATE=0.5,
  )
  message = refused(folder)
  assert message.count(' -> ') == 5 and 'more), at step 300' in message
  assert len(message) < 1000


def test_other_data_under_the_same_name_is_refused(folder):
  parse(VOCABULARY_PATH=str(folder.parent / 'v.model'))
  said = refused(folder, ['a: 13 examples, 0f'])
  assert 'data: a: 12 examples, 0f -> a: 13 examples, 0f' in said
  assert refused(folder, ()) == ''  # of seqio: nobody knows


def test_another_vocabulary_is_refused_by_its_content(folder):
  other = folder.parent / 'other.model'
  other.write_bytes(b'pieces')
  parse(VOCABULARY_PATH=str(other))
  assert refused(folder) == ''
  other.write_bytes(b'other pieces')
  assert 'vocabulary: ' in refused(folder)


def test_older_checkpoints_keep_their_vocabulary_and_model(folder):
  other = folder.parent / 'other.model'
  other.write_bytes(b'other pieces')
  model_dir = str(folder)
  config = (folder / 'config.gin').read_text()
  parse(VOCABULARY_PATH=str(other), NUM_FRAMES=4)
  runs.write_run(model_dir, step=300)
  (folder / 'checkpoint_400/state').mkdir(parents=True)
  third = folder.parent / 'third.model'
  third.write_bytes(b'third pieces')
  parse(VOCABULARY_PATH=str(third), NUM_FRAMES=2)
  runs.write_run(model_dir, step=400)
  for where, pieces, frames in (
    ('checkpoint_300', b'pieces', 8),
    ('checkpoint_300/state', b'pieces', 8),
    ('checkpoint_100', b'pieces', 8),  # a newer one is set aside
    ('checkpoint_400', b'other pieces', 4),
    ('checkpoint_500', b'third pieces', 2),
    ('', b'third pieces', 2),
  ):
    gin.clear_config()
    (folder / where).mkdir(parents=True, exist_ok=True)
    runs.parse_run(f'{folder}/{where}')
    path = pathlib.Path(launch.macro('VOCABULARY_PATH'))
    assert path.read_bytes() == pieces, where
    assert launch.macro('NUM_FRAMES') == frames
  assert (folder / 'config_0.gin').read_text() == config
  kept = {p.name for p in folder.glob('config_*.gin')}
  assert kept == {'config_0.gin', 'config_300.gin', 'config_400.gin'}
  # Now the third is this run's.
  parse(VOCABULARY_PATH=str(third), NUM_FRAMES=2)
  assert refused(folder, ()) == ''
  parse(VOCABULARY_PATH=str(other), NUM_FRAMES=2)
  assert 'is not the vocabulary_400.model' in refused(folder, ())


def test_the_same_configuration_is_kept_once(folder):
  for step in (300, 300, 400):
    parse(MODEL_DIR=str(folder), VOCABULARY_PATH=str(folder.parent / 'v.model'))
    runs.write_run(str(folder), step=step, data=['a: 12 examples, 0f'])
  assert [p.name for p in folder.glob('config_*.gin')] == ['config_0.gin']
  for steps in (7, 8, 7):
    parse(TRAIN_STEPS=steps, VOCABULARY_PATH=str(folder.parent / 'v.model'))
    runs.write_run(str(folder), step=400)
  assert sorted(p.name for p in folder.glob('config_*.gin')) == [
    'config_0.gin',
    'config_400.2.gin',
    'config_400.3.gin',
    'config_400.gin',
  ]
  assert not list(folder.glob('model_until_*'))
  assert sorted(p.name for p in folder.glob('vocabulary*')) == [
    'vocabulary.model'
  ]


@pytest.mark.parametrize('name', ['vlm', 'dualenc'])
def test_a_run_of_then_is_the_same_run_today(name):
  recipe = str(OLD / f'recipes/{name}.gin')
  parse(recipe=recipe, VOCABULARY_PATH=str(OLD / 'data/vocabulary.model'))
  run_folder.Run(str(OLD / name)).check([60])
  parse(recipe=recipe, BATCH_SIZE=16)
  with pytest.raises(ValueError, match='BATCH_SIZE: 8 -> 16'):
    run_folder.Run(str(OLD / name)).check([60])


def test_a_damaged_config_is_one_line(folder):
  (folder / 'config.gin').write_text('MODEL = [')
  parse()
  assert 'config.gin cannot be read' in refused(folder)
