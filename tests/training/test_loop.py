"""The loop: resume, faults, freezing, sharding, one compilation."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import toy_training as toy

from vidlm.core import partitioning, trees
from vidlm.training import loop, optim, preemption, scoring, step


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
  model_dir = tmp_path_factory.mktemp('undisturbed')
  return toy.train(model_dir), losses(model_dir)


def assert_same_state(a, b):
  for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
    np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


def test_metrics_of_a_run(tmp_path):
  toy.train(
    tmp_path,
    peak_flops=1e9,
    train_steps=4,
    eval_period=2,
    evaluation=scoring.Evaluation({'eval': toy.Count()}),
  )
  last = lines(tmp_path)[-1]
  assert last['step'] == 4 and last['eval/count'] == 2
  assert last['lr/llm'] == pytest.approx(1e-2)
  assert last['lr/img'] == pytest.approx(1e-2)
  for name in (
    'grad_norm',
    'update_norm',
    'mean',
    'examples_per_second',
    'model_flops_per_second',
    'mfu',
  ):
    assert np.isfinite(last[name]), name
  assert len(losses(tmp_path)) == 4
  assert any(p.name.startswith('events.') for p in tmp_path.iterdir())


@pytest.mark.parametrize('fail_at', [2, 5, 7])
def test_resume_after_an_exception_is_exact(tmp_path, undisturbed, fail_at):
  with pytest.raises(OSError, match='disk gone'):
    toy.train(tmp_path, feed=toy.Feed(fail_at=fail_at))
  state = toy.train(tmp_path)
  assert losses(tmp_path) == undisturbed[1]
  assert_same_state(state, undisturbed[0])


def start(model_dir, *flags):
  program = pathlib.Path(toy.__file__)
  return subprocess.Popen(
    [sys.executable, str(program), str(model_dir), *flags],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
    env={**os.environ, 'PYTHONPATH': str(program.parents[2])},
  )


def wait_for_step(process, model_dir, wanted, timeout=120):
  until = time.monotonic() + timeout
  path = pathlib.Path(model_dir) / 'metrics.jsonl'
  while time.monotonic() < until and process.poll() is None:
    if path.exists() and len(path.read_text().splitlines()) >= wanted:
      return
    time.sleep(0.02)
  raise AssertionError(process.communicate()[1])


@pytest.mark.alone
def test_resume_after_kill_9_is_exact(tmp_path):
  process = start(tmp_path / 'killed', '--pause=0.02')
  wanted = random.Random(os.getpid()).randint(5, 30)
  wait_for_step(process, tmp_path / 'killed', wanted)
  process.kill()
  process.communicate()
  toy.train(tmp_path / 'killed', train_steps=40)
  toy.train(tmp_path / 'whole', train_steps=40)
  assert losses(tmp_path / 'killed') == losses(tmp_path / 'whole'), wanted
  assert not list((tmp_path / 'killed').glob('*tmp*'))


def test_sigterm_saves_and_exits_with_the_documented_code(tmp_path):
  process = start(tmp_path, '--pause=0.02', '--train_steps=4000')
  wait_for_step(process, tmp_path, 7)
  process.send_signal(signal.SIGTERM)
  _, errors = process.communicate(timeout=60)
  assert process.returncode == preemption.EXIT_CODE == 143, errors
  newest = max(int(p.name.split('_')[1]) for p in tmp_path.glob('checkpoint_*'))
  assert newest == lines(tmp_path)[-1]['step']  # at once, not at a period


def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path):
  process = start(tmp_path, '--pause=0.02', '--train_steps=4000')
  wait_for_step(process, tmp_path, 7)
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=60)
  assert process.returncode == preemption.INTERRUPTED == 130, errors
  newest = max(int(p.name.split('_')[1]) for p in tmp_path.glob('checkpoint_*'))
  assert newest == lines(tmp_path)[-1]['step']
  said = errors.splitlines()[-1]
  assert f'{tmp_path}/checkpoint_{newest};' in said and 'same command' in said
  assert 'Traceback' not in errors


def test_a_second_ctrl_c_ends_at_once(tmp_path):
  process = start(tmp_path, '--stall_at=5')  # for ten minutes
  wait_for_step(process, tmp_path, 5)
  time.sleep(1.0)  # now it waits for the sixth batch
  process.send_signal(signal.SIGINT)
  time.sleep(1.0)
  assert process.poll() is None  # it waits for the step to end
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=20)
  assert process.returncode == preemption.INTERRUPTED, errors
  assert 'once more ends at once' in errors and 'Traceback' not in errors
  assert not list(tmp_path.glob('checkpoint_[4-9]*'))


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_what_was_to_be_ignored_stays_ignored(number):
  before = signal.signal(number, signal.SIG_IGN)
  try:
    with preemption.StopFlag() as stop:
      os.kill(os.getpid(), number)
      assert not stop.agreed(1)
    assert signal.getsignal(number) == signal.SIG_IGN
  finally:
    signal.signal(number, before)


def test_sigterm_in_process_goes_on_exactly(tmp_path, undisturbed):
  handler = signal.getsignal(signal.SIGTERM)
  with pytest.raises(preemption.Preempted):
    toy.train(tmp_path, feed=toy.Feed(sigterm_at=4, pause=0.05))
  assert signal.getsignal(signal.SIGTERM) is handler
  toy.train(tmp_path)
  assert losses(tmp_path) == undisturbed[1]


def test_a_failed_save_exits_non_zero(tmp_path):
  process = start(tmp_path, '--train_steps=3', '--limit_file_size=300')
  _, errors = process.communicate(timeout=120)
  assert process.returncode not in (0, preemption.EXIT_CODE), errors
  assert not list(tmp_path.glob('checkpoint_?'))


@pytest.mark.parametrize('log_period', [1, 100])
def test_nan_stops_and_is_never_saved(tmp_path, log_period):
  arguments = dict(
    objective=toy.ToyObjective(explode_above=1e3), log_period=log_period
  )
  with pytest.raises(loop.NonFiniteError, match='step 6'):
    toy.train(tmp_path, feed=toy.Feed(big_at=5), **arguments)
  assert sorted(p.name for p in tmp_path.glob('checkpoint_*')) == [
    'checkpoint_3'
  ]
  state = toy.train(tmp_path, **arguments)  # another batch: it goes on
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.trained))


def test_the_batch_of_a_nan_can_be_left_out(tmp_path, caplog):
  caplog.set_level('WARNING', 'absl')
  arguments = dict(
    objective=toy.ToyObjective(explode_above=1e3), feed=toy.Feed(big_at=5)
  )
  with pytest.raises(loop.NonFiniteError) as error:
    toy.train(tmp_path, **arguments)
  assert '--skip_steps=6 ' in str(error.value)
  assert f'from {tmp_path}/checkpoint_3 ' in str(error.value)
  state = toy.train(tmp_path, **arguments, skip_steps=frozenset({6}))
  assert 'step 6: its batch is left out' in caplog.text
  assert int(state.step) == 8 and set(losses(tmp_path)) == {1, 2, 3, 4, 5, 7, 8}
  # From scratch it is the same: a step that is left out counts.
  whole = toy.train(
    tmp_path / 'whole', **arguments, skip_steps=frozenset({6, 9})
  )
  assert_same_state(state, whole)


class WithPenalty(toy.ToyObjective):
  """Trains on more than what it calls its loss."""

  def loss_fn(self, params, batch, rng):
    loss, metrics = super().loss_fn(params, batch, rng)
    return loss + 5.0, {**metrics, 'loss': loss, 'penalty': 5.0}


def test_what_the_log_calls_loss_is_the_objective_s(tmp_path):
  toy.train(tmp_path / 'plain', train_steps=2)
  toy.train(tmp_path / 'more', train_steps=2, objective=WithPenalty())
  assert losses(tmp_path / 'more') == pytest.approx(losses(tmp_path / 'plain'))
  assert lines(tmp_path / 'more')[0]['penalty'] == 5


@pytest.mark.parametrize('left_out', [{1}, {8}, {3}, set(range(1, 9))])
def test_any_step_can_be_left_out(tmp_path, left_out):
  state = toy.train(tmp_path, skip_steps=frozenset(left_out))
  assert int(state.step) == 8
  assert (tmp_path / 'checkpoint_8').exists()
  path = tmp_path / 'metrics.jsonl'
  logged = set(losses(tmp_path)) if path.exists() else set()
  assert logged == set(range(1, 9)) - left_out


def test_a_run_is_described_only_where_it_goes_on(tmp_path, caplog):
  called = []
  toy.train(tmp_path, train_steps=3, on_start=called.append)
  other = toy.ToyObjective(toy.Toy(hidden=24))
  with pytest.raises(ValueError, match='choose another MODEL_DIR'):
    toy.train(tmp_path, objective=other, on_start=called.append)
  caplog.set_level('INFO', 'absl')
  toy.train(tmp_path, train_steps=2, on_start=called.append)
  assert called == [0]  # of a run that trains nothing, nothing is written
  assert 'at step 3 already, of 2 asked for' in caplog.text


def test_a_feed_that_ends_is_an_error(tmp_path):
  def feed(start_step):
    yield next(toy.Feed()(start_step))

  with pytest.raises(ValueError, match='no batch for step 2 of 8'):
    toy.train(tmp_path, feed=feed)


@pytest.mark.parametrize('schedule', [toy.IMG, toy.LLM])
def test_frozen_leaves_stay_and_have_no_state(tmp_path, schedule):
  initial = trees.unflatten(
    {
      name: np.random.default_rng(i).normal(size=x.shape).astype('float32')
      * 0.1
      for i, (name, x) in enumerate(shapes().items())
    }
  )
  state = toy.train(
    tmp_path, schedule=schedule, initial_params=initial, train_steps=4
  )
  prefix = 'llm' if schedule is toy.IMG else 'img'
  assert all(name.startswith(prefix) for name in state.frozen)
  flat = trees.flatten(initial)
  for name, value in state.frozen.items():
    assert value.dtype == 'bfloat16'
    np.testing.assert_array_equal(
      np.asarray(value), flat[name].astype('bfloat16')
    )
  for name, value in state.trained.items():
    assert value.dtype == 'float32' and (value != flat[name]).any()
  assert prefix not in str(jax.tree_util.tree_structure(state.opt_state))


def shapes():
  boxed = step.abstract_params(toy.ToyObjective())
  return {n: x.value for n, x in trees.flatten(boxed).items()}


def flops(schedule, clip):
  objective = toy.ToyObjective(toy.Toy(width=256, hidden=512))
  one = partitioning.make_mesh(devices=jax.devices()[:1])
  names = list(trees.flatten(step.abstract_params(objective)))
  tx = optim.make(names, schedule, optim.Sgd(None), grad_clip_norm=clip)
  partitioner = partitioning.Partitioner(one)
  built = step.build_train_step(objective, tx, partitioner, 2048, 'float32')
  with partitioner.activate():
    return built.compile().cost_analysis()['flops']


@pytest.mark.parametrize('clip', [None, 1.0])
def test_freezing_frees_flops(clip):
  both, img, llm = (flops(s, clip) for s in (toy.BOTH, toy.IMG, toy.LLM))
  # Matmuls forward, for weights and for inputs; the first layer's input needs
  # none: 4 + 4 + 3 of 11, less 2 without llm's weights, less 2 + 2 without
  # img's.
  assert img / both == pytest.approx(9 / 11, abs=0.02)
  assert llm / both == pytest.approx(7 / 11, abs=0.02)


@pytest.mark.parametrize('data,model,fsdp', [(4, 2, True), (8, 1, False)])
def test_eight_devices_train_as_one(tmp_path, undisturbed, data, model, fsdp):
  partitioner = partitioning.Partitioner(
    partitioning.make_mesh(data, model), fsdp=fsdp, fsdp_min_size=64
  )
  state = toy.train(tmp_path, partitioner=partitioner)
  ours, one = losses(tmp_path), undisturbed[1]
  for number, loss in one.items():
    assert ours[number] == pytest.approx(loss, rel=1e-6)
  kernel = state.trained['img/Dense_0/kernel']
  assert len(kernel.sharding.device_set) == 8
  split = model * (data if fsdp else 1)
  assert kernel.addressable_shards[0].data.size == kernel.size // split


def test_resume_on_another_number_of_devices(tmp_path, undisturbed):
  toy.train(tmp_path, train_steps=3)
  eight = partitioning.Partitioner(
    partitioning.make_mesh(4, 2), fsdp_min_size=64
  )
  toy.train(tmp_path, partitioner=eight)
  for number, loss in losses(tmp_path).items():
    assert undisturbed[1][number] == pytest.approx(loss, rel=1e-6)


def test_runs_of_the_same_shapes_compile_once(tmp_path):
  objective = toy.ToyObjective(toy.Toy(hidden=48))
  toy.TRACES.clear()
  for i in range(3):
    toy.train(
      tmp_path / str(i),
      objective=objective,
      seed=i,
      train_steps=3 + i,
      feed=toy.Feed(),
      schedule=[('.*', optim.warmup_cosine(1e-3 * (i + 1), 1, 3 + i))],
    )
  assert len(toy.TRACES) == 1
  assert losses(tmp_path / '0')[1] != losses(tmp_path / '1')[1]


def test_initial_params_of_another_shape_are_refused(tmp_path):
  wrong = {'img': {'Dense_0': {'kernel': np.zeros((3, 3), 'float32')}}}
  with pytest.raises(ValueError, match='img/Dense_0/kernel'):
    toy.train(tmp_path, initial_params=wrong)
