"""The tf.data side of the feed (imports TensorFlow and seqio)."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from vidlm.data import features, feed
from vidlm.data.seqio_source import IndexedSource, example_seeds


def _components(name: str) -> tuple[list[seqio.Task], tuple[float, ...]]:
  provider = seqio.get_mixture_or_task(name)
  if isinstance(provider, seqio.Task):
    parts, rates = [provider], (1.0,)
  else:
    parts = list(provider.tasks)
    rates = tuple(float(provider.get_rate(task)) for task in parts)
  for task in parts:
    if not isinstance(task.source, IndexedSource):
      raise ValueError(
        f'task {task.name}: its source is {type(task.source).__name__}; '
        'training needs examples addressed by number (vidlm.data.tasks)'
      )
  return parts, rates


def training_batches(
  name: str,
  config: 'feed.DatasetConfig',
  start_step: int,
  train_steps: int,
  process_index: int,
  process_count: int,
) -> tf.data.Dataset:
  """Batches of one process, from start_step to train_steps."""
  parts, rates = _components(name)
  sizes = tuple(len(task.source.table) for task in parts)

  def numbers(step: np.integer) -> np.ndarray:
    return feed.local_numbers(
      int(step), config.batch_size, process_index, process_count
    )

  def labels(step: np.integer) -> np.ndarray:
    return feed.draw(numbers(step), rates, sizes, config.seed)[0]

  def rows(step: np.integer, c: np.integer) -> tuple[np.ndarray, np.ndarray]:
    chosen, indices = feed.draw(numbers(step), rates, sizes, config.seed)
    mine = chosen == c
    return indices[mine], example_seeds(numbers(step)[mine], config.seed)

  def component(c: int, task: seqio.Task) -> tf.data.Dataset:
    def lookup(step: tf.Tensor) -> dict[str, tf.Tensor]:
      indices, seeds = tf.numpy_function(
        rows, [step, np.int64(c)], [tf.int64, tf.int32]
      )
      indices.set_shape([None])
      seeds.set_shape([None, 2])
      return task.source.lookup_tf(indices, seeds)

    raw = steps().map(lookup, deterministic=True).unbatch()
    return preprocess(task, raw, config.task_feature_lengths)

  def steps() -> tf.data.Dataset:
    return tf.data.Dataset.range(start_step, train_steps)

  streams = [component(c, task) for c, task in enumerate(parts)]
  if len(streams) == 1:
    merged = streams[0]
  else:
    choice = (
      steps()
      .map(
        lambda s: tf.ensure_shape(
          tf.numpy_function(labels, [s], tf.int64), [None]
        ),
        deterministic=True,
      )
      .unbatch()
    )
    merged = tf.data.Dataset.choose_from_datasets(
      streams, choice, stop_on_empty_dataset=True
    )
  share = config.batch_size // process_count
  return _finish(merged, config).batch(share, drop_remainder=True).prefetch(2)


def preprocess(
  task: seqio.Task, raw: tf.data.Dataset, lengths: Any
) -> tf.data.Dataset:
  """Runs a task's own preprocessors over raw examples."""
  dataset = raw
  for step in task.preprocessors:
    dataset = seqio.utils.add_kwargs_to_transform(
      step, sequence_length=dict(lengths), output_features=task.output_features
    )(dataset)
  return dataset


def _finish(
  dataset: tf.data.Dataset, config: 'feed.DatasetConfig'
) -> tf.data.Dataset:
  convert = features.CONVERTERS.get(config.converter)
  if convert is None:
    raise ValueError(
      f'converter {config.converter!r} is none of {sorted(features.CONVERTERS)}'
    )
  lengths = dict(config.task_feature_lengths)
  return dataset.map(
    lambda example: convert(example, lengths),
    num_parallel_calls=2,
    deterministic=True,
  )


def ordered_batches(
  name: str,
  config: 'feed.DatasetConfig',
  process_index: int,
  process_count: int,
) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
  """Every example of one task in order; see `feed.evaluation_batches`."""
  (task,), _ = _components(name)
  table = task.source.table
  mine = np.arange(len(table))[process_index::process_count]
  padded = -len(mine) % config.batch_size
  indices = np.concatenate([mine, np.zeros(padded, np.int64)])
  raw = (
    tf.data.Dataset.from_tensor_slices(
      (indices, example_seeds(indices, config.seed))
    )
    .batch(config.batch_size)
    .map(lambda i, s: task.source.lookup_tf(i, s), deterministic=True)
    .unbatch()
  )
  dataset = preprocess(task, raw, config.task_feature_lengths)
  batches = _finish(dataset, config).batch(config.batch_size).prefetch(2)
  for number, batch in enumerate(batches.as_numpy_iterator()):
    first = number * config.batch_size
    rows = mine[first : first + config.batch_size]
    yield [table.ids[row] for row in rows], batch
