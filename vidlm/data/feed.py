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

from vidlm.data import order, tasks

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
  from vidlm.data import tf_feed

  name = tasks.register(config.mixture_or_task, config.frames)

  def feed(start_step: int) -> Iterator[dict[str, np.ndarray]]:
    return tf_feed.arrays(
      tf_feed.training_batches(
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
  from vidlm.data import tf_feed

  name = tasks.register(config.mixture_or_task, config.frames)
  yield from tf_feed.ordered_batches(name, config, process_index, process_count)


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
    return np.zeros_like(numbers), order.shuffled(numbers, sizes[0], seed)
  chosen, ordinals = order.components(numbers, rates, seed)
  indices = np.empty_like(ordinals)
  for c in range(len(rates)):
    mine = chosen == c
    if mine.any():
      indices[mine] = order.shuffled(ordinals[mine], sizes[c], seed, c)
  return chosen, indices


def take(feed: Feed, steps: int, start_step: int = 0) -> list[dict[str, Any]]:
  """The first few batches of a feed, for a look or a test."""
  return list(itertools.islice(feed(start_step), steps))
