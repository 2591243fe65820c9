"""gin on the command line: macros, errors, the written configuration."""

import pathlib
import subprocess
import sys
import time

import pytest

from vidlm.core import launch, loop

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def clean_gin():
  with launch.isolated_gin():
    yield


@pytest.fixture
def recipe(tmp_path):
  path = tmp_path / 'recipe.gin'
  path.write_text(
    'from __gin__ import dynamic_registration\n'
    'from vidlm.data import tasks\n'
    'BATCH_SIZE = 4\n'
    'FRAMES = @tasks.FrameOptions()\n'
    'tasks.FrameOptions.num_frames = %BATCH_SIZE\n'
  )
  return str(path)


def test_flags_are_split_from_bindings():
  rest, bindings = launch.split_gin_flags(
    ['train', '--gin_file=a.gin', "--gin.MODEL_DIR='x=y'", '--gin.N=3']
  )
  assert rest == ['train', '--gin_file=a.gin']
  assert bindings == ["MODEL_DIR='x=y'", 'N=3']


def test_a_binding_reaches_the_object(recipe):
  launch.parse_gin([recipe], ['BATCH_SIZE=7'])
  assert launch.macro('BATCH_SIZE') == 7
  assert launch.macro('FRAMES').num_frames == 7


def test_an_unknown_macro_suggests_the_nearest(recipe):
  with pytest.raises(ValueError, match='did you mean BATCH_SIZE'):
    launch.parse_gin([recipe], ['BATCHSIZE=3'])


@pytest.mark.parametrize('value', ['runs/a', '/tmp/a', 'abc', '', '[1,'])
def test_a_malformed_value_is_named(recipe, value):
  with pytest.raises(ValueError, match='quoted twice') as error:
    launch.parse_gin([recipe], ['BATCH_SIZE=8', f'BATCH_SIZE={value}'])
  assert str(error.value).startswith(f'--gin.BATCH_SIZE={value}: not a value')


def test_a_macro_without_a_value_is_named(recipe):
  launch.parse_gin([recipe])
  launch.require_values()
  launch.parse_gin([recipe], ['BATCH_SIZE=%gin.REQUIRED'])
  with pytest.raises(ValueError, match=r'^BATCH_SIZE: needs a value'):
    launch.require_values()


def test_a_missing_file_names_the_folders():
  with pytest.raises(ValueError, match='not found in'):
    launch.parse_gin(['nowhere.gin'])


def test_shipped_recipes_are_found_from_anywhere(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  # As an editable installation does: then `configs` is a package to Python.
  monkeypatch.syspath_prepend(ROOT)
  launch.parse_gin(['configs/miniature/visual.gin'])
  assert launch.macro('NUM_FRAMES') == 8


@pytest.mark.parametrize('program', ['vidlm', 'dualenc'])
def test_help_needs_no_tensorflow(program):
  code = (
    'import sys; sys.argv = [sys.argv[1], "--help"]\n'
    f'from {program}.cli import main\n'
    'try: main()\n'
    'except SystemExit as e: assert not e.code\n'
    'assert "tensorflow" not in sys.modules and "jax" not in sys.modules\n'
  )
  start = time.monotonic()
  out = subprocess.run(
    [sys.executable, '-c', code, program],
    capture_output=True,
    text=True,
    check=True,
  )
  print(f'{time.monotonic() - start:.2f} s')  # shown, never decides
  assert 'train' in out.stdout and 'plan' in out.stdout


def test_a_mistake_is_one_line():
  out = subprocess.run(
    [sys.executable, '-m', 'vidlm', 'train'], capture_output=True, text=True
  )
  assert out.returncode == 2
  assert out.stderr.strip().splitlines()[-1].startswith('error: train: give')


@pytest.mark.parametrize('program', ['vidlm', 'dualenc'])
def test_help_says_how_training_ends(program):
  out = subprocess.run(
    [sys.executable, '-m', program, 'train', '--help'],
    capture_output=True,
    text=True,
    check=True,
  )
  text = ' '.join(out.stdout.split())
  assert f'{loop.PREEMPTED_EXIT_CODE} after SIGTERM' in text
  assert f'multiple of {loop.PREEMPTION_PERIOD})' in text
