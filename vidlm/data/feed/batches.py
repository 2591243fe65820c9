"""Batches for training: batch k is a pure function of (seed, k).

The global batch is split over processes by position, so 1, 2 or 8 processes
see the same global batches; a resumed run starts at its step and reads
nothing it has consumed.
"""

import collections
import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from jaxtyping import Int

from vidlm.core import prefetch, ranges
from vidlm.data.feed import (
  coverage,
  examples,
  features,
  fingerprint,
  first_look,
  frame_cache,
  order,
  seqio_import,
  tasks,
)

Batch = dict[str, np.ndarray]
Feed = Callable[[int], Iterator[Batch]]


@dataclasses.dataclass(frozen=True)
class DatasetConfig:
  """What to train on (t5x's `DatasetConfig`, with frames).

  Attributes:
    mixture_or_task: A task, a mixture, or the name of one, also of seqio's.
    task_feature_lengths: Tokens of 'inputs' and 'targets'.
    batch_size: Examples of a global batch.
    seed: Decides the order, the augmentation and the choice of captions.
    frames: How frames are sampled.
    converter: 'encoder_decoder' for the VLM; 'dual_encoder' for two towers.
    allow_missing: Whether a set may keep less than a tenth of its rows.
    is_new: Whether this is a run that begins: it is refused if a prompt would
      be cut, while one that began so goes on as it did.
  """

  mixture_or_task: Any
  task_feature_lengths: Annotated[
    Mapping[str, ranges.Size], ranges.Called('TASK_FEATURE_LENGTHS')
  ]
  batch_size: Annotated[ranges.Size, ranges.Called('BATCH_SIZE')]
  seed: Annotated[ranges.Seed, ranges.Called('RANDOM_SEED')] = 0
  frames: frame_cache.FrameOptions = frame_cache.FrameOptions()
  converter: str = 'encoder_decoder'
  allow_missing: bool = False
  is_new: bool = False

  def __post_init__(self) -> None:
    ranges.check(self)


@dataclasses.dataclass(frozen=True, eq=False)
class OwnFeed:
  """A feed whose examples are known: of our tasks, not of seqio's alone.

  Attributes:
    feed: start_step -> batches.
    sets: A line for each set, see `fingerprint`.
    examples: How many there are in all.
  """

  feed: Feed
  sets: Sequence[str]
  examples: int

  def __call__(self, start_step: int) -> Iterator[Batch]:
    return self.feed(start_step)


def make_feed(
  config: DatasetConfig,
  train_steps: int,
  process_index: int = 0,
  process_count: int = 1,
) -> Feed:
  """Returns start_step -> this process's batches from that step on.

  A name that only seqio knows is trained on through seqio's own pipeline,
  whose order is its own (`seqio_pipeline`). The first process says what the
  sets have, and what of it is lost (`first_look`).

  Raises:
    FileNotFoundError: If a clip set or a vocabulary isn't there.
    ValueError: If the batch can't be split over the processes, or the task
      isn't known, can't be trained on, or is next to nothing of its set.
  """
  if config.batch_size % process_count:
    raise ValueError(
      f'BATCH_SIZE={config.batch_size} does not divide over {process_count} '
      'processes'
    )
  maker = _maker(config)
  if maker is not None and process_index == 0:
    first_look.say(maker.parts, config, train_steps)
  if maker is None:
    with seqio_import.quietly():
      from vidlm.data.feed import seqio_pipeline
    return seqio_pipeline.make_feed(
      config, train_steps, process_index, process_count
    )

  def feed(start_step: int) -> Iterator[Batch]:
    numbers = (
      order.local_numbers(step, config.batch_size, process_index, process_count)
      for step in range(start_step, train_steps)
    )
    return _one_ahead(map(maker.start, numbers))

  examples_ = sum(len(part.table) for part in maker.parts)
  return OwnFeed(feed, fingerprint.lines(maker.parts), examples_)


def evaluation_batches(
  config: DatasetConfig, process_index: int = 0, process_count: int = 1
) -> Iterator[tuple[list[str], Batch]]:
  """Every example of a task once, in order, the last batch padded.

  Yields:
    The ids of the real examples, and a batch of `batch_size` examples.

  Raises:
    ValueError: For a mixture, or a task that only seqio knows.
  """
  maker = _maker(config)
  if maker is None or len(maker.parts) > 1:
    name = getattr(config.mixture_or_task, 'name', config.mixture_or_task)
    raise ValueError(
      f'{name}: need a single task over a clip set to go through in order'
    )
  table, size = maker.parts[0].table, config.batch_size
  mine = np.arange(len(table))[process_index::process_count]
  padded = np.concatenate([mine, np.zeros(-len(mine) % size, np.int64)])
  batches = prefetch.prefetch(
    _one_ahead(map(maker.start_in_order, padded.reshape(-1, size)))
  )
  for first, batch in zip(range(0, len(mine), size), batches, strict=True):
    yield [table.ids[row] for row in mine[first : first + size]], batch


def prompts(config: DatasetConfig) -> dict[str, list[str]]:
  """The prompts of what is trained on; none of two towers, or seqio's tasks.

  See `tasks.prompts`.
  """
  task = config.mixture_or_task
  if isinstance(task, str):
    task = tasks.described(task)
  if task is None or config.converter != 'encoder_decoder':
    return {}
  return tasks.prompts(task)


def take(feed: Feed, steps: int, start_step: int = 0) -> list[dict[str, Any]]:
  """The first few batches of a feed, for a look or a test."""
  return list(itertools.islice(feed(start_step), steps))


def _maker(config: DatasetConfig) -> '_Maker | None':
  """What makes batches of a task; None if only seqio can."""
  if config.converter not in features.CONVERTERS:
    raise ValueError(
      f'converter {config.converter!r} is none of {sorted(features.CONVERTERS)}'
    )
  task, frames = config.mixture_or_task, config.frames
  if isinstance(task, str):
    name, task = task, tasks.described(task)
    if task is None:
      found = _in_seqio(name)
      return found and _Maker(config, *found)
  else:
    tasks.describe(task)
  return _Maker(config, tasks.components(task), frames)


def _in_seqio(
  name: str,
) -> tuple[list[examples.Component], frame_cache.FrameOptions] | None:
  """Our tasks behind a name of seqio's; None if they are somebody else's."""
  try:
    with seqio_import.quietly():
      from vidlm.data.feed import seqio_view
  except ValueError as error:
    known = ', '.join(tasks.names()) or 'none'
    raise ValueError(
      f'MIXTURE_OR_TASK={name!r}: no task or mixture of that name is described '
      f'here ({known} are), and in seqio there is no looking: {error}'
    ) from error
  return seqio_view.components(seqio_view.provider(name))


class _Maker:
  """Batches of the examples of one task or mixture."""

  def __init__(
    self,
    config: DatasetConfig,
    parts: Sequence[examples.Component],
    frames: frame_cache.FrameOptions,
  ):
    first_look.check(parts, config)
    for part in parts:
      name = f'task {part.name}'
      coverage.check(name, part.table.coverage, config.allow_missing)
    self.parts = parts
    self._config = config
    self._frames = frames
    self._tables = [part.table for part in parts]
    self._sizes = tuple(map(len, self._tables))
    self._rates = tuple(part.rate for part in parts)
    self._convert = features.CONVERTERS[config.converter]

  def start(self, numbers: Int[np.ndarray, 'b']) -> Callable[[], Batch]:
    """Starts a batch of global example numbers."""
    seed = self._config.seed
    chosen, indices = order.draw(numbers, self._rates, self._sizes, seed)
    return self._start(chosen, indices, order.example_seeds(numbers, seed))

  def start_in_order(self, rows: Int[np.ndarray, 'b']) -> Callable[[], Batch]:
    """Starts a batch of rows of the only table."""
    seeds = order.example_seeds(rows, self._config.seed)
    return self._start(np.zeros_like(rows), rows, seeds)

  def _start(
    self,
    chosen: Int[np.ndarray, 'b'],
    indices: Int[np.ndarray, 'b'],
    seeds: Int[np.ndarray, 'b 2'],
  ) -> Callable[[], Batch]:
    read = examples.lookup(self._tables, chosen, indices)
    lengths = self._config.task_feature_lengths
    finish = features.start(
      features.Raw(*read, seeds),
      self.parts[0].vocabulary,
      self._frames,
      lengths,
    )

    return lambda: self._convert(finish(), lengths)


def _one_ahead(started: Iterable[Callable[[], Batch]]) -> Iterator[Batch]:
  """Waits for batches in order, the next one's frames in the making.

  So all CPUs decode while this thread reads and tokenizes.
  """
  waiting: collections.deque[Callable[[], Batch]] = collections.deque()
  for finish in started:
    waiting.append(finish)
    if len(waiting) > 1:
      yield waiting.popleft()()
  for finish in waiting:
    yield finish()
