"""Which example comes when: a pure function of (seed, example number).

Nothing here has a state, so a run that is resumed, or split over more
processes, sees the same global batches (design: no shuffle buffer, no
iterator to save).
"""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int32

from vidlm.data.feed import index_shuffle

BLOCK = 1024  # Examples within which a mixture's rates hold.


def block_counts(
  rates: Sequence[float | int], block: int = BLOCK
) -> Int[np.ndarray, 'c']:
  """Examples of each component in a block, by largest remainder.

  Raises:
    ValueError: For a rate that isn't positive, or so small that the component
      would never be drawn.
  """
  shares = np.asarray(rates, np.float64)
  # Of NaN nothing is true.
  if len(shares) == 0 or not ((shares > 0) & (shares < np.inf)).all():
    raise ValueError(f'mixing rates must be positive, got {list(rates)}')
  exact = shares / shares.sum() * block
  counts = np.floor(exact).astype(np.int64)
  order = np.argsort(counts - exact, kind='stable')
  counts[order[: block - counts.sum()]] += 1
  if (counts == 0).any():
    raise ValueError(f'a rate below 1/{block} of the sum: {list(rates)}')
  return counts


@functools.lru_cache(maxsize=64)
def _block_labels(counts: tuple[int, ...], seed: int, block: int) -> np.ndarray:
  labels = np.repeat(np.arange(len(counts)), counts)
  key = np.array([seed & 0xFFFFFFFF, block], np.uint64)
  return np.random.Generator(np.random.Philox(key=key)).permutation(labels)


def components(
  numbers: Int[np.ndarray, 'b'], rates: Sequence[float | int], seed: int
) -> tuple[Int[np.ndarray, 'b'], Int[np.ndarray, 'b']]:
  """Component of each example of a mixture, and its number within that.

  Args:
    numbers: Global example numbers (step * batch size + position).
    rates: Mixing rates of the components.
    seed: The run's seed.

  Returns:
    Component indices, and how many examples of the component came before.
  """
  counts = block_counts(rates)
  chosen, ordinals = np.empty_like(numbers), np.empty_like(numbers)
  for position, number in enumerate(numbers):
    block, offset = divmod(int(number), BLOCK)
    labels = _block_labels(tuple(counts.tolist()), seed, block)
    c = labels[offset]
    before = np.count_nonzero(labels[:offset] == c)
    chosen[position] = c
    ordinals[position] = block * counts[c] + before
  return chosen, ordinals


def shuffled(
  ordinals: Int[np.ndarray, 'b'], size: int, seed: int, component: int = 0
) -> Int[np.ndarray, 'b']:
  """Example index of each ordinal: a new permutation every epoch.

  Args:
    ordinals: Numbers of the draws, from 0 without end.
    size: Examples in the component.
    seed: The run's seed.
    component: Place in the mixture; components are shuffled independently.
  """
  epochs, positions = np.divmod(ordinals, size)
  if size == 1:
    return np.zeros_like(ordinals)
  mixed = (seed * 1_000_003 + component * 7_919) & 0x7FFFFFFF
  seeds = np.stack(
    [np.full_like(epochs, mixed), epochs, np.full_like(epochs, size)], axis=-1
  )
  return index_shuffle.index_shuffle(
    positions, seeds, np.full_like(positions, size - 1)
  )


def local_numbers(
  step: int, batch_size: int, process_index: int, process_count: int
) -> np.ndarray:
  """Global example numbers of one process at one step."""
  share = batch_size // process_count
  first = step * batch_size + process_index * share
  return np.arange(first, first + share, dtype=np.int64)


def draw(
  numbers: np.ndarray,
  rates: tuple[float, ...],
  sizes: tuple[int, ...],
  seed: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Component and example index of each global example number."""
  if len(rates) == 1:
    return np.zeros_like(numbers), shuffled(numbers, sizes[0], seed)
  chosen, ordinals = components(numbers, rates, seed)
  indices = np.empty_like(ordinals)
  for c in range(len(rates)):
    mine = chosen == c
    if mine.any():
      indices[mine] = shuffled(ordinals[mine], sizes[c], seed, c)
  return chosen, indices


def draws(
  seeds: Int[np.ndarray, 'b 2'], sizes: Int[np.ndarray, 'b']
) -> Int[np.ndarray, 'b']:
  """One of `sizes` outcomes for each example, by its own seed.

  The finalizer of SplitMix64 over both halves of a seed; the bias of the
  modulo is below 1e-12 for a handful of captions.
  """
  high, low = seeds.astype(np.uint64).T
  mixed = (high << np.uint64(32) | low) + np.uint64(0x9E3779B97F4A7C15)
  for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
    mixed = (mixed ^ mixed >> np.uint64(shift)) * np.uint64(factor)
  mixed ^= mixed >> np.uint64(31)
  return (mixed % sizes.astype(np.uint64)).astype(np.int64)


def example_seeds(
  numbers: Int[np.ndarray, 'b'], seed: int
) -> Int32[np.ndarray, 'b 2']:
  """Seeds of global example numbers, for all that is drawn for them."""
  high = (seed + (numbers >> 30) * 2_654_435_761) & 0x3FFFFFFF
  return np.stack([high, numbers & 0x3FFFFFFF], -1).astype(np.int32)
