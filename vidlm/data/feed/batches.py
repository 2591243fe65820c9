"""Batches for training: batch k is a pure function of (seed, k).

The global batch is split over processes by position, so 1, 2 or 8 processes
see the same global batches; a resumed run starts at its step and reads
nothing it has consumed.
"""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from vidlm.data.feed import tasks

Feed = Callable[[int], Iterator[dict[str, np.ndarray]]]


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
  """What to train on (t5x's `DatasetConfig`, with frames).

  Attributes:
    mixture_or_task: A task, a mixture, or the name of one in seqio.
    task_feature_lengths: Tokens of 'inputs' and 'targets'.
    batch_size: Examples of a global batch.
    seed: Of the order, the augmentation and the choice of captions.
    frames: How frames are sampled.
    converter: 'encoder_decoder' for the VLM; 'dual_encoder' for two towers.
  """

  mixture_or_task: Any
  task_feature_lengths: Mapping[str, int]
  batch_size: int
  seed: int = 0
  frames: tasks.FrameOptions = tasks.FrameOptions()
  converter: str = 'encoder_decoder'


def make_feed(
  config: DatasetConfig,
  train_steps: int,
  process_index: int = 0,
  process_count: int = 1,
) -> Feed:
  """Returns start_step -> this process's batches from that step on.

  Raises:
    ValueError: If the batch can't be split over the processes.
  """
  # gin hands over whatever it was given.
  if not isinstance(config.batch_size, int) or config.batch_size < 1:
    raise ValueError(
      f'BATCH_SIZE={config.batch_size!r}: need a whole number of examples'
    )
  if config.batch_size % process_count:
    raise ValueError(
      f'BATCH_SIZE={config.batch_size} does not divide over {process_count} '
      'processes'
    )
  from vidlm.data.feed import tf_batches

  name = tasks.register(config.mixture_or_task, config.frames)

  def feed(start_step: int) -> Iterator[dict[str, np.ndarray]]:
    return tf_batches.arrays(
      tf_batches.training_batches(
        name, config, start_step, train_steps, process_index, process_count
      )
    )

  return feed


def evaluation_batches(
  config: DatasetConfig, process_index: int = 0, process_count: int = 1
) -> Iterator[tuple[list[str], dict[str, np.ndarray]]]:
  """Every example of a task once, in order, the last batch padded.

  Yields:
    The ids of the real examples, and a batch of `batch_size` examples.
  """
  from vidlm.data.feed import tf_batches

  name = tasks.register(config.mixture_or_task, config.frames)
  yield from tf_batches.ordered_batches(
    name, config, process_index, process_count
  )


def take(feed: Feed, steps: int, start_step: int = 0) -> list[dict[str, Any]]:
  """The first few batches of a feed, for a look or a test."""
  return list(itertools.islice(feed(start_step), steps))
