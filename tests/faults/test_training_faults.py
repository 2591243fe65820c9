"""What may happen to a run that trains: kills, damage, full and gone disks."""

import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import toy_training as toy

from vidlm.training import loop, preemption

TOY = str(pathlib.Path(toy.__file__))
STEPS = 8  # checkpoints at 3, 6 and 8


def lines(model_dir):
  path = pathlib.Path(model_dir) / 'metrics.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()]


def losses(model_dir):
  rows = lines(model_dir)
  steps = [row['step'] for row in rows]
  assert steps == sorted(set(steps)), 'a step stands there twice'
  return {row['step']: row['loss'] for row in rows}


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
  """Losses of a run that nothing disturbs."""
  model_dir = tmp_path_factory.mktemp('undisturbed')
  toy.train(model_dir)
  return losses(model_dir)


def checkpoints_of(model_dir):
  return sorted(p.name for p in pathlib.Path(model_dir).glob('checkpoint_?'))


@pytest.fixture
def watched(python, tmp_path):
  """Runs the toy; `what` happens at a moment of its MODEL_DIR."""

  def run(folder, what):
    return python(
      'faults/at_moments.py',
      tmp_path / folder,
      what,
      TOY,
      tmp_path / folder,
      f'--train_steps={STEPS}',
    )

  return run


@pytest.fixture
def moments(watched, tmp_path):
  """What a run goes through on its disk."""
  path = tmp_path / 'moments.txt'
  assert watched('counted', f'count:{path}').returncode == 0
  return path.read_text().splitlines()


def test_03_kill_while_a_checkpoint_is_saved(watched, undisturbed, tmp_path):
  """Just before the second checkpoint gets its name: the first counts."""
  folder = tmp_path / 'killed'
  done = watched(folder.name, r'kill_at:os.rename \S+/checkpoint_6\.\S*tmp ')
  assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]
  assert list(folder.glob('checkpoint_6*tmp*'))
  toy.train(folder, train_steps=STEPS)
  assert losses(folder) == undisturbed
  assert checkpoints_of(folder) == ['checkpoint_6', 'checkpoint_8']
  assert not list(folder.glob('*tmp*')) and not list(folder.glob('damaged*'))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_03_kill_at_many_moments_of_saving(
  moments, watched, undisturbed, tmp_path
):
  """At moments of Python's, and some ms later, in the midst of native code."""
  rng = random.Random(3)
  saving = [i for i, m in enumerate(moments, 1) if 'checkpoint_' in m]
  for number in range(20):
    moment = str(rng.choice(saving))
    if number % 2:
      moment += f':{rng.randrange(1, 40)}'
    folder = tmp_path / f'killed{number}'
    done = watched(folder.name, f'kill:{moment}')
    assert done.returncode in (0, -signal.SIGKILL), done.stderr[-2000:]
    toy.train(folder, train_steps=STEPS)
    assert losses(folder) == undisturbed, moment
    assert not list(folder.glob('*tmp*')), moment
    shutil.rmtree(folder)


def largest(folder):
  files = [p for p in (folder / 'state').rglob('*') if p.is_file()]
  return max(files, key=lambda path: path.stat().st_size)


@pytest.mark.parametrize('damage', ['cut', 'flip'])
def test_04_damaged_newest_checkpoint(tmp_path, undisturbed, damage, caplog):
  toy.train(tmp_path)
  path = largest(tmp_path / 'checkpoint_8')
  data = bytearray(path.read_bytes())
  data[len(data) // 3] ^= 0x10
  path.write_bytes(data[: len(data) // 2] if damage == 'cut' else data)
  caplog.set_level('WARNING', 'absl')
  toy.train(tmp_path)  # goes on from 6
  assert 'checkpoint_8 is damaged' in caplog.text
  assert losses(tmp_path) == undisturbed
  assert checkpoints_of(tmp_path) == ['checkpoint_6', 'checkpoint_8']
  assert (tmp_path / 'damaged_checkpoint_8').is_dir()


def test_05_the_last_save_fails(watched, tmp_path):
  """The disk goes when nothing but `close` is left to be done."""
  done = watched('run', r'fail:os.rename \S+/checkpoint_8\.')
  assert done.returncode not in (0, preemption.EXIT_CODE)
  assert 'the disk is gone' in done.stderr
  assert 'checkpoint_8' not in checkpoints_of(tmp_path / 'run')


@pytest.mark.parametrize(
  'step',
  [1, 4, *(pytest.param(s, marks=pytest.mark.slow) for s in (2, 3, 5, 6, 7))],
)
def test_06_resume_at_any_step(tmp_path, undisturbed, step):
  with pytest.raises(OSError, match='disk gone'):
    toy.train(tmp_path, feed=toy.Feed(fail_at=step))
  toy.train(tmp_path)
  assert losses(tmp_path) == undisturbed


def test_07_other_processes_go_on_in_the_same_order(module, tmp_path_factory):
  """Steps 0 to 2 on one process, 3 and 4 on two, 5 on four."""
  feed = module('data/feed/test_batches.py')
  folder = feed.folder._get_wrapped_function()(tmp_path_factory)
  config = feed.config(folder, 'faults')
  whole = feed.feed.take(feed.feed.make_feed(config, 6), 6)
  for step in range(6):
    number = (1, 1, 1, 2, 2, 4)[step]
    parts = [
      next(feed.feed.make_feed(config, 6, index, number)(step))
      for index in range(number)
    ]
    for name, value in whole[step].items():
      joined = np.concatenate([part[name] for part in parts])
      np.testing.assert_array_equal(joined, value)


def test_08_sigterm(tmp_path):
  process = subprocess.Popen(
    [*_toy_command(tmp_path), '--pause=0.02', '--train_steps=4000'],
    stderr=subprocess.PIPE,
    text=True,
  )
  path = tmp_path / 'metrics.jsonl'
  until = time.monotonic() + 120
  while not (path.exists() and len(path.read_text().splitlines()) > 6):
    assert process.poll() is None and time.monotonic() < until
    time.sleep(0.02)
  process.send_signal(signal.SIGTERM)
  began = time.monotonic()
  _, errors = process.communicate(timeout=60)
  assert process.returncode == preemption.EXIT_CODE == 143, errors
  assert time.monotonic() - began < 30  # what Kubernetes and Slurm grant
  newest = max(int(p.name.split('_')[1]) for p in tmp_path.glob('checkpoint_*'))
  assert newest == lines(tmp_path)[-1]['step']


def _toy_command(model_dir):
  root = pathlib.Path(TOY).parents[2]
  code = (
    f'import sys, runpy; sys.path[:0] = [{str(root)!r}]; '
    f'runpy.run_path({TOY!r}, run_name="__main__")'
  )
  return [sys.executable, '-c', code, str(model_dir)]


@pytest.mark.parametrize(
  'limit', [300, pytest.param(900, marks=pytest.mark.slow)]
)
def test_09_full_disk_while_training(python, tmp_path, undisturbed, limit):
  """First the log, then a checkpoint is what no room is left for."""
  run = tmp_path / 'run'
  done = python(
    'training/toy_training.py',
    run,
    f'--train_steps={STEPS}',
    f'--limit_file_size={limit}',
  )
  assert done.returncode not in (0, preemption.EXIT_CODE)
  assert re.search('File too large|no room', done.stderr), done.stderr[-2000:]
  assert checkpoints_of(run) == []
  toy.train(run)
  assert losses(run) == undisturbed


def test_10_the_model_folder_vanishes(tmp_path, undisturbed):
  """Not made anew where a mount has gone: the run would be in two places."""
  run = tmp_path / 'run'

  class Feed(toy.Feed):
    def __call__(self, start_step):
      for step, batch in enumerate(super().__call__(start_step), start_step):
        if step == 4:
          shutil.rmtree(run)
        yield batch

  with pytest.raises(ValueError, match=r'run: .*gone'):
    toy.train(run, feed=Feed())
  assert not run.exists()


@pytest.mark.parametrize('value', [1e4, np.inf])
def test_18_what_is_not_finite_is_never_saved(tmp_path, value):
  class Feed(toy.Feed):
    def __call__(self, start_step):
      for step, batch in enumerate(super().__call__(start_step), start_step):
        if step == 5:
          batch['x'][0, 0] = value
        yield batch

  objective = toy.ToyObjective(explode_above=1e3)
  with pytest.raises(loop.NonFiniteError, match='step 6'):
    toy.train(tmp_path, feed=Feed(), objective=objective)
  assert checkpoints_of(tmp_path) == ['checkpoint_3']
  state = toy.train(tmp_path, objective=objective)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.trained))
