"""Our permutations are TensorFlow's."""

import numpy as np
import pytest

from vidlm.data.feed import index_shuffle

# tf.random_index_shuffle of TensorFlow 2.21: (index, seed, max_index) -> place.
KNOWN = [
  ((0, (0, 0, 3), 2), 1),
  ((2, (3_000_009, 1, 3), 2), 0),
  ((10, (7, 0, 11), 10), 6),
  ((999, (7, 2, 1000), 999), 447),
  ((65_536, (1, 2, 3), 65_536), 7_886),  # where 0 goes, too
  ((0, (1, 2, 3), 65_536), 7_886),
  ((65_537, (1, 2, 3), 65_537), 986),
  ((480_000, (3_000_009, 5, 481_094), 481_093), 211_877),
  ((123_456_789, (2**31 - 1, 4, 5), 2**31 + 5), 181_945_580),
  ((2**40, (9, 8, 7), 2**40 + 12_345), 1_016_975_717_694),
]
SEEDS = [(0, 0), (3_000_009, 1), (0x7FFFFFFF, 12_345), (123_456_789_012, 2)]


def shuffled(indices, seed, max_index):
  full = np.full_like(indices, max_index)
  seeds = np.broadcast_to(np.array(seed), (len(indices), 3))
  return index_shuffle.index_shuffle(indices, seeds, full)


@pytest.mark.parametrize(('given', 'place'), KNOWN)
def test_known_places(given, place) -> None:
  index, seed, max_index = given
  assert shuffled(np.array([index]), seed, max_index).tolist() == [place]


@pytest.mark.parametrize('size', [1, 2, 3, 70, 65_536, 65_538, 100_000])
def test_permutes(size) -> None:
  drawn = shuffled(np.arange(size), (7, 1, size), size - 1)
  np.testing.assert_array_equal(np.sort(drawn), np.arange(size))


def theirs(indices, seeds, max_indices):
  tf = pytest.importorskip('tensorflow')
  with tf.device('CPU'):
    return tf.random_index_shuffle(
      tf.constant(indices, tf.int64),
      tf.constant(seeds, tf.int64),
      tf.constant(max_indices, tf.int64),
    ).numpy()


def check(indices, seeds, max_indices) -> None:
  np.testing.assert_array_equal(
    index_shuffle.index_shuffle(indices, seeds, max_indices),
    theirs(indices, seeds, max_indices),
  )


@pytest.mark.parametrize('seed', SEEDS)
def test_small_sets_whole(seed) -> None:
  for size in [*range(2, 71), 1000]:
    indices = np.arange(size)
    seeds = np.broadcast_to(np.array([*seed, size]), (size, 3))
    check(indices, seeds, np.full(size, size - 1))


@pytest.mark.parametrize('bits', range(16, 48))
def test_about_powers_of_two(bits) -> None:
  rng = np.random.default_rng(bits)
  for more in (-1, 0, 1, 2):
    last = 2**bits + more - 1
    indices = rng.integers(0, last, 400, endpoint=True)
    indices[:2] = 0, last
    seeds = rng.integers(-(2**62), 2**62, (400, 3))
    if bits == 16:  # a permutation each would be computed
      seeds = np.broadcast_to(seeds[:1], (400, 3))
    check(indices, seeds, np.full(400, last))


def test_sets_of_many_sizes_at_once() -> None:
  rng = np.random.default_rng(0)
  last = np.concatenate([rng.integers(0, 2**bits, 60) for bits in range(1, 48)])
  rng.shuffle(last)
  indices = (rng.random(len(last)) * last).astype(np.int64)
  check(indices, rng.integers(0, 2**32, (len(last), 3)), last)


def test_what_it_cannot_do_is_refused() -> None:
  for index, last in ((-1, 3), (4, 3), (0, 2**50)):
    with pytest.raises(ValueError, match='need 0 <= index <= max_index'):
      shuffled(np.array([index]), (0, 0, 0), last)
