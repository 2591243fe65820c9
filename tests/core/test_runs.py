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
  file.write_text("VOCABULARY_PATH = 'data/v.model'\nBATCH_SIZE = 3\n")
  launch.parse_gin([str(file)], ['BATCH_SIZE=7'])
  return file


def test_a_written_run_parses_to_the_same(config, tmp_path):
  runs.write_run(str(tmp_path / 'run'))
  gin.clear_config()
  runs.parse_run(str(tmp_path / 'run'))
  assert launch.macro('BATCH_SIZE') == 7


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


def test_config_is_found_from_a_checkpoint(tmp_path):
  (tmp_path / 'checkpoint_3' / 'state').mkdir(parents=True)
  (tmp_path / 'config.gin').write_text('')
  path = str(tmp_path / 'checkpoint_3' / 'state')
  assert runs.run_config(path) == str(tmp_path / 'config.gin')
  with pytest.raises(FileNotFoundError, match='MODEL_DIR'):
    runs.run_config('/')
