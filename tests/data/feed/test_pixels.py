"""Frames: chosen, resized, cropped and jittered as TensorFlow would."""

import io

import numpy as np
import pytest
from PIL import Image

from vidlm.data.feed import pixels
from vidlm.data.store import clip_schema, records


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
  out, mask = pixels.eval_frames(frames, 4, 8)
  assert out.shape == (4, 8, 8, 3)
  assert out[:, 0, 0, 0].tolist() == [1, 3, 6, 8]
  assert mask.tolist() == [True] * 4
  out, mask = pixels.eval_frames(frames[:3], 5, 8)
  assert out[:, 0, 0, 0].tolist() == [0, 1, 2, 2, 2]
  assert mask.all()
  _, mask = pixels.eval_frames(frames[:1], 3, 8)
  assert mask.tolist() == [True, False, False]


@pytest.mark.parametrize(
  'shape', [(30, 50), (50, 30), (16, 16), (16, 40), (9, 11)]
)
def test_crop_is_the_middle_square(shape):
  frame = np.zeros((1, *shape, 3), np.uint8)
  out, _ = pixels.eval_frames(frame, 1, 16)
  assert out.shape == (1, 16, 16, 3)


def test_native_size_is_untouched():
  frames = smooth(2, 16, 40)
  out, _ = pixels.eval_frames(frames, 2, 16)
  np.testing.assert_array_equal(out, frames[:, :, 12:28])


def test_jpeg_is_the_same_as_arrays():
  encoded = jpegs(smooth(6, 40, 60))
  arrays = np.stack([np.asarray(Image.open(io.BytesIO(e))) for e in encoded])
  for got, wanted in zip(
    pixels.eval_frames_from_jpeg(encoded, 4, 24),
    pixels.eval_frames(arrays, 4, 24),
    strict=True,
  ):
    np.testing.assert_array_equal(got, wanted)


def test_what_is_no_whole_jpeg_is_refused():
  (whole,) = jpegs(smooth(1, 40, 60))
  png = io.BytesIO()
  Image.new('RGB', (8, 8)).save(png, 'PNG')
  half = len(whole) // 2
  broken = whole[:half] + bytes(50) + whole[half + 50 :]
  for encoded in (b'', b'nonsense', png.getvalue(), whole[:half], broken):
    with pytest.raises(ValueError, match=r'no (usable|whole) JPEG'):
      pixels.eval_frames_from_jpeg([encoded], 2, 8)


def test_a_frame_that_would_fill_the_memory_is_refused(monkeypatch):
  (encoded,) = jpegs(smooth(1, 40, 60))
  pixels.eval_frames_from_jpeg([encoded], 1, 8)
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
  with pytest.raises(ValueError, match=r'no usable JPEG image: .*2400 pixels'):
    pixels.eval_frames_from_jpeg([encoded], 1, 8)


def test_grey_frames_are_shown_in_three_colours():
  grey = Image.fromarray(smooth(1, 16, 16)[0, :, :, 0])
  buffer = io.BytesIO()
  grey.save(buffer, 'JPEG')
  frames, _ = pixels.eval_frames_from_jpeg([buffer.getvalue()], 1, 16)
  wanted = np.asarray(Image.open(buffer).convert('RGB'))
  np.testing.assert_array_equal(frames[0], wanted)


@pytest.mark.parametrize(
  'shape', [(24, 24), (24, 41), (40, 24), (64, 96), (30, 24), (20, 31)]
)
def test_decodes_and_resizes_as_tensorflow_does(shape):
  tf = pytest.importorskip('tensorflow')
  encoded = jpegs(smooth(5, *shape))
  ours, mask = pixels.eval_frames_from_jpeg(encoded, 4, 24)
  frames = tf.stack(
    [
      tf.io.decode_jpeg(encoded[i], channels=3, dct_method='INTEGER_ACCURATE')
      for i in (0, 1, 3, 4)
    ]
  )
  new = [round(side * 24 / min(shape)) for side in shape]
  if list(shape) != new:
    frames = tf.image.resize(frames, new, antialias=True)
  top, left = ((side - 24) // 2 for side in new)
  theirs = np.rint(frames)[:, top : top + 24, left : left + 24]
  assert mask.all()
  difference = np.abs(ours.astype(int) - theirs)
  assert difference.max() <= (0 if shape == (24, 24) else 2)


@pytest.mark.parametrize('shape', [(48, 70), (26, 21)])
def test_jitter_is_a_resize_and_a_crop(shape):
  tf = pytest.importorskip('tensorflow')
  frame = smooth(1, *shape)[0]
  factors, place = (0.95, 1.3), (0.4, 0.9)
  ours = pixels.jitter_and_crop(frame, 24, factors, place)
  base = round(24 * 256 / 224)
  new = [
    round(side * base / min(shape) * factor)
    for side, factor in zip(shape, factors, strict=True)
  ]
  whole = np.rint(tf.image.resize(frame, new, antialias=True))
  top, left = (
    int(p * (side - 24 + 1)) for p, side in zip(place, new, strict=True)
  )
  theirs = whole[top : top + 24, left : left + 24]
  assert np.abs(ours.astype(int) - theirs).max() <= 2


def test_jitter_never_leaves_the_frame():
  frame = smooth(1, 16, 16)[0]
  for factor in pixels.JITTER:
    for place in (0.0, 0.999999):
      out = pixels.jitter_and_crop(frame, 24, [factor] * 2, [place] * 2)
      assert out.shape == (24, 24, 3) and out.min() > 0


def test_frames_of_a_clip_are_augmented_alike():
  encoded = jpegs(np.repeat(smooth(1, 30, 40), 4, axis=0))
  rng = np.random.default_rng(0)
  clips = [
    pixels.augmented_frames_from_jpeg(encoded, 3, 16, rng)[0] for _ in range(2)
  ]
  for clip in clips:
    assert (clip == clip[0]).all()
  assert (clips[0] != clips[1]).any()


@pytest.mark.parametrize('number', [1, 5])
def test_frames_are_those_that_tfds_reads(number):
  tf = pytest.importorskip('tensorflow')
  tfds = pytest.importorskip('tensorflow_datasets')
  encoded = jpegs(smooth(number, 8, 8))
  row = clip_schema.ClipRow(
    'a', 'a.mp4', 0.0, 1.0, tuple(encoded), (0.5,) * number, ('a cat',)
  )
  record = clip_schema.serialize(row)
  theirs = clip_schema.features().deserialize_example(
    tf.constant(record), decoders={'frames': tfds.decode.SkipDecoding()}
  )['frames']
  ours = records.encoded_frames(record)
  assert ours == theirs.numpy().tolist() == encoded
