"""The order of examples is a function of (seed, number) and nothing else."""

import numpy as np
import pytest

from vidlm.data.feed import order


def test_an_epoch_is_a_permutation_and_epochs_differ():
  drawn = order.shuffled(np.arange(30), 10, seed=0)
  epochs = drawn.reshape(3, 10)
  assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
  assert len({tuple(epoch) for epoch in epochs}) == 3


def test_shuffling_depends_on_seed_and_component():
  first = order.shuffled(np.arange(50), 50, seed=0)
  assert (first != order.shuffled(np.arange(50), 50, seed=1)).any()
  assert (first != order.shuffled(np.arange(50), 50, 0, component=1)).any()


def test_mixture_keeps_its_rates_and_counts_every_component():
  chosen, ordinals = order.components(np.arange(4096), [3, 1], seed=5)
  assert np.bincount(chosen).tolist() == [3072, 1024]
  for c in range(2):
    assert ordinals[chosen == c].tolist() == list(range((chosen == c).sum()))


def test_any_slice_equals_the_whole():
  whole = order.components(np.arange(3000), [2, 1, 1], seed=1)
  part = order.components(np.arange(1500, 1600), [2, 1, 1], seed=1)
  np.testing.assert_array_equal(whole[0][1500:1600], part[0])
  np.testing.assert_array_equal(whole[1][1500:1600], part[1])


@pytest.mark.parametrize('processes', [1, 2, 4, 8])
def test_processes_share_out_one_global_batch(processes):
  numbers = np.concatenate(
    [order.local_numbers(7, 16, p, processes) for p in range(processes)]
  )
  assert numbers.tolist() == list(range(112, 128))
  drawn = [
    order.draw(order.local_numbers(7, 16, p, processes), (1.0, 2.0), (9, 11), 3)
    for p in range(processes)
  ]
  whole = order.draw(numbers, (1.0, 2.0), (9, 11), 3)
  np.testing.assert_array_equal(np.concatenate([d[1] for d in drawn]), whole[1])


@pytest.mark.parametrize('rates', [[], [1, 0], [1, -1], [1e6, 1]])
def test_impossible_rates_are_refused(rates):
  with pytest.raises(ValueError, match='rate'):
    order.block_counts(rates)


def test_draws_are_even_and_of_the_seed_alone():
  numbers = np.arange(60_000)
  seeds = np.stack([np.full_like(numbers, 5), numbers], 1).astype(np.int32)
  sizes = np.full_like(numbers, 3)
  drawn = order.draws(seeds, sizes)
  assert drawn.dtype == np.int64
  # Three standard deviations of a fair draw.
  assert np.abs(np.bincount(drawn, minlength=3) - 20_000).max() < 350
  np.testing.assert_array_equal(order.draws(seeds[::-1], sizes), drawn[::-1])
  other = seeds + np.array([1, 0], np.int32)
  same = (order.draws(other, sizes) == drawn).mean()
  assert abs(same - 1 / 3) < 0.01
  assert order.draws(seeds[:2], np.array([1, 1])).tolist() == [0, 0]
