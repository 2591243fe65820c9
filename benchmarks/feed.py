"""Training batches a second: our feed against one in TensorFlow's operations.

  python benchmarks/feed.py --output=benchmarks/results/feed_cpu.json

Both read the same clip set, written here, with all CPUs this process may use:

  ours        `vidlm.data.feed`: a batch at a time, frames by Pillow and OpenCV
  per_example records read as ours; then tf.data maps over single examples,
              seqio's and DMVR's way: parse, decode_jpeg, tf.image.resize,
              seqio's tokenize

  large  256 x 340 pixels, 8 of 16 frames, scale jitter and crop to 224: what
         the paper's dual encoder sees; nothing can be kept
  small  48 pixels, 4 of 8 frames as they are: the miniature's; ours has
         decoded every clip before it is timed, and keeps them

Before anything is timed, the small frames must be the same to the bit. Then
both take turns, each from its making to its last batch: what it would make
ahead after that is nobody's gain. CPU time is that of all threads together.
"""

import argparse
import dataclasses
import io
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import PIL.Image

from vidlm.core import circumstances, files, processes
from vidlm.data.feed import batches as feed
from vidlm.data.feed import order, seqio_import, tasks, vocabulary
from vidlm.data.feed import pixels as preprocess
from vidlm.data.store import clip_schema, clip_writer

with seqio_import.quietly():
  import seqio
  import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Case:
  """A clip set and what is taken of it."""

  name: str
  clips: int
  stored: int
  height: int
  width: int
  batch_size: int
  steps: int
  frames: tasks.FrameOptions


CASES = (
  Case('large', 64, 16, 256, 340, 16, 80, tasks.FrameOptions(8, 224, True)),
  Case('small', 512, 8, 48, 48, 64, 300, tasks.FrameOptions(4, 48)),
)


def write_set(case: Case, folder: str) -> feed.DatasetConfig:
  """Writes clips of smooth grain, with a sentence each."""
  rng = np.random.default_rng(0)
  y, x = np.mgrid[: case.height, : case.width]

  def jpeg() -> bytes:
    base = 127 + 60 * np.sin(x / 7 + rng.uniform(0, 6)) + y % 50
    base += rng.normal(0, 6, base.shape)
    pixels = np.stack([base, base[:, ::-1], 255 - base], -1).clip(0, 255)
    out = io.BytesIO()
    PIL.Image.fromarray(pixels.astype(np.uint8)).save(out, 'JPEG', quality=90)
    return out.getvalue()

  rows = [
    clip_schema.ClipRow(
      f'clip{i}',
      'drawn',
      0.0,
      case.stored / 2,
      tuple(jpeg() for _ in range(case.stored)),
      tuple(t / 2 for t in range(case.stored)),
      texts=(f'a small grey wave number {i} moves slowly to the left',),
    )
    for i in range(case.clips)
  ]
  clip_writer.write_clips(rows, os.path.join(folder, case.name))
  made = vocabulary.train_sentencepiece(
    [text for row in rows for text in row.texts],
    os.path.join(folder, f'{case.name}.model'),
    256,
    'bpe',
  )
  task = tasks.ClipTask(f'feed_{case.name}', made, folder, clips=case.name)
  return feed.DatasetConfig(
    task, {'inputs': 16, 'targets': 32}, case.batch_size, frames=case.frames
  )


def per_example(
  config: feed.DatasetConfig, steps: int
) -> Iterator[dict[str, np.ndarray]]:
  """The same batches' frames and captions by TensorFlow's operations."""
  table = config.mixture_or_task.examples()
  vocab = config.mixture_or_task.vocabulary.seqio
  options, length = config.frames, config.task_feature_lengths['targets']
  size = options.image_size

  def read(step: np.integer) -> tuple[np.ndarray, ...]:
    numbers = order.local_numbers(int(step), config.batch_size, 0, 1)
    drawn = order.draw(numbers, (1.0,), (len(table),), config.seed)[1]
    records, _, texts = table.lookup(drawn)
    captions = [each[0].encode() for each in texts]
    return np.array(records, object), np.array(captions, object), drawn

  def lookup(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
    raw = tf.numpy_function(read, [step], [tf.string, tf.string, tf.int64])
    return tuple(tf.ensure_shape(x, [None]) for x in raw)

  def frames(record: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    sequence = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
    stored = tf.io.parse_single_example(record, {'frames': sequence})['frames']
    t, n = options.num_frames, tf.shape(stored)[0]
    chosen = (2 * tf.range(t) + 1) * n // (2 * t)
    decoded = tf.stack(
      [
        tf.io.decode_jpeg(stored[chosen[i]], 3, dct_method='INTEGER_ACCURATE')
        for i in range(t)
      ]
    )
    return jitter(decoded, number) if options.augment else decoded

  def jitter(decoded: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
    seed = tf.stack([number, 1])
    shape = tf.cast(tf.shape(decoded)[1:3], tf.float32)
    factors = tf.random.stateless_uniform([2], seed, *preprocess.JITTER)
    scaled = shape * round(size * 256 / 224) / tf.reduce_min(shape) * factors
    new = tf.maximum(tf.cast(tf.round(scaled), tf.int32), size)
    out = tf.image.resize(decoded, new, antialias=True)
    room = tf.cast(new - size + 1, tf.float32)
    place = tf.random.stateless_uniform([2], seed + 1) * room
    top, left = tf.unstack(tf.cast(place, tf.int32))
    out = out[:, top : top + size, left : left + size]
    return tf.cast(tf.round(out), tf.uint8)

  def example(
    record: tf.Tensor, text: tf.Tensor, number: tf.Tensor
  ) -> dict[str, tf.Tensor]:
    shown = frames(record, number)
    shown = tf.ensure_shape(shown, [options.num_frames, size, size, 3])
    return {'frames': shown, 'targets': text}

  def pad(features: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    ids = features['targets']
    ids = tf.pad(ids, [[0, length - tf.shape(ids)[0]]])
    return {
      'frames': features['frames'],
      'decoder_target_tokens': tf.ensure_shape(ids, [length]),
    }

  outputs = {'targets': seqio.Feature(vocab, add_eos=True)}
  dataset = tf.data.Dataset.range(steps).map(lookup).unbatch()
  dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE)
  dataset = seqio.preprocessors.tokenize(
    dataset, outputs, copy_pretokenized=False
  )
  dataset = seqio.preprocessors.append_eos_after_trim(
    dataset, outputs, {'targets': length}
  )
  dataset = dataset.map(pad, num_parallel_calls=tf.data.AUTOTUNE)
  return dataset.batch(config.batch_size).prefetch(2).as_numpy_iterator()


def check(ours: dict[str, Any], theirs: dict[str, Any], same: bool) -> None:
  """The batches are of one kind, and equal where nothing is drawn."""
  for name, value in theirs.items():
    assert ours[name].shape == value.shape, name
    if same or name != 'frames':
      np.testing.assert_array_equal(ours[name], value)


def measure(case: Case, folder: str, steps: int, repeats: int) -> Any:
  """A row: clips a second, and CPU milliseconds a clip, of both."""
  config = write_set(case, folder)
  make = {
    'ours': lambda n: feed.make_feed(config, n)(0),
    'per_example': lambda n: per_example(config, n),
  }
  # Two epochs: ours has seen every clip.
  seen = {}
  for name, batches in make.items():
    seen[name], *_ = batches(2 * case.clips // case.batch_size)
  check(seen['ours'], seen['per_example'], not case.frames.augment)
  rates: dict[str, list[float]] = {name: [] for name in make}
  costs: dict[str, list[float]] = {name: [] for name in make}
  for _ in range(repeats):
    for name, batches in make.items():
      began, cpu = time.perf_counter(), time.process_time()
      taken = sum(len(batch['frames']) for batch in batches(steps))
      rates[name].append(taken / (time.perf_counter() - began))
      costs[name].append(1e3 * (time.process_time() - cpu) / taken)
  median = {name: statistics.median(rates[name]) for name in make}
  return {
    'case': case.name,
    'clips_per_second': median,
    'cpu_ms_per_clip': {n: statistics.median(c) for n, c in costs.items()},
    'times_faster': median['ours'] / median['per_example'],
  }


def main(argv: Sequence[str] | None = None) -> None:
  """Measures both cases and writes them down."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--steps', type=int, help='of a turn')
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--cases', nargs='+', default=[c.name for c in CASES])
  args = parser.parse_args(argv)
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for case in CASES:
      if case.name in args.cases:
        row = measure(case, folder, args.steps or case.steps, args.repeats)
        rows.append(row)
        shown = row['clips_per_second']
        print(
          f'{case.name}: ours {shown["ours"]:.0f} clips/s, per example '
          f'{shown["per_example"]:.0f}: {row["times_faster"]:.1f}x',
          flush=True,
        )
  result = {
    'command': ' '.join(['python', *sys.argv]),
    'machine': {
      'processor': circumstances.processor(),
      'cpus_used': processes.cpus(),
      'tensorflow': tf.__version__,
      'pillow': PIL.__version__,
    },
    'results': rows,
  }
  files.write_json(args.output, result)


if __name__ == '__main__':
  main()
