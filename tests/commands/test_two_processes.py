"""`train` on two connected processes: what one process does, and SIGTERM.

A tiny recipe of configs/miniature on the miniature's own clip sets. The
processes have two devices each and talk over gloo; one process has eight.
"""

import json
import pathlib
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidlm.core import launch, trees
from vidlm.data.feed import batches as feed
from vidlm.training import checkpoints, preemption

# Two numbers of devices add floats in another order, and each step starts from
# the rounding of the one before: some 1e-7 after 30 steps. Another batch gives
# another loss in the first digits.
CLOSE = 1e-5
# Softmax doesn't see a key's bias: its gradient is rounding alone, and Adam
# makes that as large as any other.
UNSEEN = 'key/bias'

pytestmark = [
  pytest.mark.alone,
  pytest.mark.timeout(1800),  # many starts, on a machine that is busy
]


@pytest.fixture(scope='module')
def flags(commands, tools, tmp_path_factory):
  def make(recipe, name):
    folder = tmp_path_factory.mktemp(f'{recipe}_{name}') / 'run'
    return folder, commands.train_flags(recipe, folder, TRAIN_STEPS=tools.steps)

  return make


@pytest.fixture(scope='module')
def two(commands, flags, tools):
  """MODEL_DIR of a run of `vidlm train` on two that nothing disturbs."""
  folder, arguments = flags('visual', 'two')
  assert tools.finish_all(commands.start_two('vidlm', arguments)) == [0, 0]
  return folder


def preempt(commands, tools, program, folder, arguments, whom):
  """Starts a run on two processes, and sends SIGTERM to some of them."""
  processes = commands.start_two(program, arguments)
  with tools.ended(processes):
    tools.wait_for_first_step(processes, folder)
    for index in whom:
      processes[index].terminate()
    return tools.finish_all(processes)


def losses(metrics):
  return np.array([row['loss'] for row in metrics.values()])


def params(folder):
  return trees.flatten(checkpoints.load_params(str(folder)))


def assert_close_params(a, b):
  a, b = params(a), params(b)
  assert a.keys() == b.keys()
  seen = [name for name in a if not name.endswith(UNSEEN)]
  worst = max(float(np.abs(a[name] - b[name]).max()) for name in seen)
  print(f'parameters: {worst:.1e} apart at most')
  for name in seen:
    np.testing.assert_allclose(a[name], b[name], atol=CLOSE, err_msg=name)


def assert_close_losses(a, b):
  a, b = losses(a), losses(b)
  assert len(a) == len(b)
  print(f'losses: {np.abs(a / b - 1).max():.1e} apart at most')
  np.testing.assert_allclose(a, b, rtol=CLOSE)
  # The tolerance tells batches and steps apart.
  assert np.abs(np.diff(a) / a[1:]).min() > CLOSE


def batches(folder, steps, processes=1):
  """Global batches of a run's own configuration, put together."""
  with launch.isolated_gin():
    launch.parse_gin([str(folder / 'config.gin')])
    config = launch.bound(feed.DatasetConfig)()
    parts = [
      feed.take(feed.make_feed(config, steps, p, processes), steps)
      for p in range(processes)
    ]
  return [
    {name: np.concatenate([x[name] for x in step]) for name in step[0]}
    for step in zip(*parts, strict=True)
  ]


def test_vidlm_trains_as_on_one_process(trained, two, tools):
  whole, split = tools.metrics(trained['vidlm']), tools.metrics(two)
  assert_close_losses(split, whole)
  # Counted, not added up: the very batch.
  for step, row in whole.items():
    assert split[step]['target_tokens'] == row['target_tokens']
  assert_close_params(trained['vidlm'], two)


def test_microbatches_of_two_processes_contrast_as_a_whole(
  commands, flags, tools, trained
):
  folder, arguments = flags('dualenc', 'parts')
  arguments.append('--gin.NUM_MICROBATCHES=2')
  assert tools.finish_all(commands.start_two('dualenc', arguments)) == [0, 0]
  assert_close_losses(tools.metrics(folder), tools.metrics(trained['dualenc']))


def test_both_feed_the_same_global_batches(trained, two):
  whole, split = batches(trained['vidlm'], 6), batches(two, 6, processes=2)
  for a, b in zip(whole, split, strict=True):
    for name in a:
      np.testing.assert_array_equal(a[name], b[name])


def test_sigterm_to_one_process_stops_both_and_nothing_is_lost(
  commands, flags, tools, two
):
  folder, arguments = flags('visual', 'stopped')
  # Not the one that coordinates and writes.
  codes = preempt(commands, tools, 'vidlm', folder, arguments, [1])
  assert codes == [preemption.EXIT_CODE] * 2 == [143, 143]
  (saved,) = folder.glob('checkpoint_*')
  stopped = int(saved.name.split('_')[1])
  assert 0 < stopped < tools.steps and max(tools.metrics(folder)) == stopped
  assert tools.finish_all(commands.start_two('vidlm', arguments)) == [0, 0]
  # To the bit: the same devices add in the same order.
  whole, resumed = tools.metrics(two), tools.metrics(folder)
  for step, row in whole.items():
    for name in ('loss', 'grad_norm', 'update_norm'):
      assert resumed[step][name] == row[name], (stopped, step, name)
  a, b = params(two), params(folder)
  for name in a:
    np.testing.assert_array_equal(a[name], b[name])


def test_both_score_as_one_process_and_train_as_without(
  commands, tools, call, two, tmp_path
):
  # Six clips in batches of eight: one process has nothing but what fills up
  # in some rows. The scores decide what is saved, so both must agree on them.
  scored = {
    'TRAIN_STEPS': tools.steps,
    'EVAL_PERIOD': 10,
    'TRAIN_EVAL': "'test_captioning:test'",
    'INFER_EVAL': "'test_captioning:test'",
    'KEEP_BEST': "'train_eval/loss'",
  }
  folder, alone = tmp_path / 'two', tmp_path / 'one'
  arguments = commands.train_flags('visual', folder, **scored)
  assert tools.finish_all(commands.start_two('vidlm', arguments)) == [0, 0]
  assert call('vidlm', commands.train_flags('visual', alone, **scored)) == 0
  plain, ours = tools.metrics(two), tools.metrics(folder)
  for step, row in plain.items():
    for name in ('loss', 'grad_norm', 'update_norm'):
      assert ours[step][name] == row[name], (step, name)
  theirs = tools.metrics(alone)
  for step in (10, 20, 30):
    for name in ('train_eval/loss', 'train_eval/accuracy'):
      assert ours[step][name] == pytest.approx(theirs[step][name], rel=CLOSE)
    assert ours[step]['infer_eval/cider'] == pytest.approx(
      theirs[step]['infer_eval/cider'], abs=1e-6
    )
  for own in (folder, alone):
    best = json.loads((own / 'best.json').read_text())
    assert (own / best['checkpoint']).is_dir()
    assert best['name'] == 'train_eval/loss'


@pytest.fixture(scope='module')
def towers(commands, flags, tools, call):
  """MODEL_DIR of two towers: two processes, SIGTERM, one process; codes."""
  folder, arguments = flags('dualenc', 'stopped')
  codes = preempt(commands, tools, 'dualenc', folder, arguments, [0, 1])
  stopped = [int(p.name.split('_')[1]) for p in folder.glob('checkpoint_*')]
  codes.append(call('dualenc', arguments))
  return folder, codes, stopped


def test_sigterm_to_both_and_one_process_goes_on(trained, towers, tools):
  folder, codes, stopped = towers
  assert codes == [143, 143, 0]
  assert len(stopped) == 1 and 0 < stopped[0] < tools.steps
  assert_close_losses(tools.metrics(folder), tools.metrics(trained['dualenc']))
  assert_close_params(trained['dualenc'], folder)


def test_contrast_is_over_the_global_batch(towers, tools):
  folder = towers[0]
  with launch.isolated_gin():
    launch.parse_gin([str(folder / 'config.gin')])
    objective = launch.macro('MODEL')
  fresh = nn.meta.unbox(jax.jit(objective.init)(jax.random.key(0)))
  first = batches(folder, 1)[0]

  def loss(rows):
    batch = {name: jnp.asarray(x[rows]) for name, x in first.items()}
    return float(objective.loss_fn(fresh, batch, jax.random.key(0))[0])

  logged = tools.metrics(folder)[1]['loss']
  assert logged == pytest.approx(loss(slice(None)), rel=CLOSE)
  # Each process with its own negatives alone would have said this.
  local = (loss(slice(0, 4)) + loss(slice(4, 8))) / 2
  assert abs(logged - local) > 0.1


def test_sigterm_before_the_first_step_ends_at_once(commands, flags, tools):
  folder, arguments = flags('visual', 'early')
  processes = commands.start_two('vidlm', arguments)
  with tools.ended(processes):
    for process in processes:
      tools.wait_for_text(process, ' of 2, 4 devices')
    for process in processes:
      process.terminate()
    # There is nothing to save; a shell reports this as 143 too.
    assert tools.finish_all(processes) == [-signal.SIGTERM] * 2
  assert not list(folder.glob('checkpoint_*'))


def test_a_process_that_is_alone_is_told_who_is_missing(commands, tmp_path):
  flags = commands.train_flags('visual', pathlib.Path(tmp_path))
  process = commands.start('vidlm', [*flags, '--process_count=2'])
  code, _ = process.finish()
  assert code == 2
  assert process.errors.splitlines()[-1] == (
    'error: --process_count > 1 needs --coordinator_address'
  )
