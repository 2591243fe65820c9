"""`vidlm train`: mistakes are one line, and change nothing."""

import argparse
import shutil

import pytest

from vidlm.commands import train as train_command
from vidlm.core import folder_lock


@pytest.fixture
def run(call, commands, capsys):
  """Runs `vidlm train` with macros; the status and the last line."""

  def train(model_dir, *more, **macros):
    capsys.readouterr()
    flags = [*commands.train_flags('visual', model_dir, **macros), *more]
    code = call('vidlm', flags)
    errors = capsys.readouterr().err.splitlines()
    assert not any('Traceback' in line for line in errors)
    return code, errors[-1]

  return train


@pytest.mark.parametrize(
  ('macros', 'message'),
  [
    ({'TRAIN_STEPS': "'abc'"}, "--gin.TRAIN_STEPS='abc': need a number"),
    ({'TRAIN_STEPS': 0}, 'TRAIN_STEPS=0: need at least 1'),
    ({'LOG_PERIOD': 0}, 'LOG_PERIOD=0: need at least 1'),
    ({'NUM_MICROBATCHES': 0}, 'NUM_MICROBATCHES=0: need a whole number'),
    ({'NUM_MICROBATCHES': 2}, 'BATCH_SIZE=8 over 8 devices along "data"'),
    ({'CHECKPOINT_PERIOD': -1}, 'CHECKPOINT_PERIOD=-1: need at least 1'),
    ({'FROZEN_DTYPE': "'bf16'"}, "FROZEN_DTYPE='bf16': no such type"),
    ({'DTYPE': "'bf16'"}, "DTYPE='bf16': no such type"),
    ({'MODEL_DIR': "''"}, "MODEL_DIR='': need the name of a folder"),
  ],
)
def test_a_mistake_is_one_line(run, tmp_path, macros, message):
  code, line = run(tmp_path / 'run', **macros)
  assert code == 2 and line.startswith('error: ') and message in line
  assert not (tmp_path / 'run').exists()


def test_a_folder_that_can_not_be_made_is_named(run, tmp_path):
  (tmp_path / 'file').touch()
  code, line = run(tmp_path / 'file', TRAIN_STEPS=2)
  assert code == 2 and f'MODEL_DIR={tmp_path / "file"}: File exists' in line


def test_a_refused_run_leaves_the_description_of_the_other(run, trained):
  config = trained['vidlm'] / 'config.gin'
  before = config.read_bytes()
  other = {'t5.T5Config.mlp_dim': 48, 'TRAIN_STEPS': 40}
  code, line = run(trained['vidlm'], **other)
  assert code == 2 and 'choose another MODEL_DIR' in line
  assert config.read_bytes() == before


def files_of(folder):
  """All files but the lock, with their bytes."""
  return {
    path.relative_to(folder): path.read_bytes()
    for path in folder.rglob('*')
    if path.is_file() and path.name != '.lock'
  }


def test_another_run_is_refused_before_anything_is_written(run, trained):
  before = files_of(trained['vidlm'])
  code, line = run(trained['vidlm'], BATCH_SIZE=16, TRAIN_STEPS=40)
  assert code == 2 and 'holds another run (BATCH_SIZE: 8 -> 16)' in line
  # Also where there is nothing to train.
  code, line = run(trained['vidlm'], RANDOM_SEED=3, TRAIN_STEPS=30)
  assert code == 2 and 'RANDOM_SEED: 0 -> 3' in line
  # The same one that trains nothing writes nothing.
  code, line = run(trained['vidlm'], TRAIN_STEPS=30)
  assert code == 0 and 'nothing to do' in line
  assert files_of(trained['vidlm']) == before


def test_another_run_goes_on_if_it_may(run, trained, tmp_path):
  folder = tmp_path / 'run'
  shutil.copytree(trained['vidlm'], folder)
  config = (folder / 'config.gin').read_text()
  macros = {'BATCH_SIZE': 16, 'TRAIN_STEPS': 32}
  assert run(folder, **macros)[0] == 2
  code, line = run(folder, '--allow=changed_config', **macros)
  assert code == 0, line
  assert (folder / 'config_0.gin').read_text() == config
  now = (folder / 'config_30.gin').read_text()
  assert now == (folder / 'config.gin').read_text() != config
  assert 'BATCH_SIZE = 16' in now and '# Trained on ' in now


def test_the_second_of_two_at_once_is_refused(run, tmp_path):
  folder = tmp_path / 'run'
  with folder_lock.held(str(folder), 'MODEL_DIR'):
    code, line = run(folder, TRAIN_STEPS=2)
  assert code == 2 and 'another run is at work there (process ' in line
  assert [path.name for path in folder.iterdir()] == ['.lock']


def test_microbatches_train_as_the_whole_batch_does(run, tmp_path, tools):
  logs = []
  for parts in (1, 2):
    folder = tmp_path / str(parts)
    macros = {'BATCH_SIZE': 16, 'TRAIN_STEPS': 2, 'NUM_MICROBATCHES': parts}
    assert run(folder, **macros)[0] == 0
    logs.append(tools.metrics(folder))
    config = (folder / 'config.gin').read_text()
    assert f'NUM_MICROBATCHES = {parts}' in config
  for step, want in logs[0].items():
    for name in ('loss', 'accuracy', 'target_tokens', 'grad_norm'):
      assert logs[1][step][name] == pytest.approx(want[name], rel=1e-4), name


@pytest.mark.parametrize(
  ('text', 'wanted'),
  [('6', (6,)), ('6,9-12', (6, 9, 10, 11, 12)), (' 1 - 2 ,4', (1, 2, 4))],
)
def test_steps_to_leave_out_are_read(text, wanted):
  assert train_command.steps(text) == wanted


@pytest.mark.parametrize('text', ['', '0', 'a', '3-2', '1,', '-1', '1.5', '2-'])
def test_steps_that_are_none_are_refused(text):
  with pytest.raises(argparse.ArgumentTypeError, match='such as 6'):
    train_command.steps(text)
