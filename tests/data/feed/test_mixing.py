"""Mixtures: names that can be told apart, rates that can be drawn."""

import dataclasses
import math

import numpy as np
import pytest

from vidlm.data.feed import batches, mixing, order, tasks

A, B = tasks.ClipTask('a', None), tasks.ClipTask('b', None)
OTHER_A = dataclasses.replace(A, limit=2)


def mixture(*parts, name='m'):
  return tasks.ClipMixture(name, parts)


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    (mixture((A, 1), (OTHER_A, 1)), "two tasks are called 'a'"),
    (
      mixture((A, 1), (B, 1), (A, 2)),
      "'a' is there twice, with the rates 1 and",
    ),
    (
      mixture(
        (mixture((A, 1), name='n'), 1), (mixture((OTHER_A, 1), name='o'), 1)
      ),
      "two tasks are called 'a'",
    ),
    (
      mixture((A, 1), (mixture((B, 1), name='a'), 1)),
      "two tasks are called 'a'",
    ),
    (mixture((A, 1), name='a'), "two tasks are called 'a'"),
    (
      mixture((mixture((A, 1), name='n'), 1), (B, 1), name='a'),
      "two tasks are called 'a'",
    ),
  ],
)
def test_two_tasks_of_one_name_are_refused(wrong, message):
  for use in (mixing.rates, tasks.describe, tasks.components, tasks.prompts):
    with pytest.raises(ValueError, match=message):
      use(wrong)


def test_a_task_may_come_again_in_a_mixture_of_the_mixture():
  found = mixing.rates(mixture((mixture((A, 1), (B, 3), name='n'), 2), (A, 1)))
  assert {name: rate for name, (_, rate) in found.items()} == {
    'a': 1.5,
    'b': 1.5,
  }


@pytest.mark.parametrize(
  ('parts', 'message'),
  [
    ([(A, 0)], 'the rate of a is 0; need a number above 0'),
    ([(A, -1.0), (B, 2)], 'the rate of a is -1.0'),
    ([(A, math.nan), (B, 2)], 'the rate of a is nan'),
    ([(A, math.inf), (B, 2)], 'the rate of a is inf'),
    ([(A, '0.5')], "the rate of a is '0.5'"),
    ([(A, True)], 'the rate of a is True'),
    ([(A, None)], 'the rate of a is None'),
    ([A, B], 'is no pair of a task and its rate'),
    ([('a', 1)], "'a' is no task"),
    ([], 'need a list of'),
  ],
)
def test_what_is_no_rate_is_refused(parts, message):
  with pytest.raises(ValueError, match=f'mixture m: .*{message}'):
    tasks.ClipMixture('m', parts)


@pytest.mark.parametrize('seed', range(30))
def test_rates_are_drawn_as_asked_or_told(seed):
  rng = np.random.default_rng(seed)
  rates = 10.0 ** rng.uniform(-4, 0, rng.integers(2, 6))
  shares = {f't{i}': float(rate) for i, rate in enumerate(rates)}
  try:
    mixing.check_drawable('m', shares)
  except ValueError as error:
    assert min(rates) < sum(rates) / order.BLOCK
    assert f't{np.argmin(rates)} would never be drawn' in str(error)
    return
  chosen, _ = order.components(np.arange(4 * order.BLOCK), rates.tolist(), seed)
  drawn = np.bincount(chosen, minlength=len(rates)) / len(chosen)
  told = mixing.misdrawn(shares)
  for i, (name, rate) in enumerate(shares.items()):
    asked = rate / sum(rates)
    assert (name in told) == (abs(drawn[i] / asked - 1) > 0.01)
    if name in told:
      assert told[name] == pytest.approx((asked, drawn[i]))


def test_a_rate_that_is_never_drawn_is_told_before_the_first_step(sets, words):
  clips = sets.clips([{'texts': ('a bar',), 'label': 'run'}] * 3)
  task = tasks.ClipTask('rare', words, '', clips)
  rest = dataclasses.replace(task, name='rest', kind='label')
  config = batches.DatasetConfig(
    tasks.ClipMixture('odd', [(task, 1), (rest, 5000)]),
    {'inputs': 20, 'targets': 20},
    2,
    frames=tasks.FrameOptions(1, 8),
  )
  with pytest.raises(
    ValueError, match='mixture odd: rare would never be drawn'
  ):
    batches.make_feed(config, 1)
