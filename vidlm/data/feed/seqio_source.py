"""A `seqio.DataSource` over examples addressed by number (imports seqio)."""

import functools
from collections.abc import Callable, Sequence

import numpy as np
import seqio
import tensorflow as tf

from vidlm.data.feed import order
from vidlm.data.feed.examples import ExampleTable


class IndexedSource(seqio.DataSource):
  """Serves raw examples {record, inputs, texts, seed} by index."""

  def __init__(self, table: ExampleTable, split: str = 'train'):
    super().__init__(splits=(split,), num_input_examples={split: len(table)})
    self.table = table

  @property
  def supports_arbitrary_sharding(self) -> bool:
    return False

  def list_shards(self, split: str) -> Sequence[str]:
    return ['indices']

  def get_dataset(
    self,
    split: str = 'train',
    shuffle: bool = True,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    num_epochs: int | None = 1,
  ) -> tf.data.Dataset:
    """Examples in order, or in the order of the feed, for seqio's own use."""
    del split
    size = len(self.table)
    ordinals = np.arange(size * (num_epochs or 1))
    indices = (
      order.shuffled(ordinals, size, seed or 0)
      if shuffle
      else (ordinals % size)
    )
    if shard_info:
      keep = slice(shard_info.index, None, shard_info.num_shards)
      ordinals, indices = ordinals[keep], indices[keep]
    seeds = example_seeds(ordinals, seed or 0)
    batches = tf.data.Dataset.from_tensor_slices((indices, seeds)).batch(64)
    return batches.map(lambda i, s: self.lookup_tf(i, s)).unbatch()

  def lookup_tf(
    self, indices: tf.Tensor, seeds: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    """Raw examples, a batch: texts is a ragged [b, texts of each]."""
    *arrays, _ = tf.numpy_function(
      lambda i, s: raw_arrays(*self.table.lookup(i), s),
      [indices, seeds],
      RAW_TYPES,
    )
    return raw_batch([*arrays, seeds])


class LazySource(IndexedSource):
  """An `IndexedSource` that reads its table when it is first used.

  So a module can register the tasks of sets that are not on this machine.
  """

  def __init__(self, read: Callable[[], ExampleTable], split: str = 'train'):
    seqio.DataSource.__init__(self, splits=(split,))
    self._read = read

  @functools.cached_property
  def table(self) -> ExampleTable:
    """The examples, read when they are first asked for."""
    return self._read()

  def num_input_examples(self, split: str) -> int:
    del split  # it has one
    return len(self.table)


RAW_TYPES = (tf.string, tf.string, tf.string, tf.int64, tf.int32)


def raw_arrays(
  records: Sequence[bytes],
  prompts: Sequence[str],
  texts: Sequence[Sequence[str]],
  seeds: np.ndarray,
) -> tuple[np.ndarray, ...]:
  """Raw examples as arrays of `RAW_TYPES`, for a `tf.numpy_function`."""
  return (
    _bytes(records),
    _bytes([prompt.encode() for prompt in prompts]),
    _bytes([text.encode() for group in texts for text in group]),
    np.array([len(group) for group in texts], np.int64),
    seeds,
  )


def raw_batch(arrays: Sequence[tf.Tensor]) -> dict[str, tf.Tensor]:
  """The tensors of `raw_arrays` by name."""
  records, prompts, texts, lengths, seeds = arrays
  for tensor in (records, prompts, texts, lengths):
    tensor.set_shape([None])
  seeds.set_shape([None, 2])
  return {
    'record': records,
    'inputs': prompts,
    'texts': tf.RaggedTensor.from_row_lengths(texts, lengths),
    'seed': seeds,
  }


def _bytes(values: Sequence[bytes]) -> np.ndarray:
  out = np.empty(len(values), object)
  out[:] = values
  return out


def example_seeds(numbers: np.ndarray, seed: int) -> np.ndarray:
  """int32[b, 2] seeds of global example numbers, for all that is drawn."""
  high = (seed + (numbers >> 30) * 2_654_435_761) & 0x3FFFFFFF
  return np.stack([high, numbers & 0x3FFFFFFF], -1).astype(np.int32)
