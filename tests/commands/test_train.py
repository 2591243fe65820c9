"""`vidlm train`: mistakes are one line, and change nothing."""

import argparse

import pytest

from vidlm.commands import train as train_command


@pytest.fixture
def run(call, commands, capsys):
  """Runs `vidlm train` with macros; the status and the last line."""

  def train(model_dir, **macros):
    capsys.readouterr()
    flags = commands.train_flags('visual', model_dir, **macros)
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
