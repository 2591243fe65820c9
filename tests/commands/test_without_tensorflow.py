"""No command asks for TensorFlow or seqio, installed or not."""

import os
import subprocess
import sys

import pytest

# Runs a program in a process that can't import some packages, and writes down
# who imports one, in vain or with a way out. Looking for one is allowed.
PROGRAM = """
import importlib.machinery, runpy, sys, traceback
asked, packages, program, *flags = sys.argv[1:]

class Absent:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in packages.split(','):
      return importlib.machinery.ModuleSpec(name, self)

  def create_module(self, spec):
    with open(asked, 'a') as file:
      file.write(''.join(traceback.format_stack()))
    raise ModuleNotFoundError(f'No module named {spec.name!r}', name=spec.name)

  def exec_module(self, module):
    pass

sys.meta_path.insert(0, Absent())
sys.argv = [program, *flags]
runpy.run_module(program, run_name='__main__')
"""
TENSORFLOW = ('tensorflow', 'tensorflow_text', 'seqio')
BOTH = (*TENSORFLOW, 'tensorflow_datasets')


@pytest.fixture(scope='module')
def call_without(commands, tmp_path_factory):
  """Runs a command without some packages, which it must not ask for."""

  def run(packages, program, flags):
    asked = tmp_path_factory.mktemp('asked') / 'by'
    done = subprocess.run(
      [
        *(sys.executable, '-c', PROGRAM, str(asked), ','.join(packages)),
        *(program, *map(str, flags)),
      ],
      capture_output=True,
      text=True,
      timeout=400,
      env={
        **os.environ,
        'XLA_FLAGS': '--xla_force_host_platform_device_count=2',
        'JAX_COMPILATION_CACHE_DIR': str(commands.folder / 'compiled'),
      },
    )
    assert not asked.exists(), asked.read_text()
    assert done.returncode == 0, done.stderr[-3000:]

  return run


@pytest.fixture(scope='module')
def runs(call_without, commands, tmp_path_factory):
  """MODEL_DIRs of `vidlm train` and `dualenc train`."""
  folder = tmp_path_factory.mktemp('without')
  for program, recipe in (('vidlm', 'visual'), ('dualenc', 'dualenc')):
    flags = commands.train_flags(recipe, folder / program, TRAIN_STEPS=2)
    call_without((*BOTH, 'torch'), program, flags)
  return folder


def test_training(runs, tools) -> None:
  assert set(tools.metrics(runs / 'vidlm')) == {1, 2}
  assert set(tools.metrics(runs / 'dualenc')) == {1, 2}


def test_captions(call_without, data, runs, tmp_path) -> None:
  flags = (
    f'--checkpoint={runs / "vidlm"}',
    f'--clip_dataset={data / "test_captioning"}',
    '--split=test',
    f'--output={tmp_path / "captions"}',
    '--num_samples=1',
    '--max_length=4',
    '--clips_per_device=2',
    '--workers=1',
  )
  call_without(BOTH, 'vidlm', ['caption', *flags])


def test_scores(call_without, data, runs) -> None:
  flags = [f'--checkpoint={runs / "vidlm"}', '--max_length=4']
  clips = f'--clip_dataset={data / "test_captioning"}'
  call_without(BOTH, 'vidlm', ['eval', *flags, clips])
  flags = [f'--checkpoint={runs / "dualenc"}']
  clips = f'--clip_dataset={data / "test_retrieval"}'
  call_without(BOTH, 'dualenc', ['eval', *flags, clips])


def test_clip_sets(call_without, data, tmp_path) -> None:
  """TFDS writes what a set says of itself; it lives without TensorFlow."""
  flags = [
    'folder',
    f'--videos={data / "videos" / "web_clips"}',
    f'--output={tmp_path / "clips"}',
    '--workers=1',
  ]
  call_without(TENSORFLOW, 'vidlm', ['prepare', *flags])
