"""Our tasks in seqio's registries: the feed's examples, in the feed's order.

Imports seqio and TensorFlow. Training doesn't come this way: it is for people
who look at a task, or use it, with seqio's tools. What a dataset of a
registered task gives is made by the functions of the feed, one example at a
time, and with `shuffle=True` in the order of a run with that seed.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from vidlm.data.feed import examples, features, frame_cache, order, tokens

Read = Callable[[], examples.ExampleTable]

# AutoGraph would rewrite the Python that a `tf.numpy_function` calls as well.
_as_written = tf.autograph.experimental.do_not_convert
_ENDLESS = np.iinfo(np.int64).max


class IndexedSource(seqio.DataSource):
  """Serves raw examples {record, inputs, texts, seed} of a table.

  The table is read when it is first used, so a module can register the tasks
  of sets that are not on this machine.
  """

  def __init__(self, read: Read, split: str = 'train'):
    super().__init__(splits=(split,))
    self._read = read

  @functools.cached_property
  def table(self) -> examples.ExampleTable:
    """The examples."""
    return self._read()

  @property
  def supports_arbitrary_sharding(self) -> bool:
    return False

  def num_input_examples(self, split: str) -> int:
    del split  # it has one
    return len(self.table)

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
    """Raw examples in order, or in the order of the feed."""
    del split
    return _raw_examples(
      [self.table], (1.0,), shuffle, seed or 0, shard_info, num_epochs
    )


@dataclasses.dataclass(frozen=True)
class ClipPreprocessor:
  """All a clip task does to raw examples.

  Attributes:
    vocabulary: What encodes the texts.
    frames: How frames are sampled.
    sequence_length: Most tokens of 'inputs' and 'targets'; seqio fills it in.
      None cuts nothing.
  """

  vocabulary: tokens.TextVocabulary
  frames: frame_cache.FrameOptions
  sequence_length: Mapping[str, int] | None = None

  def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Adds `frames`, `frame_mask`, and `inputs` and `targets` as ids."""
    size = self.frames.image_size
    shapes = {
      'frames': ((self.frames.num_frames, size, size, 3), tf.uint8),
      'frame_mask': ((self.frames.num_frames,), tf.bool),
      'inputs': ((None,), tf.int32),
      'targets': ((None,), tf.int32),
      'targets_pretokenized': ((), tf.string),
    }

    def make(example: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
      made = tf.numpy_function(
        self._features,
        [example[name] for name in ('record', 'inputs', 'texts', 'seed')],
        [dtype for _, dtype in shapes.values()],
      )
      for tensor, (shape, _) in zip(made, shapes.values(), strict=True):
        tensor.set_shape(shape)
      named = dict(zip(shapes, made, strict=True))
      return {**example, 'inputs_pretokenized': example['inputs'], **named}

    return dataset.map(_as_written(make), tf.data.AUTOTUNE)

  def _features(
    self, record: bytes, prompt: bytes, texts: np.ndarray, seed: np.ndarray
  ) -> tuple[Any, ...]:
    raw = features.Raw(
      [record], [prompt.decode()], [[t.decode() for t in texts]], seed[None]
    )
    lengths = self.sequence_length or {}
    made = features.start(raw, self.vocabulary, self.frames, lengths)()
    return (
      made.frames[0],
      made.frame_mask[0],
      np.array(made.inputs[0], np.int32),
      np.array(made.targets[0], np.int32),
      features.chosen_texts(raw)[0].encode(),
    )


class ClipTask(seqio.Task):
  """A task whose shuffled examples come as in the feed, epoch after epoch."""

  def get_dataset(
    self,
    sequence_length: Mapping[str, int] | None = None,
    split: str = 'train',
    use_cached: bool = False,
    shuffle: bool = True,
    shuffle_buffer_size: int | None = None,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    num_epochs: int | None = 1,
    trim_output_features: bool = True,
    try_in_mem_cache: bool = True,
  ) -> tf.data.Dataset:
    """As `seqio.Task.get_dataset`; nothing is buffered or cached."""
    del use_cached, shuffle_buffer_size, try_in_mem_cache
    if split not in self.splits:
      raise ValueError(f'task {self.name}: no split {split!r}')
    raw = self.source.get_dataset(split, shuffle, seed, shard_info, num_epochs)
    return _cut(self, raw, sequence_length, trim_output_features)


class ClipMixture(seqio.Mixture):
  """A mixture that is drawn, shuffled and without an end, as in the feed."""

  def get_dataset(
    self,
    sequence_length: Mapping[str, int] | None = None,
    split: str = 'train',
    use_cached: bool = False,
    shuffle: bool = True,
    seed: int | None = None,
    shard_info: seqio.ShardInfo | None = None,
    num_epochs: int | None = None,
    **more: Any,
  ) -> tf.data.Dataset:
    """As `seqio.Mixture.get_dataset`, which does what isn't of the feed."""
    if not shuffle or num_epochs is not None:
      return super().get_dataset(
        sequence_length,
        split,
        use_cached,
        shuffle,
        seed,
        shard_info,
        num_epochs,
        **more,
      )
    found = components(self)
    if found is None:
      raise ValueError(f'mixture {self.name}: not all of its tasks are ours')
    parts, _ = found
    raw = _raw_examples(
      [part.table for part in parts],
      tuple(part.rate for part in parts),
      shuffle,
      seed or 0,
      shard_info,
      num_epochs,
    )
    return _cut(self.tasks[0], raw, sequence_length, trim=True)


def _cut(
  task: seqio.Task,
  raw: tf.data.Dataset,
  sequence_length: Mapping[str, int] | None,
  trim: bool,
) -> tf.data.Dataset:
  made = task.preprocess_postcache(raw, sequence_length)
  if not trim:
    return made
  return seqio.trim_dataset(made, sequence_length, task.output_features)


def _raw_examples(
  tables: Sequence[examples.ExampleTable],
  rates: tuple[float, ...],
  shuffle: bool,
  seed: int,
  shard_info: seqio.ShardInfo | None,
  num_epochs: int | None,
) -> tf.data.Dataset:
  """Examples one after the other, each by its global number."""
  sizes = tuple(map(len, tables))

  def read(number: np.integer) -> tuple[Any, ...]:
    numbers = np.array([number], np.int64)
    chosen, indices = np.zeros_like(numbers), numbers % sizes[0]
    if shuffle:
      chosen, indices = order.draw(numbers, rates, sizes, seed)
    (record,), (prompt,), (texts,) = examples.lookup(tables, chosen, indices)
    encoded = np.array([text.encode() for text in texts], object)
    return (
      record,
      prompt.encode(),
      encoded,
      order.example_seeds(numbers, seed)[0],
    )

  def raw(number: tf.Tensor) -> dict[str, tf.Tensor]:
    shapes = {'record': (), 'inputs': (), 'texts': (None,), 'seed': (2,)}
    types = [tf.string, tf.string, tf.string, tf.int32]
    made = tf.numpy_function(read, [number], types)
    for tensor, shape in zip(made, shapes.values(), strict=True):
      tensor.set_shape(shape)
    return dict(zip(shapes, made, strict=True))

  end = _ENDLESS if num_epochs is None else sum(sizes) * num_epochs
  first, step = (
    (shard_info.index, shard_info.num_shards) if shard_info else (0, 1)
  )
  return tf.data.Dataset.range(first, end, step).map(_as_written(raw))


def add_task(
  name: str,
  read: Read,
  split: str,
  vocabulary: tokens.TextVocabulary,
  frames: frame_cache.FrameOptions,
) -> None:
  """Puts a task into seqio's registry, in place of one of that name."""
  text = functools.partial(seqio.Feature, vocabulary=vocabulary.seqio)
  seqio.TaskRegistry.remove(name)
  seqio.TaskRegistry.add(
    name,
    source=IndexedSource(read, split),
    preprocessors=[ClipPreprocessor(vocabulary, frames)],
    output_features={
      # What ends a prompt is in `prompt_ends`, the end of a text or another.
      'inputs': text(add_eos=vocabulary.prompt_format == 't5', required=False),
      'targets': text(add_eos=True),
      'frames': seqio.ContinuousFeature(dtype=tf.uint8, rank=4),
      'frame_mask': seqio.ContinuousFeature(dtype=tf.bool, rank=1),
    },
    metric_fns=[],
    task_cls=ClipTask,
    shuffle_buffer_size=None,
  )


def add_mixture(name: str, rates: Sequence[tuple[str, float]]) -> None:
  """Puts a mixture into seqio's registry, in place of one of that name."""
  seqio.MixtureRegistry.remove(name)
  seqio.MixtureRegistry.add(name, rates, mixture_cls=ClipMixture)


def provider(name: str) -> seqio.Task | seqio.Mixture:
  """The task or mixture of a name.

  Raises:
    ValueError: If there is none.
  """
  return seqio.get_mixture_or_task(name)


def components(
  found: seqio.Task | seqio.Mixture,
) -> tuple[list[examples.Component], frame_cache.FrameOptions] | None:
  """What the feed makes batches of, and how frames are sampled.

  None where a task isn't of `add_task`: its examples have no numbers.

  Raises:
    ValueError: If tasks of a mixture differ in frames or vocabulary.
  """
  rated = (
    [(found, 1.0)]
    if isinstance(found, seqio.Task)
    else [(task, float(found.get_rate(task))) for task in found.tasks]
  )
  parts, frames = [], []
  for task, rate in rated:
    steps = list(task.preprocessors)
    if not isinstance(task.source, IndexedSource) or [
      type(step) for step in steps
    ] != [ClipPreprocessor]:
      return None
    table, vocabulary = task.source.table, steps[0].vocabulary
    parts.append(examples.Component(task.name, table, vocabulary, rate))
    frames.append(steps[0].frames)
  for part, options in zip(parts, frames, strict=True):
    # One batch holds examples of all of them, made by the first one's rules.
    if options != frames[0]:
      raise ValueError(
        f'mixture {found.name}: tasks {parts[0].name} and {part.name} differ '
        'in frames or vocabulary'
      )
  examples.check_alike(found.name, parts)
  return parts, frames[0]
