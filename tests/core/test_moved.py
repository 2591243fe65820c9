"""Old names of modules: the table, Python's imports, gin's texts."""

import importlib
import pathlib
import subprocess
import sys

import pytest

from vidlm.core import gin_text, launch, moved, old_gin, old_imports

ROOT = pathlib.Path(__file__).resolve().parents[2]
OLD = ROOT / 'tests/testdata/runs_49c9bdf'
# What README, docs and notebooks of 49c9bdf told people to import.
TOLD = {
  'vidlm.data.captions': ['read_captions'],
  'vidlm.data.gallery': ['Row', 'table'],
  'vidlm.data.clip_frames': ['open_frames'],
  'vidlm.captions.browse': ['read', 'select', 'open_frames', 'gallery_rows'],
  'vidlm.captions.statistics': ['overview', 'frequent', 'repeated'],
  'dualenc.search': ['index_clips'],
  'dualenc.eval': ['load_towers', 'evaluate'],
}
# Old modules whose names are packages now, and something that was in them.
PACKAGES = {
  'vidlm.data.feed': 'DatasetConfig',
  'vidlm.data.video': 'decode_clip',
  'vidlm.data.prepare': 'prepare_folder',
  'vidlm.miniature.world': 'Scene',
}


@pytest.fixture(autouse=True)
def clean_gin():
  with launch.isolated_gin():
    yield


@pytest.mark.parametrize('old', moved.MODULES)
def test_a_row_leads_from_a_file_that_is_gone_to_one_that_is_there(old):
  assert not (ROOT / old.replace('.', '/')).with_suffix('.py').exists()
  new = moved.MODULES[old]
  assert new not in moved.MODULES
  assert (ROOT / new.replace('.', '/')).with_suffix('.py').exists()


def test_every_module_of_then_is_there_or_has_a_row():
  for old in (OLD / 'modules.txt').read_text().split():
    path = ROOT / old.replace('.', '/')
    there = path.with_suffix('.py').exists() or path.is_dir()
    assert there or old in moved.MODULES, f'{old} has moved: add a row'


# Of seqio's view the file is enough here: TensorFlow takes seconds, if it is
# there at all.
@pytest.mark.parametrize(
  'new', sorted({x for x in moved.MODULES.values() if '.seqio_' not in x})
)
def test_a_new_module_can_be_imported(new):
  if 'seqio' in new:
    pytest.importorskip('seqio')
  assert importlib.import_module(new).__name__ == new


@pytest.mark.parametrize('new', moved.OBJECTS.values())
def test_a_moved_object_is_there(new):
  module, _, name = new.rpartition('.')
  assert hasattr(importlib.import_module(module), name)


def imported(statement):
  """Runs an import in a new process; what is imported, and the warnings."""
  code = (
    'import warnings\n'
    'with warnings.catch_warnings(record=True) as said:\n'
    '  warnings.simplefilter("always")\n'
    f'  {statement}\n'
    'said = [x for x in said if x.category is FutureWarning]\n'
    'for x in said: print(x.filename, x.message)\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
  )
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


@pytest.mark.parametrize('old', TOLD)
def test_what_people_were_told_to_import_works_and_warns(old):
  parent, _, name = old.rpartition('.')
  lines = imported(
    f'from {parent} import {name} as x; '
    + '; '.join(f'x.{attribute}' for attribute in TOLD[old])
  )
  new = moved.MODULES.get(old)
  assert lines == (
    [f'<string> {old} is {new} now; the old name goes with the next version']
    if new
    else []
  )


def test_an_old_name_is_the_very_module():
  import vidlm.data
  from vidlm.data.store import caption_sets

  spec = caption_sets.__spec__
  with pytest.warns(FutureWarning, match='store.caption_sets now'):
    old = importlib.import_module('vidlm.data.captions')
  assert old is caption_sets is vidlm.data.captions
  assert old.__name__ == 'vidlm.data.store.caption_sets' == old.__spec__.name
  assert old.__spec__ is spec
  del sys.modules['vidlm.data.captions'], vidlm.data.captions


@pytest.mark.parametrize('package', PACKAGES)
def test_a_package_gives_what_the_module_of_its_name_had(package):
  module = importlib.import_module(package)
  new = importlib.import_module(moved.MODULES[package])
  name = PACKAGES[package]
  message = f'{package}.{name} is {new.__name__}.{name} now'
  with pytest.warns(FutureWarning, match=message):
    assert getattr(module, name) is getattr(new, name)
  lines = set(imported(f'from {package} import {name}'))
  assert [line.partition(';')[0] for line in lines] == [f'<string> {message}']
  with pytest.raises(AttributeError, match="no attribute 'nothing'"):
    _ = module.nothing


def test_a_package_finds_its_own_modules_first():
  """Without a word, and without importing what the old name stands for."""
  code = (
    'import sys, warnings; warnings.simplefilter("error"); '
    'from vidlm.data.feed import order; '
    'assert "vidlm.data.feed.batches" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True, cwd=ROOT)


def test_what_is_not_there_is_not_there():
  with pytest.raises(ModuleNotFoundError, match=r'vidlm\.data\.nothing'):
    importlib.import_module('vidlm.data.nothing')
  old_imports.install()
  names = [type(finder).__name__ for finder in sys.meta_path]
  assert names.count('_Finder') == 1


# gin


HEAD = 'from __gin__ import dynamic_registration\n'


@pytest.mark.parametrize(
  ('old', 'new'),
  [
    ('from vidlm.data import tasks', 'from vidlm.data.feed import tasks'),
    (
      'from vidlm.data import feed  # ours',
      'from vidlm.data.feed import batches as feed  # ours',
    ),
    (
      'from vidlm.data import feed as f\nf.DatasetConfig.seed = 1',
      'from vidlm.data.feed import batches as f\nf.DatasetConfig.seed = 1',
    ),
    (
      'import vidlm.data.captions as c',
      'from vidlm.data.store import caption_sets as c',
    ),
    (
      "import vidlm.data.tasks\na/vidlm.data.tasks.ClipTask.name = 'x'\n"
      "X = @a/vidlm.data.tasks.ClipTask()\nY = 'vidlm.data.tasks'",
      'import vidlm.data.feed.tasks\n'
      "a/vidlm.data.feed.tasks.ClipTask.name = 'x'\n"
      "X = @a/vidlm.data.feed.tasks.ClipTask()\nY = 'vidlm.data.tasks'",
    ),
  ],
)
def test_an_import_keeps_its_local_name(old, new):
  assert old_gin.current(HEAD + old) == HEAD + new
  assert old_gin.current(HEAD + new) == HEAD + new


@pytest.mark.parametrize(
  'text',
  [
    'from vidlm.data import feed\nX = @feed.batches.DatasetConfig()\n',
    'from vidlm.data import feed\na/feed.tasks.ClipTask.limit = 3\n',
    'from vidlm.data.feed import batches\n',
    'from mylab.data import captions\n',
    'from vidlm.data import captioning\n',
    "X = 'from vidlm.data import captions'\n",
    'X = [',
  ],
)
def test_other_names_stay(text):
  assert old_gin.current(HEAD + text) == HEAD + text


@pytest.mark.parametrize('recipe', ['vlm', 'dualenc'])
def test_a_users_recipe_of_then_parses_as_before(recipe, monkeypatch):
  monkeypatch.chdir(OLD)
  launch.parse_gin([f'recipes/{recipe}.gin'], ["MODEL_DIR='x'"])
  task = launch.macro('MIXTURE_OR_TASK')
  assert type(task).__module__ == 'vidlm.data.feed.tasks'
  assert (task.clips, task.data_dir) == ('clips', 'data')


def test_a_binding_by_the_old_name_of_a_module_is_taken(monkeypatch):
  """As on the command line: its prefix is any end of the module's name."""
  monkeypatch.chdir(OLD)
  bindings = ["MODEL_DIR='x'", 'feed.DatasetConfig.seed=5', 'TRAIN_STEPS=9']
  launch.parse_gin(['recipes/vlm.gin'], bindings)
  from vidlm.data.feed import batches

  assert launch.bound(batches.DatasetConfig)().seed == 5
  launch.parse_gin([], ['data.tasks.FrameOptions.cache_mib=0'])
  assert launch.bound(batches.DatasetConfig)().frames.cache_mib == 0


def test_moved_objects_and_renamed_arguments(monkeypatch):
  monkeypatch.setitem(
    moved.OBJECTS,
    'vidlm.data.feed.tasks.Frames',
    'vidlm.data.feed.pixels.FrameOptions',
  )
  monkeypatch.setitem(
    moved.ARGUMENTS, 'vidlm.data.feed.pixels.FrameOptions.size', 'image_size'
  )
  monkeypatch.setitem(
    moved.ARGUMENTS, 'vidlm.data.feed.pixels.FrameOptions.gone', ''
  )
  old = (
    "from vidlm.data import tasks\ninclude 'a.gin'\nX = [@tasks.Frames(), %Y]\n"
    'tasks.Frames:\n  size = 3\n  augment = False\n  gone = 4\n'
  )
  text = gin_text.parse(old_gin.current(HEAD + old))
  new = 'vidlm.data.feed.pixels.FrameOptions'
  assert list(map(str, text.statements)) == [
    "include 'a.gin'",
    f'X = [@{new}(), %Y]',
    f'{new}.image_size = 3',
    f'{new}.augment = False',
    f'{new}.gone = 4',
  ]
  assert str(old_gin.without_gone(text).statements[-1]).endswith('= False')


def test_unknown_arguments_are_found():
  text = old_gin.current((OLD / 'dropped/config.gin').read_text())
  text += 'train_script.nothing.x = 1\n'
  assert old_gin.unknown_arguments(gin_text.parse(text)) == [
    'train_script.nothing.x',
    'train_script.train.summary_period',
  ]
