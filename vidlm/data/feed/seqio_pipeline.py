"""Batches of tasks that other code put into seqio's registries.

Imports seqio and TensorFlow. Their examples have no numbers, so they come in
the order of `seqio.get_dataset`, and promise less than ours: what batch k holds
depends on the version of seqio, on how the source is sharded over the
processes, and, where a preprocessor draws without a seed, on chance. A resumed
run reads what it has consumed again and drops it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import seqio
import tensorflow as tf
from absl import logging

from vidlm.data.feed import features, first_look, frame_cache, pixels

_SPLIT = 'train'


def make_feed(
  config: Any, train_steps: int, process_index: int, process_count: int
) -> Any:
  """Returns start_step -> batches of one process; see `batches.make_feed`.

  Args:
    config: A `batches.DatasetConfig` whose task is the name of one in seqio.
    train_steps: Where to stop.
    process_index: This process among them.
    process_count: Number of processes.

  Raises:
    ValueError: If the task has no text or frames that could be trained on.
  """
  name = config.mixture_or_task
  provider = seqio.get_mixture_or_task(name)
  _check(provider, config)
  share = config.batch_size // process_count

  def feed(start_step: int) -> Iterator[dict[str, np.ndarray]]:
    logging.info(
      "MIXTURE_OR_TASK %s: through seqio's own pipeline. Its order depends on "
      "seqio's version and on the number of processes%s",
      name,
      f'; {start_step * share} examples are read again and dropped'
      if start_step
      else '',
    )
    dataset = provider.get_dataset(
      dict(config.task_feature_lengths),
      split=_SPLIT,
      shuffle=True,
      seed=config.seed,
      shard_info=seqio.ShardInfo(process_index, process_count),
      num_epochs=None,
    )
    options = tf.data.Options()
    # The thread that tunes sleeps up to a minute at a time: now and then a run
    # waited for it at its end.
    options.autotune.enabled = False
    dataset = dataset.with_options(options).skip(start_step * share)
    batches = _batches(dataset, config, share)
    for step in range(start_step, train_steps):
      yield _next(batches, name, step)

  return feed


def _check(provider: Any, config: Any) -> None:
  """Raises ValueError for what can't be made a batch of."""
  found, name = provider.output_features, provider.name
  if _SPLIT not in provider.splits:
    raise ValueError(
      f'seqio task {name}: no split {_SPLIT!r}, only {sorted(provider.splits)}'
    )
  wanted = {
    'inputs': (tf.int32, 1),
    'targets': (tf.int32, 1),
    'frames': (tf.uint8, 4),
    'frame_mask': (tf.bool, 1),
  }
  for feature, (dtype, rank) in wanted.items():
    known = found.get(feature)
    if known is not None and (known.dtype, known.rank) != (dtype, rank):
      raise ValueError(
        f'seqio task {name}: feature {feature!r} is {known.dtype.name} of rank '
        f'{known.rank}; need {dtype.name} of rank {rank}'
      )
  if 'targets' not in found:
    raise ValueError(
      f"seqio task {name}: no feature 'targets', only {sorted(found)}"
    )
  if 'frames' not in found and config.converter == first_look.DUAL_ENCODER:
    raise ValueError(
      f"seqio task {name}: no feature 'frames', only {sorted(found)}; two "
      'towers would be taught a black picture'
    )
  if 'frames' in found and config.frames.augment:
    raise ValueError(
      f'seqio task {name}: AUGMENT jitters stored JPEG frames; these come '
      'decoded, so augment them in a preprocessor of the task'
    )


def _next(batches: Iterator[Any], name: str, step: int) -> Any:
  try:
    batch = next(batches, None)
  except tf.errors.OpError as error:
    line = error.message.strip().splitlines()[0]
    raise ValueError(f'seqio task {name}: {line}') from error
  if batch is None:
    raise ValueError(f'seqio task {name}: no examples left for step {step}')
  return batch


def _batches(
  dataset: tf.data.Dataset, config: Any, share: int
) -> Iterator[dict[str, np.ndarray]]:
  convert = features.CONVERTERS[config.converter]
  options = config.frames
  contrasts = config.converter == first_look.DUAL_ENCODER
  for batch in _chunks(dataset.as_numpy_iterator(), share):
    frames, masks = zip(*(_frames(x, options) for x in batch), strict=True)
    made = features.Features(
      np.stack(frames),
      np.stack(masks),
      [_ids(example.get('inputs')) for example in batch],
      [_ids(example['targets']) for example in batch],
    )
    if contrasts and not made.frame_mask.any(1).all():
      raise ValueError(
        f'seqio task {config.mixture_or_task}: an example without a frame; two '
        'towers would be taught a black picture, so filter it out'
      )
    yield convert(made, config.task_feature_lengths)


def _ids(row: np.ndarray | None) -> list[int]:
  return [] if row is None else row.tolist()


def _chunks(
  examples: Iterator[dict[str, Any]], length: int
) -> Iterator[list[dict[str, Any]]]:
  batch = []
  for example in examples:
    batch.append(example)
    if len(batch) == length:
      yield batch
      batch = []


def _frames(
  example: dict[str, Any], options: frame_cache.FrameOptions
) -> frame_cache.Frames:
  """T frames of an example, sampled, scaled and cut as a clip's are."""
  t, size = options.num_frames, options.image_size
  frames = example.get('frames')
  if frames is None or not len(frames):
    return np.zeros((t, size, size, 3), np.uint8), np.zeros(t, bool)
  mask = example.get('frame_mask')
  if mask is not None and frames.shape == (t, size, size, 3):
    return frames, mask
  if mask is not None:
    frames = frames[mask]
  return pixels.eval_frames(frames, t, size)
