"""Scores while training: their values, the best checkpoint, no trace in what
trains."""

import dataclasses
import json
import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import toy_training as toy
from absl import logging

from vidlm.core import partitioning
from vidlm.training import best, checkpoints, scoring, step


def rows_of(model_dir):
  path = pathlib.Path(model_dir) / 'metrics.jsonl'
  return [json.loads(line) for line in path.read_text().splitlines()]


def steps_of(model_dir):
  folders = pathlib.Path(model_dir).glob('checkpoint_*')
  return sorted(int(folder.name.split('_')[1]) for folder in folders)


def record_of(model_dir):
  return json.loads((pathlib.Path(model_dir) / 'best.json').read_text())


class Scripted:
  """An evaluator whose scores are known before."""

  def __init__(self, *scores, name='cider'):
    self._scores = list(scores)
    self._name = name

  def names(self):
    return [self._name, 'n']

  def __call__(self, params, partitioner):
    return {self._name: float(self._scores.pop(0)), 'n': 1.0}


def scripted(*scores, name='cider'):
  return scoring.Evaluation({'infer_eval': Scripted(*scores, name=name)})


def validation():
  return scoring.Evaluation({'train_eval': toy.validation()})


@pytest.fixture
def partitioner():
  return toy.Mesh().partitioner()


def fresh_params(partitioner):
  objective = toy.ToyObjective()
  params = jax.jit(objective.init)(jax.random.key(3))
  params = jax.tree.map(lambda x: x, params)
  del partitioner
  from flax.core import meta

  return meta.unbox(params)


def test_the_loss_is_that_of_every_example_once(partitioner):
  params = fresh_params(partitioner)
  x = next(toy.Feed(batch_size=20)(10**6))
  out = toy.Toy().apply({'params': params}, x['x'])
  want = float(jnp.mean(jnp.square(out - x['y'])))
  scores = toy.validation()
  assert scores.names() == ['loss']
  got = scores(params, partitioner)
  # 20 examples in batches of 8: what fills the last one up doesn't count.
  assert got['loss'] == pytest.approx(want, rel=1e-6)
  eight = partitioning.Partitioner(partitioning.make_mesh(4, 2))
  params = jax.device_put(params, eight.replicated)
  with eight.activate():
    assert scores(params, eight)['loss'] == pytest.approx(want, rel=1e-6)


def double(params, batch):
  return params['by'] * batch['x']


def test_results_of_rows_come_back_by_their_numbers(partitioner):
  def batches():
    yield np.array([2, 0], np.int32), {'x': np.array([[2.0], [0.0]])}
    yield np.array([1, -1], np.int32), {'x': np.array([[1.0], [9.0]])}

  params = {'by': jnp.float32(2)}
  got = scoring.rows(double, params, batches(), 3, partitioner)
  np.testing.assert_array_equal(got, [[0], [2], [4]])
  with pytest.raises(ValueError, match='1 of 4 examples lack'):
    scoring.rows(double, params, batches(), 4, partitioner)


def test_a_score_is_found_by_the_end_of_its_name():
  names = ['train_eval/loss', 'train_eval/accuracy', 'infer_eval/accuracy']
  assert scoring.find_name('loss', names) == 'train_eval/loss'
  assert scoring.find_name('infer_eval/accuracy', names) == names[2]
  with pytest.raises(
    ValueError, match=r'which of train_eval/acc.*, infer_eval'
  ):
    scoring.find_name('accuracy', names)
  with pytest.raises(ValueError, match=r"'cider': choose one of train_eval/lo"):
    scoring.find_name('cider', names)
  with pytest.raises(ValueError, match='nothing is scored; give EVAL_PERIOD'):
    scoring.find_name('cider', [])
  lower = ['train_eval/loss', 'infer_eval/t2v/median_rank', 'loss']
  assert all(map(scoring.lower_is_better, lower))
  assert not any(map(scoring.lower_is_better, ['infer_eval/cider', 't2v/R@1']))


@pytest.mark.parametrize('noisy', [False, True])
def test_training_is_the_same_to_the_bit(tmp_path, noisy):
  scored = {'eval_period': 2, 'evaluation': validation()} if noisy else {}
  where = tmp_path / 'scored'
  state = toy.train(where, **scored)
  plain = toy.train(tmp_path / 'plain')
  for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(plain), strict=True):
    np.testing.assert_array_equal(np.asarray(a), np.asarray(b))
  ours, theirs = rows_of(where), rows_of(tmp_path / 'plain')
  for a, b in zip(ours, theirs, strict=True):
    assert all(a[n] == b[n] for n in ('loss', 'grad_norm', 'update_norm'))
  found = [row['step'] for row in ours if 'train_eval/loss' in row]
  assert found == ([2, 4, 6, 8] if noisy else [])
  # Off, a checkpoint holds what it held before.
  items = {path.name for path in (where / 'checkpoint_8').iterdir()}
  assert ('scores' in items) == noisy


def test_parameters_in_parts_score_as_whole_ones(tmp_path):
  eight = partitioning.Partitioner(
    partitioning.make_mesh(4, 2), fsdp_min_size=64
  )
  found = {}
  for name, where in (('one', None), ('eight', eight)):
    state = toy.train(
      tmp_path / name,
      partitioner=where,
      eval_period=4,
      keep_best='loss',
      evaluation=validation(),
    )
    found[name] = [
      row['train_eval/loss']
      for row in rows_of(tmp_path / name)
      if 'train_eval/loss' in row
    ]
  kernel = state.trained['img/Dense_0/kernel']
  assert kernel.addressable_shards[0].data.size == kernel.size // 8
  assert len(found['one']) == 2
  assert found['eight'] == pytest.approx(found['one'], rel=1e-6)
  best = [record_of(tmp_path / name)['step'] for name in ('one', 'eight')]
  assert best[0] == best[1]


def test_the_last_step_is_scored_and_lines_stand_between_periods(tmp_path):
  toy.train(
    tmp_path,
    train_steps=5,
    log_period=100,
    eval_period=2,
    evaluation=validation(),
  )
  assert [row['step'] for row in rows_of(tmp_path)] == [2, 4, 5]
  assert any(p.name.startswith('events.') for p in tmp_path.iterdir())


def test_the_best_stays_beside_the_newest(tmp_path):
  toy.train(
    tmp_path,
    train_steps=8,
    checkpoint_period=4,
    keep=1,
    eval_period=1,
    keep_best='cider',
    evaluation=scripted(0.1, 0.5, 0.3, 0.5, 0.2, float('nan'), 0.4, 0.1),
  )
  # Of equals the first; nothing is left of the one that was best at step 1.
  assert steps_of(tmp_path) == [2, 8]
  assert record_of(tmp_path) == {
    'checkpoint': 'checkpoint_2',
    'step': 2,
    'name': 'infer_eval/cider',
    'score': 0.5,
  }
  # A run's name still means the newest.
  newest = checkpoints.find(str(tmp_path)).parent.name
  assert newest == 'checkpoint_8'
  best_params = checkpoints.load_params(str(tmp_path / 'checkpoint_2'))
  assert set(best_params) == {'img', 'llm'}


def test_of_a_loss_the_lowest_is_best(tmp_path):
  toy.train(
    tmp_path,
    train_steps=4,
    checkpoint_period=4,
    keep=1,
    eval_period=1,
    keep_best='loss',
    evaluation=scripted(3.0, 1.0, 2.0, 4.0, name='loss'),
  )
  assert steps_of(tmp_path) == [2, 4]
  assert record_of(tmp_path)['score'] == 1.0


def test_a_score_that_is_no_number_is_said(tmp_path, monkeypatch):
  said = []
  monkeypatch.setattr(
    logging, 'warning', lambda text, *args: said.append(text % args)
  )
  evaluation = scripted(float('nan'), 0.2)
  toy.train(
    tmp_path,
    train_steps=2,
    eval_period=1,
    keep_best='cider',
    evaluation=evaluation,
  )
  (line,) = [line for line in said if 'no finite number' in line]
  assert line.startswith('step 1: infer_eval/cider is no finite number')
  assert rows_of(tmp_path)[0]['infer_eval/cider'] is None
  assert record_of(tmp_path)['step'] == 2


def stop_after(model_dir, done, *scores, **how):
  """Trains until the feed fails; the scores of the steps before."""
  with pytest.raises(OSError, match='disk gone'):
    toy.train(
      model_dir,
      feed=toy.Feed(fail_at=done),
      eval_period=1,
      keep_best='cider',
      evaluation=scripted(*scores),
      **{'checkpoint_period': 2, 'keep': 1, **how},
    )


def resume(model_dir, *scores, **how):
  return toy.train(
    model_dir,
    **{
      'eval_period': 1,
      'keep_best': 'cider',
      'evaluation': scripted(*scores),
      'checkpoint_period': 2,
      'keep': 1,
      **how,
    },
  )


def test_a_run_that_goes_on_knows_its_best(tmp_path):
  stop_after(tmp_path, 5, 0.1, 0.9, 0.3, 0.4, 0.5)
  assert steps_of(tmp_path) == [2, 4]
  # Killed after a checkpoint was whole and before the record of it: the scores
  # lie with the checkpoints.
  (tmp_path / 'best.json').unlink()
  resume(tmp_path, 0.5, 0.6, 0.7, 0.8)
  assert steps_of(tmp_path) == [2, 8] and record_of(tmp_path)['step'] == 2
  plain = toy.train(tmp_path.with_name('plain'))
  assert plain is not None
  losses = {row['step']: row['loss'] for row in rows_of(tmp_path)}
  want = {r['step']: r['loss'] for r in rows_of(tmp_path.with_name('plain'))}
  assert losses == want


def test_a_best_that_is_gone_is_not_the_best(tmp_path):
  stop_after(tmp_path, 5, 0.1, 0.9, 0.3, 0.4, 0.5)
  path = tmp_path / 'checkpoint_2'
  path.rename(tmp_path / 'elsewhere')
  resume(tmp_path, 0.5, 0.6, 0.7, 0.1)
  assert record_of(tmp_path)['step'] == 7 and steps_of(tmp_path) == [7, 8]


def test_without_scores_a_run_leaves_its_best_alone(tmp_path):
  stop_after(tmp_path, 5, 0.1, 0.9, 0.3, 0.4, 0.5)
  before = record_of(tmp_path)
  toy.train(tmp_path, checkpoint_period=2, keep=1)
  assert steps_of(tmp_path) == [2, 8] and record_of(tmp_path) == before


def test_another_run_refused_leaves_the_record(tmp_path):
  stop_after(tmp_path, 3, 0.1, 0.9, 0.3)
  before = record_of(tmp_path)
  other = toy.ToyObjective(toy.Toy(hidden=24))
  with pytest.raises(ValueError, match='choose another MODEL_DIR'):
    resume(tmp_path, objective=other, keep_best='n')
  assert record_of(tmp_path) == before


def test_a_name_that_nobody_scores_is_refused_before_the_folder(tmp_path):
  with pytest.raises(ValueError, match="KEEP_BEST 'bleu': choose one of"):
    resume(tmp_path / 'run', 0.1, keep_best='bleu')
  assert not (tmp_path / 'run').exists()


def test_the_record_is_whole_or_not_there(tmp_path, monkeypatch):
  stop_after(tmp_path, 3, 0.1, 0.9, 0.3)
  before = (tmp_path / 'best.json').read_text()

  def dies(*arguments, **options):
    raise OSError('disk gone')

  monkeypatch.setattr(best.files, 'publish', dies)
  with pytest.raises((OSError, ValueError), match='disk gone'):
    resume(tmp_path, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1)
  assert (tmp_path / 'best.json').read_text() == before
  # Whichever was best and is on record is there still.
  assert 2 in steps_of(tmp_path)


def test_the_objective_of_a_type_without_eval_fn_is_no_scorable():
  from vidlm.training import objective

  @dataclasses.dataclass(frozen=True)
  class Bare:
    init = toy.ToyObjective.init
    loss_fn = toy.ToyObjective.loss_fn
    batch_shapes = toy.ToyObjective.batch_shapes
    flops_per_step = toy.ToyObjective.flops_per_step

  assert isinstance(Bare(), objective.Objective)
  assert not isinstance(Bare(), objective.Scorable)
  assert isinstance(toy.ToyObjective(), objective.Scorable)
  assert step.parameter_shapes(toy.ToyObjective())
