"""Task features to model features, a batch at a time (imports TensorFlow).

The names are those of `seqio.EncDecFeatureConverter`. Nothing is packed: an
example holds some 2,000 visual tokens and a short text.
"""

from typing import Any

import tensorflow as tf


def _pad(ids: tf.RaggedTensor, length: int) -> tf.Tensor:
  return tf.cast(ids, tf.int32).to_tensor(shape=[None, length])


def encoder_decoder(
  batch: dict[str, Any], lengths: dict[str, int]
) -> dict[str, tf.Tensor]:
  """Features of the VLM.

  Example:
    targets [5, 7, 1], length 5 ->
      decoder_target_tokens [5, 7, 1, 0, 0]
      decoder_input_tokens  [0, 5, 7, 1, 0]
      decoder_loss_weights  [1, 1, 1, 0, 0]
  """
  targets = _pad(batch['targets'], lengths['targets'])
  return {
    'frames': batch['frames'],
    'frame_mask': batch['frame_mask'],
    'encoder_input_tokens': _pad(batch['inputs'], lengths['inputs']),
    'decoder_input_tokens': tf.pad(targets[:, :-1], [[0, 0], [1, 0]]),
    'decoder_target_tokens': targets,
    'decoder_loss_weights': tf.cast(targets > 0, tf.float32),
  }


def dual_encoder(
  batch: dict[str, Any], lengths: dict[str, int]
) -> dict[str, tf.Tensor]:
  """Features of two towers: frames and one caption's ids."""
  return {
    'frames': batch['frames'],
    'text': _pad(batch['targets'], lengths['targets']),
  }


CONVERTERS = {
  'encoder_decoder': encoder_decoder,
  'dual_encoder': dual_encoder,
}
