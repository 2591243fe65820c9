"""A permutation that is computed, not stored: where each index comes to lie.

The permutations of `tf.random_index_shuffle` with its 4 rounds, in numpy, so
that runs whose order TensorFlow drew go on as they began. Source of behaviour:
TensorFlow's kernel (`core/kernels/random_index_shuffle.cc`) and the papers it
names: the block cipher Simon (Beaulieu et al., 2013) over the fewest bits that
hold the largest index, at least 16, walked along its cycle until it comes back
into the range (Black and Rogaway, 2002).
"""

import functools

import numpy as np
from jaxtyping import Int, UInt64

# Bits of half a block; Simon rotates by 8 at most.
_MIN_WORD = 8
# Up to here the kernel's block size, a logarithm of doubles, is exact.
_LIMIT = 1 << 48
# Simon's constant c, and the first bit of its sequence z: 4 rounds take one.
_CONSTANT = 0xFFFFFFFC ^ 1


def index_shuffle(
  indices: Int[np.ndarray, 'b'],
  seeds: Int[np.ndarray, 'b 3'],
  max_indices: Int[np.ndarray, 'b'],
) -> Int[np.ndarray, 'b']:
  """Places of indices in permutations of 0 ... max_index.

  Two indices of one permutation never share a place, unless max_index is 2 to
  an even power from 16 on: it lands where 0 does, in TensorFlow too.

  Args:
    indices: Each in [0, max_index].
    seeds: Three numbers name a permutation; of each the low 32 bits count.
    max_indices: The largest index of each permutation.

  Raises:
    ValueError: For an index outside of its range, or a range beyond 2^48.
  """
  if ((indices < 0) | (indices > max_indices) | (max_indices > _LIMIT)).any():
    raise ValueError(
      'index_shuffle: need 0 <= index <= max_index <= 2^48, got indices up to '
      f'{indices.max()} of {max_indices.max()}'
    )
  shuffled = np.zeros_like(indices)
  seeds = seeds & 0xFFFFFFFF
  words = _word_sizes(max_indices)
  for word in np.unique(words).tolist():
    places = words == word
    walk = _look_up if word == _MIN_WORD else _walk
    shuffled[places] = walk(
      indices[places], seeds[places], max_indices[places], word
    )
  return shuffled


def _word_sizes(max_indices: Int[np.ndarray, 'b']) -> Int[np.ndarray, 'b']:
  """Bits of half a block: ceil(log2(max_index)) made even, halved."""
  # frexp's exponent is the bit length of a whole number.
  bits = np.frexp((max_indices - 1).astype(np.float64))[1]
  return np.maximum((bits + 1) // 2, _MIN_WORD)


def _look_up(
  indices: Int[np.ndarray, 'b'],
  seeds: Int[np.ndarray, 'b 3'],
  max_indices: Int[np.ndarray, 'b'],
  word: int,
) -> Int[np.ndarray, 'b']:
  """In the smallest block, of which the range may fill next to nothing."""
  keys = np.concatenate([seeds, max_indices[:, None]], -1)
  found = np.empty_like(indices)
  for key in np.unique(keys, axis=0):
    places = (keys == key).all(-1)
    # An index of 2^16 is one bit too long for its block, which drops it.
    found[places] = _permutation(*key.tolist())[
      indices[places] & (1 << 2 * word) - 1
    ]
  return found


@functools.lru_cache(maxsize=16)
def _permutation(
  key0: int, key1: int, key2: int, max_index: int
) -> Int[np.ndarray, 'n']:
  """All places of a permutation.

  Walking from one index takes 2^16 / max_index steps on average. So the whole
  block is encrypted at once, and walks double in length until all are back.
  """
  if max_index == 0:
    return np.zeros(1, np.int64)
  block = np.arange(1 << 2 * _MIN_WORD)
  keys = _round_keys(np.array([[key0, key1, key2]]), _MIN_WORD)
  step = _encrypt(block.astype(np.uint64), keys, _MIN_WORD).astype(np.int64)
  first = step[: max_index + 1]
  step = np.where(block <= max_index, block, step)  # who is back stays there
  while (first > max_index).any():
    first, step = step[first], step[step]
  return first


def _walk(
  indices: Int[np.ndarray, 'b'],
  seeds: Int[np.ndarray, 'b 3'],
  max_indices: Int[np.ndarray, 'b'],
  word: int,
) -> Int[np.ndarray, 'b']:
  """In larger blocks, of which the range fills a quarter or more."""
  keys = _round_keys(seeds, word)
  current = indices.astype(np.uint64)
  limits = max_indices.astype(np.uint64)
  out = np.arange(len(indices))  # those still outside of their range
  while len(out):
    current[out] = _encrypt(current[out], keys[:, out], word)
    out = out[current[out] > limits[out]]
  return current.astype(np.int64)


def _round_keys(
  seeds: Int[np.ndarray, 'b 3'], word: int
) -> UInt64[np.ndarray, '4 b']:
  """Simon's key schedule for three key words and four rounds."""
  keys = seeds.astype(np.uint64).T & _mask(word)
  mixed = keys[0] ^ np.uint64(_CONSTANT) & _mask(word)
  for distance in (3, 4):
    mixed ^= _rotate_left(keys[2], word - distance, word)
  return np.concatenate([keys, mixed[None]])


def _encrypt(
  values: UInt64[np.ndarray, 'b'],
  round_keys: UInt64[np.ndarray, '4 c'],
  word: int,
) -> UInt64[np.ndarray, 'b']:
  """Simon's rounds over blocks of two words."""
  left, right = values >> np.uint64(word) & _mask(word), values & _mask(word)
  for key in round_keys:
    one, eight, two = (_rotate_left(right, bits, word) for bits in (1, 8, 2))
    left, right = right, left ^ (one & eight) ^ two ^ key
  return left << np.uint64(word) | right


def _rotate_left(
  values: UInt64[np.ndarray, 'b'], bits: int, word: int
) -> UInt64[np.ndarray, 'b']:
  up, down = np.uint64(bits), np.uint64(word - bits)
  return (values << up | values >> down) & _mask(word)


def _mask(word: int) -> np.uint64:
  return np.uint64((1 << word) - 1)
