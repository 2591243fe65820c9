"""gin on the command line: macros, errors, the written configuration."""

import json
import pathlib
import subprocess
import sys
import time

import pytest

from vidlm.core import launch
from vidlm.training import preemption

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
    'from vidlm.data.feed import tasks\n'
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


@pytest.mark.parametrize(
  ('recipe_has', 'given', 'wanted'),
  [
    ('4', "'abc'", 'need a number, such as 4'),
    ('1e-3', '[1]', 'need a number, such as 0.001'),
    ('True', '1', 'need True or False, such as True'),
    ("[('.*', None)]", '3', 'need a list'),
    ("'a/b'", '3', "need a text in quotes or a dictionary, such as 'a/b'"),
  ],
)
def test_a_value_of_another_kind_is_refused(
  recipe, tmp_path, recipe_has, given, wanted
):
  (tmp_path / 'more.gin').write_text(f'VALUE = {recipe_has}\n')
  files = [recipe, str(tmp_path / 'more.gin')]
  with pytest.raises(ValueError) as error:
    launch.parse_gin(files, [f'VALUE={given}'])
  assert str(error.value).startswith('--gin.VALUE=')
  assert wanted in str(error.value)


@pytest.mark.parametrize(
  ('recipe_has', 'given'),
  [
    ('4', '4.5'),  # whether a number has to be whole is for its user to say
    ('True', 'False'),
    ("'a'", "{'img': 'a', 'llm': 'b'}"),
    ("'a'", 'None'),
    ('None', "'a'"),
    ('[1]', '(2, 3)'),
    ('3', '%BATCH_SIZE'),
    ('@tasks.FrameOptions()', "'by_name'"),
  ],
)
def test_values_that_may_stand_for_each_other(
  recipe, tmp_path, recipe_has, given
):
  text = 'from __gin__ import dynamic_registration\n'
  text += 'from vidlm.data.feed import tasks\n'
  (tmp_path / 'more.gin').write_text(f'{text}VALUE = {recipe_has}\n')
  launch.parse_gin([recipe, str(tmp_path / 'more.gin')], [f'VALUE={given}'])


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
  assert f'{preemption.EXIT_CODE} after SIGTERM' in text
  assert f'multiple of {preemption.PERIOD})' in text


UNNAMED = {
  'OPTIMIZER=@optim.Sgd()': 'add --gin_file=configs/shared/sgd.gin, which',
  'optim.Sgd.momentum=0.5': 'add --gin_file=configs/shared/sgd.gin, which',
  'optim.Adafactor.decay_rate=0.5': '--gin_file=configs/shared/adafactor.gin',
  'OPTIMIZER=@optim.SGD()': (
    'did you mean optim.Sgd? If so, add --gin_file=configs/shared/sgd.gin'
  ),
  "SCHEDULE=[('.*', @optim.constant())]": (
    '`from vidlm.training import optim` and binds something to @optim.constant'
  ),
  'x/optim.Sgd.momentum=0.5': 'no gin file that was given names optim.Sgd;',
  'gemma.GemmaConfig.emb_dim=8': 'add --gin_file=configs/vidlm/models/so400m',
  "PSEUDO_CLIPS='x'": 'configs/miniature/visual_self.gin does: --gin_file=',
  'EMBED_DIM=8': '; configs/dualenc/models/clip_b16.gin does: --gin_file=',
  'kitchen.Sink.size=3': 'no gin file that was given names kitchen.Sink',
}
_SAY = """
import json, sys
from vidlm.core import launch
said = {}
for binding in json.loads(sys.argv[1]):
  with launch.isolated_gin():
    try:
      launch.parse_gin(['configs/miniature/visual.gin'], [binding])
    except ValueError as error:
      said[binding] = str(error)
print(json.dumps(said))
"""


def test_what_no_file_names_says_which_file_to_add():
  # In a process of its own: gin forgets nothing that it was ever told of.
  out = subprocess.run(
    [sys.executable, '-c', _SAY, json.dumps(list(UNNAMED))],
    capture_output=True,
    text=True,
    check=True,
    cwd=ROOT,
  )
  messages = json.loads(out.stdout)
  for binding, said in UNNAMED.items():
    assert said in messages[binding], messages[binding]


def test_the_file_that_is_advised_helps(monkeypatch):
  monkeypatch.chdir(ROOT)
  files = ['configs/miniature/visual.gin', 'configs/shared/sgd.gin']
  launch.parse_gin(files, ['optim.Sgd.momentum=0.5'])
  assert launch.macro('OPTIMIZER').momentum == 0.5
