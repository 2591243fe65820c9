"""Task features to model features (imports TensorFlow).

The names are those of `seqio.EncDecFeatureConverter`. Nothing is packed: an
example holds some 2,000 visual tokens and a short text.
"""

from typing import Any

import tensorflow as tf


def _pad(ids: tf.Tensor, length: int) -> tf.Tensor:
  ids = tf.cast(ids, tf.int32)[:length]
  ids = tf.pad(ids, [[0, length - tf.shape(ids)[0]]])
  return tf.ensure_shape(ids, [length])


def encoder_decoder(
  example: dict[str, tf.Tensor], lengths: dict[str, int]
) -> dict[str, Any]:
  """Features of the VLM.

  Example:
    targets [5, 7, 1], length 5 ->
      decoder_target_tokens [5, 7, 1, 0, 0]
      decoder_input_tokens  [0, 5, 7, 1, 0]
      decoder_loss_weights  [1, 1, 1, 0, 0]
  """
  targets = _pad(example['targets'], lengths['targets'])
  return {
    'frames': example['frames'],
    'frame_mask': example['frame_mask'],
    'encoder_input_tokens': _pad(example['inputs'], lengths['inputs']),
    'decoder_input_tokens': tf.concat([[0], targets[:-1]], 0),
    'decoder_target_tokens': targets,
    'decoder_loss_weights': tf.cast(targets > 0, tf.float32),
  }


def dual_encoder(
  example: dict[str, tf.Tensor], lengths: dict[str, int]
) -> dict[str, Any]:
  """Features of two towers: frames and one caption's ids."""
  return {
    'frames': example['frames'],
    'text': _pad(example['targets'], lengths['targets']),
  }


CONVERTERS = {
  'encoder_decoder': encoder_decoder,
  'dual_encoder': dual_encoder,
}
