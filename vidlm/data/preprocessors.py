"""From a raw example to model-ready features, in tf.data.

This module imports TensorFlow; import it inside functions only. Randomness is
stateless and keyed by the example's own `seed`, never by its position in a
stream, so an example is augmented the same way however the job is split.
"""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from vidlm.data import sampling

JITTER = (0.9, 1.33)
_CROP_RATIO = 256 / 224  # DMVR's min_resize over its crop (facts of Scenic)


def parse_clip(
  example: dict[str, tf.Tensor],
  *,
  num_frames: int,
  image_size: int,
  augment: bool,
) -> dict[str, tf.Tensor]:
  """Adds `frames` uint8[T, H, W, 3] and `frame_mask` bool[T].

  Only the T wanted frames of a record are decoded. A record of b'' (text
  without a clip) gives black frames, all masked.
  """
  has_clip = tf.strings.length(example['record']) > 0

  def decode() -> tuple[tf.Tensor, tf.Tensor]:
    encoded = _stored_frames(example['record'])
    stored = tf.shape(encoded)[0]
    indices = sampling.select_frames_tf(stored, num_frames)
    frames = _decode_frames(encoded, indices, num_frames)
    frames = (
      _jitter_and_crop(frames, image_size, example['seed'])
      if augment
      else _resize_and_crop(frames, image_size)
    )
    # An image is one frame: what repeats it to T frames is masked.
    mask = (stored > 1) | (tf.range(num_frames) < 1)
    return frames, mask

  def blank() -> tuple[tf.Tensor, tf.Tensor]:
    shape = (num_frames, image_size, image_size, 3)
    return tf.zeros(shape, tf.uint8), tf.zeros([num_frames], tf.bool)

  frames, mask = tf.cond(has_clip, decode, blank)
  frames.set_shape((num_frames, image_size, image_size, 3))
  mask.set_shape((num_frames,))
  return {**example, 'frames': frames, 'frame_mask': mask}


def _stored_frames(record: tf.Tensor) -> tf.Tensor:
  """JPEG bytes of a record's frames, string[n].

  What `clip_schema.features().deserialize_example` gives, which parses every
  field and takes as long as the decoding of four small frames.
  """
  frames = tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)
  return tf.io.parse_single_example(record, {'frames': frames})['frames']


def _decode_frames(
  encoded: tf.Tensor, indices: tf.Tensor, num_frames: int
) -> tf.Tensor:
  # Unrolled: a tf.map_fn over a handful of frames costs more than decoding.
  return tf.stack(
    [
      tf.io.decode_jpeg(
        encoded[indices[t]], channels=3, dct_method='INTEGER_ACCURATE'
      )
      for t in range(num_frames)
    ]
  )


def _resize_and_crop(frames: tf.Tensor, size: int) -> tf.Tensor:
  """Shorter side to `size` (bilinear, antialiased), centre crop."""
  shape = tf.shape(frames)[1:3]
  short = tf.reduce_min(shape)

  def resize() -> tf.Tensor:
    new = tf.cast(tf.round(shape * size / short), tf.int32)
    out = tf.image.resize(frames, new, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(out), 0, 255), tf.uint8)

  # Resizing to the same size changes nothing and costs more than decoding.
  out = tf.cond(short == size, lambda: frames, resize)
  corner = (tf.shape(out)[1:3] - size) // 2
  top, left = corner[0], corner[1]
  return out[:, top : top + size, left : left + size]


def _jitter_and_crop(
  frames: tf.Tensor, size: int, seed: tf.Tensor
) -> tf.Tensor:
  """DMVR's scale jitter, then a random crop, the same for all frames."""
  shape = tf.shape(frames)
  base = round(size * _CROP_RATIO)
  short = tf.minimum(shape[1], shape[2])
  factors = tf.random.stateless_uniform([2], seed + [0, 1], *JITTER)
  scaled = tf.cast(shape[1:3], tf.float32) * base / tf.cast(short, tf.float32)
  new = tf.cast(tf.round(scaled * factors), tf.int32)
  new = tf.maximum(new, size)
  out = tf.image.resize(frames, new, antialias=True)
  out = tf.cast(tf.clip_by_value(tf.round(out), 0, 255), tf.uint8)
  room = tf.cast(new - size + 1, tf.float32)
  unit = tf.random.stateless_uniform([2], seed + [0, 2])
  corner = tf.cast(unit * room, tf.int32)
  return out[:, corner[0] : corner[0] + size, corner[1] : corner[1] + size]


def choose_text(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """Draws `targets` from the example's texts: one at random each time."""
  count = tf.shape(example['texts'])[0]
  # 2**30 outcomes modulo a handful of captions: the bias is below 1e-7.
  draw = tf.random.stateless_uniform(
    [], example['seed'] + [0, 3], 0, 2**30, tf.int32
  )
  return {**example, 'targets': example['texts'][draw % count]}


def frame_prompt(
  dataset: tf.data.Dataset,
  sequence_length: Mapping[str, int] | None = None,
  *,
  before: Sequence[int],
  after: Sequence[int],
) -> tf.data.Dataset:
  """Puts ids before and after `inputs`, which is cut to leave room for them.

  Args:
    dataset: Tokenized examples.
    sequence_length: Has the length of 'inputs'; None cuts nothing.
    before: Such as the beginning of a text.
    after: Such as a newline.
  """
  ends = len(before) + len(after)
  room = sequence_length['inputs'] - ends if sequence_length else None

  def frame(example: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    ids = example['inputs'][:room]
    around = [tf.constant(x, ids.dtype, [len(x)]) for x in (before, after)]
    return {**example, 'inputs': tf.concat([around[0], ids, around[1]], 0)}

  return dataset.map(frame, num_parallel_calls=2, deterministic=True)
