"""Evaluation frames: chosen, resized and cropped as in training's tf.data."""

import io

import numpy as np
import pytest
from PIL import Image

from vidlm.data import clip_schema, preprocess


def smooth(number, height, width):
  y, x = np.mgrid[:height, :width]
  base = 127 + 60 * np.sin(x / 7 + np.arange(number)[:, None, None]) + y % 50
  return (
    np.stack([base, base[:, ::-1], 255 - base], -1)
    .clip(0, 255)
    .astype(np.uint8)
  )


def jpegs(frames):
  encoded = []
  for frame in frames:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, 'JPEG', quality=95)
    encoded.append(buffer.getvalue())
  return encoded


def test_shapes_mask_and_choice():
  frames = np.arange(10, dtype=np.uint8)[:, None, None, None] * np.ones(
    (1, 8, 8, 3), np.uint8
  )
  out, mask = preprocess.eval_frames(frames, 4, 8)
  assert out.shape == (4, 8, 8, 3)
  assert out[:, 0, 0, 0].tolist() == [1, 3, 6, 8]
  assert mask.tolist() == [True] * 4
  out, mask = preprocess.eval_frames(frames[:3], 5, 8)
  assert out[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]
  assert mask.all()
  _, mask = preprocess.eval_frames(frames[:1], 3, 8)
  assert mask.tolist() == [True, False, False]


@pytest.mark.parametrize(
  'shape', [(30, 50), (50, 30), (16, 16), (16, 40), (9, 11)]
)
def test_crop_is_the_middle_square(shape):
  frame = np.zeros((1, *shape, 3), np.uint8)
  out, _ = preprocess.eval_frames(frame, 1, 16)
  assert out.shape == (1, 16, 16, 3)


def test_native_size_is_untouched():
  frames = smooth(2, 16, 40)
  out, _ = preprocess.eval_frames(frames, 2, 16)
  np.testing.assert_array_equal(out, frames[:, :, 12:28])


def test_jpeg_is_the_same_as_arrays():
  encoded = jpegs(smooth(6, 40, 60))
  arrays = np.stack([np.asarray(Image.open(io.BytesIO(e))) for e in encoded])
  for got, wanted in zip(
    preprocess.eval_frames_from_jpeg(encoded, 4, 24),
    preprocess.eval_frames(arrays, 4, 24),
    strict=True,
  ):
    np.testing.assert_array_equal(got, wanted)


def test_not_a_jpeg():
  with pytest.raises(ValueError, match='no JPEG'):
    preprocess.eval_frames_from_jpeg([b'nonsense'], 2, 8)


@pytest.mark.parametrize(
  'shape', [(24, 24), (24, 41), (40, 24), (64, 96), (30, 24), (20, 31)]
)
def test_equals_the_pipeline_of_training(shape):
  tf = pytest.importorskip('tensorflow')
  preprocessors = pytest.importorskip('vidlm.data.preprocessors')
  encoded = jpegs(smooth(5, *shape))
  ours, mask = preprocess.eval_frames_from_jpeg(encoded, 4, 24)
  frames = tf.stack(
    [
      tf.io.decode_jpeg(encoded[i], channels=3, dct_method='INTEGER_ACCURATE')
      for i in (0, 1, 3, 4)
    ]
  )
  theirs = preprocessors._resize_and_crop(frames, 24).numpy()
  assert mask.all()
  difference = np.abs(ours.astype(int) - theirs)
  assert difference.max() <= (0 if shape == (24, 24) else 2)


@pytest.mark.parametrize('number', [1, 5])
def test_frames_are_those_that_tfds_reads(number):
  tf = pytest.importorskip('tensorflow')
  tfds = pytest.importorskip('tensorflow_datasets')
  preprocessors = pytest.importorskip('vidlm.data.preprocessors')
  encoded = jpegs(smooth(number, 8, 8))
  row = clip_schema.ClipRow(
    'a', 'a.mp4', 0.0, 1.0, tuple(encoded), (0.5,) * number, ('a cat',)
  )
  record = tf.constant(clip_schema.serializer()(row))
  theirs = clip_schema.features().deserialize_example(
    record, decoders={'frames': tfds.decode.SkipDecoding()}
  )['frames']
  ours = preprocessors._stored_frames(record)
  assert ours.numpy().tolist() == theirs.numpy().tolist() == encoded
