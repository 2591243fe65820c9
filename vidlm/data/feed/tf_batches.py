"""The tf.data side of the feed (imports TensorFlow and seqio).

Everything is done a batch at a time: TensorFlow's cost is by the operation,
and with a small model an example's own operations took as long as its step.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from vidlm.data.feed import features, order
from vidlm.data.feed.examples import lookup
from vidlm.data.feed.preprocessors import ClipPreprocessor
from vidlm.data.feed.seqio_source import (
  RAW_TYPES,
  IndexedSource,
  example_seeds,
  raw_arrays,
  raw_batch,
)

Batch = dict[str, tf.Tensor]

# Batches in the making: one is read and tokenized while another's frames are
# decoded, by all CPUs (`frame_cache`).
_AT_ONCE = 2

# AutoGraph would rewrite the Python that a `tf.numpy_function` calls as well.
_as_written = tf.autograph.experimental.do_not_convert


def _components(name: str) -> tuple[list[seqio.Task], tuple[float, ...]]:
  provider = seqio.get_mixture_or_task(name)
  if isinstance(provider, seqio.Task):
    parts, rates = [provider], (1.0,)
  else:
    parts = list(provider.tasks)
    rates = tuple(float(provider.get_rate(task)) for task in parts)
  for task in parts:
    steps = list(task.preprocessors)
    if (
      not isinstance(task.source, IndexedSource)
      or len(steps) != 1
      or not isinstance(steps[0], ClipPreprocessor)
    ):
      raise ValueError(
        f'task {task.name}: not made by `tasks.register`; training '
        'needs examples addressed by number'
      )
    # One batch holds examples of all of them, made by the first one's rules.
    if (steps, task.output_features) != (
      list(parts[0].preprocessors),
      parts[0].output_features,
    ):
      raise ValueError(
        f'mixture {name}: tasks {parts[0].name} and {task.name} differ in '
        'frames or vocabulary'
      )
  return parts, rates


def training_batches(
  name: str,
  config: Any,
  start_step: int,
  train_steps: int,
  process_index: int,
  process_count: int,
) -> tf.data.Dataset:
  """Batches of one process, from start_step to train_steps."""
  parts, rates = _components(name)
  tables = [task.source.table for task in parts]
  sizes = tuple(map(len, tables))

  def read(step: np.integer) -> tuple[np.ndarray, ...]:
    numbers = order.local_numbers(
      int(step), config.batch_size, process_index, process_count
    )
    chosen, indices = order.draw(numbers, rates, sizes, config.seed)
    seeds = example_seeds(numbers, config.seed)
    return raw_arrays(*lookup(tables, chosen, indices), seeds)

  make = _maker(parts[0], config)

  @_as_written
  def batch(step: tf.Tensor) -> Batch:
    return make(raw_batch(tf.numpy_function(read, [step], RAW_TYPES)))

  return _ahead(tf.data.Dataset.range(start_step, train_steps), batch)


def _maker(task: seqio.Task, config: Any) -> Callable[[Batch], Batch]:
  """Raw batch -> model features."""
  convert = features.CONVERTERS.get(config.converter)
  if convert is None:
    raise ValueError(
      f'converter {config.converter!r} is none of {sorted(features.CONVERTERS)}'
    )
  lengths = dict(config.task_feature_lengths)
  preprocessor = seqio.utils.add_kwargs_to_transform(
    task.preprocessors[0],
    output_features=task.output_features,
    sequence_length=lengths,
  )
  return lambda raw: convert(preprocessor.batch(raw), lengths)


def arrays(batches: tf.data.Dataset) -> Iterator[dict[str, np.ndarray]]:
  """Batches as arrays.

  Raises:
    ValueError: What Python said while a batch was made, without the trace that
      TensorFlow makes of it.
  """
  try:
    yield from batches.as_numpy_iterator()
  except tf.errors.InvalidArgumentError as error:
    said = re.search(r'ValueError: (.*)', error.message)
    if said is None:
      raise
    raise ValueError(said[1]) from error


def _ahead(
  numbers: tf.data.Dataset, batch: Callable[..., Batch]
) -> tf.data.Dataset:
  """Batches in order, some of them made ahead."""
  options = tf.data.Options()
  # There is nothing to tune here, and the thread that would do it sleeps up to
  # a minute at a time: now and then a run waited for it at its end.
  options.autotune.enabled = False
  batches = numbers.map(batch, num_parallel_calls=_AT_ONCE, deterministic=True)
  return batches.with_options(options)


def ordered_batches(
  name: str,
  config: Any,
  process_index: int,
  process_count: int,
) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
  """Every example of one task in order; see `batches.evaluation_batches`."""
  (task,), _ = _components(name)
  table = task.source.table
  mine = np.arange(len(table))[process_index::process_count]
  padded = -len(mine) % config.batch_size
  indices = np.concatenate([mine, np.zeros(padded, np.int64)])
  seeds = example_seeds(indices, config.seed)
  make = _maker(task, config)

  @_as_written
  def made(indices: tf.Tensor, seeds: tf.Tensor) -> Batch:
    return make(task.source.lookup_tf(indices, seeds))

  numbers = tf.data.Dataset.from_tensor_slices((indices, seeds))
  batches = _ahead(numbers.batch(config.batch_size), made)
  for number, batch in enumerate(arrays(batches)):
    first = number * config.batch_size
    rows = mine[first : first + config.batch_size]
    yield [table.ids[row] for row in rows], batch
