"""What a run leaves behind, and reading it from another place."""

import gin
import pytest

from vidlm.core import launch, runs


@pytest.fixture(autouse=True)
def clean_gin():
  with launch.isolated_gin():
    yield


@pytest.fixture
def config(tmp_path, monkeypatch):
  """Binds a vocabulary by a path that holds in this folder only."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / 'data').mkdir()
  (tmp_path / 'data/v.model').write_bytes(b'pieces')
  file = tmp_path / 'recipe.gin'
  file.write_text(
    'from __gin__ import dynamic_registration\n'
    'from vidlm.data.feed import vocabulary\n'
    "VOCABULARY_PATH = 'data/v.model'\n"
    'VOCABULARY = @vocabulary.Vocabulary()\n'
    'vocabulary.Vocabulary.path = %VOCABULARY_PATH\n'
    'BATCH_SIZE = 3\n'
  )
  launch.parse_gin([str(file)], ['BATCH_SIZE=7'])
  return file


def test_a_written_configuration_parses_to_the_same(config, tmp_path):
  before = gin.config_str()
  runs.write_run(str(tmp_path / 'run'))
  gin.clear_config()
  launch.parse_gin([str(tmp_path / 'run/config.gin')])
  assert launch.macro('BATCH_SIZE') == 7
  assert gin.config_str() == before


@pytest.mark.parametrize('name', ['model.gin', 'config.gin'])
def test_a_run_is_read_by_either_file(config, tmp_path, name):
  runs.write_run(str(tmp_path / 'run'))
  for other in {'model.gin', 'config.gin'} - {name}:
    (tmp_path / 'run' / other).unlink()
  gin.clear_config()
  runs.parse_run(str(tmp_path / 'run'))
  path = str(tmp_path / 'run/vocabulary.model')
  assert launch.macro('VOCABULARY').path == path
  with pytest.raises(ValueError, match='BATCH_SIZE is not defined'):
    launch.macro('BATCH_SIZE')  # of training


def test_a_vocabulary_that_is_no_file_keeps_its_path(config, tmp_path):
  (tmp_path / 'data/v.model').unlink()
  runs.write_run(str(tmp_path / 'run'))
  assert "VOCABULARY_PATH = 'data/v.model'" in (
    (tmp_path / 'run/model.gin').read_text()
  )


def test_a_run_that_was_moved_keeps_its_vocabulary(
  config, tmp_path, monkeypatch
):
  runs.write_run(str(tmp_path / 'run'))
  (tmp_path / 'elsewhere').mkdir()
  moved = (tmp_path / 'run').rename(tmp_path / 'elsewhere/run')
  (tmp_path / 'data/v.model').unlink()
  monkeypatch.chdir(tmp_path / 'elsewhere')
  gin.clear_config()
  runs.parse_run(str(moved))
  assert launch.macro('VOCABULARY_PATH') == str(moved / 'vocabulary.model')
  assert (moved / 'vocabulary.model').read_bytes() == b'pieces'


def test_a_converted_folder_of_then_is_read(tmp_path):
  """`convert` wrote a recipe with an include, as the config.gin."""
  (tmp_path / 'config.gin').write_text(
    'from __gin__ import dynamic_registration\n'
    'from vidlm.data import vocabulary\n'
    "include 'configs/miniature/vlm.gin'\n"
    "vocabulary.Vocabulary.prompt_format = 'paligemma'\nNUM_FRAMES = 3\n"
  )
  (tmp_path / 'vocabulary.model').touch()
  runs.parse_run(str(tmp_path))
  assert launch.macro('MODEL').num_frames == 3
  assert launch.macro('VOCABULARY').prompt_format == 'paligemma'
  text = runs.read_model(str(tmp_path))
  assert "VOCABULARY_PATH = 'vocabulary.model'" in text
  assert 'include' not in text and 'optim' not in text


def test_what_trained_a_run_may_be_gone(tmp_path):
  (tmp_path / 'config.gin').write_text(
    'from __gin__ import dynamic_registration\n'
    'from nowhere import optimizer\n'
    'from vidlm.nn import t5\n'
    'MODEL = @t5.T5Config()\nt5.T5Config.emb_dim = 8\n'
    'OPTIMIZER = @optimizer.New()\noptimizer.New.rate = 1\n'
  )
  runs.parse_run(str(tmp_path))
  assert launch.macro('MODEL').emb_dim == 8


def test_a_damaged_file_is_one_line(tmp_path):
  for text in ('MODEL = [', 'MODEL == 3', 'MODEL = @nothing.Model()\n'):
    (tmp_path / 'config.gin').write_text(text)
    with pytest.raises(ValueError, match=r'config\.gin'):
      runs.parse_run(str(tmp_path))


def test_a_run_is_found_from_a_checkpoint(tmp_path):
  (tmp_path / 'checkpoint_3' / 'state').mkdir(parents=True)
  path = str(tmp_path / 'checkpoint_3' / 'state')
  for name in ('config.gin', 'model.gin'):  # the second wins
    (tmp_path / name).write_text('')
    assert runs.find(path) == str(tmp_path / name)
  with pytest.raises(FileNotFoundError, match='MODEL_DIR'):
    runs.find('/')


@pytest.mark.parametrize(
  'prompts',
  [
    {
      'caption': ['Describe:'],
      'question': ['Answer: {question}', '{question}'],
    },
    {'caption': ['It said: "a\\b", \'c\'\n%MACRO @x ' * 9, '⁇ é']},
  ],
)
def test_prompts_are_remembered_where_the_model_is(config, tmp_path, prompts):
  runs.write_run(str(tmp_path / 'run'), prompts)
  (tmp_path / 'run/checkpoint_3/state').mkdir(parents=True)
  assert 'PROMPTS' not in (tmp_path / 'run/config.gin').read_text()
  for path in ('run', 'run/checkpoint_3', 'run/checkpoint_3/state'):
    assert runs.prompts_of(str(tmp_path / path)) == prompts
  gin.clear_config()
  runs.parse_run(str(tmp_path / 'run'))
  assert runs.prompts() == prompts
  # They go along when the model is written elsewhere.
  text = (tmp_path / 'run/model.gin').read_text()
  (tmp_path / 'other').mkdir()
  (tmp_path / 'other/model.gin').write_text(runs.made_of(text))
  assert runs.prompts_of(str(tmp_path / 'other')) == prompts


def test_a_run_without_prompts_has_none(config, tmp_path):
  runs.write_run(str(tmp_path / 'run'))
  assert runs.prompts_of(str(tmp_path / 'run')) == runs.prompts() == {}
  assert runs.prompts_of(str(tmp_path / 'nowhere')) == {}
  (tmp_path / 'run/model.gin').write_text('no gin = =')
  assert runs.prompts_of(str(tmp_path / 'run')) == {}
