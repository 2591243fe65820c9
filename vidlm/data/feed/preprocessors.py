"""From raw examples to features, a batch at a time, in tf.data.

This module imports TensorFlow; import it inside functions only. A function
here takes and gives a batch: TensorFlow's cost is by the operation, so that a
batch costs little more than an example. Randomness is keyed by the example's
own `seed`, never by its position in a stream, so an example is augmented the
same way however the job is split.

  record string[b]  inputs string[b]  texts string[b, (texts)]  seed int32[b, 2]
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import seqio
import tensorflow as tf

from vidlm.data.feed import frame_cache, order

Batch = dict[str, Any]

_CHUNK = 64  # examples that seqio's own use takes at a time


@dataclasses.dataclass(frozen=True)
class ClipPreprocessor:
  """All a clip task does to raw examples, one at a time or in batches.

  Attributes:
    frames: `tasks.FrameOptions`.
    prompt_ends: Ids before and after a prompt, for vocabularies that don't
      end it in </s>.
    output_features: Of the task; seqio fills it in.
    sequence_length: Of 'inputs' and 'targets'; seqio fills it in. None cuts
      nothing.
  """

  frames: Any
  prompt_ends: tuple[Sequence[int], Sequence[int]] | None = None
  output_features: Mapping[str, seqio.Feature] | None = None
  sequence_length: Mapping[str, int] | None = None

  def batch(self, batch: Batch) -> Batch:
    """Raw examples -> features; tokens are ragged, int32[b, (l)]."""
    assert self.output_features is not None
    batch = choose_text(clip_frames(batch, self.frames))
    batch = seqio.preprocessors.tokenize_impl(batch, self.output_features)
    if self.prompt_ends is not None:
      batch = frame_prompt(batch, self.sequence_length, *self.prompt_ends)
    return seqio.preprocessors.append_eos_after_trim_impl(
      batch, self.output_features, self.sequence_length
    )

  def __call__(self, dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The same of a dataset of examples, for `seqio.Task.get_dataset`."""
    features = tf.autograph.experimental.do_not_convert(self.batch)
    return dataset.ragged_batch(_CHUNK).map(features).unbatch()


def clip_frames(batch: Batch, options: Any) -> Batch:
  """Adds `frames` uint8[b, T, H, W, 3] and `frame_mask` bool[b, T]."""
  size = options.image_size

  def decode(
    stored: np.ndarray, seeds: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray]:
    return frame_cache.batch_frames(
      stored.tolist(),
      seeds,
      num_frames=options.num_frames,
      image_size=size,
      augment=options.augment,
      cache_bytes=options.cache_mib << 20,
    )

  frames, mask = tf.numpy_function(
    decode, [batch['record'], batch['seed']], [tf.uint8, tf.bool]
  )
  frames.set_shape((None, options.num_frames, size, size, 3))
  mask.set_shape((None, options.num_frames))
  return {**batch, 'frames': frames, 'frame_mask': mask}


def choose_text(batch: Batch) -> Batch:
  """Draws `targets` from the texts of each example: one at random each time."""
  texts = batch['texts']
  chosen = tf.numpy_function(
    order.draws, [batch['seed'], texts.row_lengths()], tf.int64
  )
  targets = tf.gather(texts.flat_values, texts.row_starts() + chosen)
  return {**batch, 'targets': tf.ensure_shape(targets, [None])}


def frame_prompt(
  batch: Batch,
  sequence_length: Mapping[str, int] | None,
  before: Sequence[int],
  after: Sequence[int],
) -> Batch:
  """Puts ids before and after `inputs`, which are cut to leave room for them.

  Args:
    batch: Tokenized examples.
    sequence_length: Has the length of 'inputs'; None cuts nothing.
    before: Such as the beginning of a text.
    after: Such as a newline.
  """
  ends = len(before) + len(after)
  room = sequence_length['inputs'] - ends if sequence_length else None
  ids = batch['inputs'][:, :room]
  around = [
    tf.tile(tf.constant([x], ids.dtype, [1, len(x)]), [ids.nrows(), 1])
    for x in (before, after)
  ]
  return {**batch, 'inputs': tf.concat([around[0], ids, around[1]], 1)}
