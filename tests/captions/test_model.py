"""`vidlm.load(...)`: what a path or frames give, and what is refused."""

import pathlib
import subprocess
import sys
import types

import av
import flax.linen as nn
import jax
import numpy as np
import PIL.Image
import pytest

import vidlm
from vidlm.captions import model as model_lib
from vidlm.data.feed import given, pixels, vocabulary
from vidlm.models import restored, samplers, video_vlm
from vidlm.nn import t5

VLM = video_vlm.VideoVLM(
  t5.T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=24,
    dtype='float32',
    remat_policy='none',
  ),
  '16,1,32,2/8',
  image_size=16,
  dtype='float32',
  remat_policy='none',
)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
  path = str(tmp_path_factory.mktemp('words') / 'words.model')
  vocabulary.train_sentencepiece(
    ['red ball falls', 'blue box rises', 'a dog runs home'], path, 40
  )
  batch = {
    'frames': np.zeros((1, 3, 16, 16, 3), np.uint8),
    'frame_mask': np.ones((1, 3), bool),
    'encoder_input_tokens': np.ones((1, 4), np.int32),
    'decoder_input_tokens': np.ones((1, 4), np.int32),
  }
  shapes = nn.unbox(jax.eval_shape(VLM.init, jax.random.key(0), batch))
  rng = np.random.default_rng(4)
  params = jax.tree.map(
    lambda x: rng.normal(0, 0.5, x.shape).astype(x.dtype), shapes['params']
  )
  vlm = restored.RestoredVLM(
    types.SimpleNamespace(model=VLM),
    params,
    vocabulary.Vocabulary(path),
    num_frames=3,
    image_size=16,
    lengths={'inputs': 8, 'targets': 8},
    checkpoint='memory',
  )
  return model_lib.CaptionModel(
    vlm, 3, clips_per_device=2, devices=tuple(jax.local_devices()[:1])
  )


def clips(number):
  rng = np.random.default_rng(1)
  return list(rng.integers(0, 256, (number, 9, 20, 24, 3), np.uint8))


@pytest.fixture(scope='module')
def film(tmp_path_factory):
  path = tmp_path_factory.mktemp('films') / 'film.mp4'
  rng = np.random.default_rng(2)
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=4)
    stream.width, stream.height, stream.pix_fmt = 32, 32, 'yuv420p'
    for _ in range(8):
      image = rng.integers(0, 256, (2, 2, 3), np.uint8).repeat(16, 0)
      frame = av.VideoFrame.from_ndarray(image.repeat(16, 1))
      out.mux(stream.encode(frame))
    out.mux(stream.encode(None))
  return path


def test_frames_a_path_and_lists_of_them(model, film):
  three = clips(3)
  alone = [model.caption(clip, max_length=6) for clip in three]
  assert all(len(texts) == 1 and isinstance(texts[0], str) for texts in alone)
  # Neighbours and padding are of no consequence.
  assert model.caption(three, max_length=6) == alone
  assert model.caption(np.stack(three), max_length=6) == alone
  mixed = model.caption([three[0], film, three[1]], max_length=6)
  assert [mixed[0], mixed[2]] == alone[:2]
  assert mixed[1] == model.caption(str(film), max_length=6)
  assert len({texts[0] for texts in mixed}) > 1


def test_samples_depend_on_the_frames_alone(model, tmp_path, film):
  clip, other = clips(2)
  said = model.caption(clip, num_samples=3, max_length=6)
  assert len(said) == 3 and len(set(said)) > 1
  assert model.caption([other, clip.copy()], num_samples=3, max_length=6) == [
    model.caption(other, num_samples=3, max_length=6),
    said,
  ]
  assert model.caption(clip, num_samples=3, max_length=6, seed=1) != said
  moved = tmp_path / 'another name.mp4'
  moved.write_bytes(film.read_bytes())
  assert model.caption(moved, num_samples=2) == model.caption(
    film, num_samples=2
  )


def test_prompts(model):
  two = clips(2)
  ask = ['red ball', 'a dog runs home and a blue box falls']
  each = model.caption(two, ask, max_length=6)
  assert each == [
    model.caption(two, [text] * 2, max_length=6)[i]
    if len(text) == max(map(len, ask))
    # As long as its neighbour's: the shorter is padded alike.
    else model.caption([two[0], two[0]], [text, ask[1]], max_length=6)[0]
    for i, text in enumerate(ask)
  ]
  assert model.caption(two, ask[1], max_length=6) != model.caption(
    two, max_length=6
  )


def test_an_image_is_one_real_frame(model, tmp_path):
  image = PIL.Image.fromarray(clips(1)[0][0].repeat(14, 0).repeat(14, 1))
  image.save(tmp_path / 'image.png')
  [(frames, mask)] = given.read([str(tmp_path / 'image.png')], 3, 16)
  assert mask.tolist() == [True, False, False]
  assert (frames == frames[0]).all() and frames.shape == (3, 16, 16, 3)
  assert len(model.caption(tmp_path / 'image.png', max_length=6)) == 1


def test_frames_are_chosen_as_in_evaluation():
  [clip] = clips(1)
  [(frames, mask)] = given.read([clip], 3, 16)
  expected = pixels.eval_frames(clip, 3, 16)
  np.testing.assert_array_equal(frames, expected[0])
  np.testing.assert_array_equal(mask, expected[1])


@pytest.mark.parametrize(
  ('clips', 'options', 'message'),
  [
    ('nowhere.mp4', {}, r'^nowhere.mp4: no such file$'),
    (['nowhere.mp4'], {}, r'^nowhere.mp4: no such file$'),
    ('.', {}, r'\.: is a folder; give a list of its files'),
    ([], {}, 'an empty list'),
    ([7], {}, 'clips: int is no clip; give'),
    (np.zeros((2, 4, 4, 3)), {}, r'float64\[2, 4, 4, 3\]; need uint8'),
    (np.zeros((4, 4, 3), np.uint8), {}, r'uint8\[4, 4, 3\]; need uint8\[T'),
    (np.zeros((0, 4, 4, 3), np.uint8), {}, r'uint8\[0, 4, 4, 3\]; need'),
    ([np.zeros((2, 4, 4, 3), np.uint8)], {'prompt': ['a', 'b']}, '2 for 1'),
    (
      np.zeros((2, 4, 4, 3), np.uint8),
      {'num_samples': 2, 'sampler': samplers.Greedy()},
      'greedy text is always the same',
    ),
    (np.zeros((2, 4, 4, 3), np.uint8), {'num_samples': 0}, 'num_samples=0'),
  ],
)
def test_nonsense_is_refused_in_a_line(model, clips, options, message):
  with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
    model.caption(clips, **options)
  assert '\n' not in str(error.value)


def test_a_file_that_does_not_decode_is_named(model, tmp_path):
  path = tmp_path / 'broken.mp4'
  path.write_bytes(b'this is no video')
  with pytest.raises(ValueError, match=rf'^{path}: open_failed: '):
    model.caption(path)


def test_weights_that_give_nan_are_refused(model):
  params = jax.tree.map(lambda x: x * np.nan, model.vlm.params)
  broken = model_lib.CaptionModel(
    restored.RestoredVLM(**{**vars(model.vlm), 'params': params}), 3
  )
  with pytest.raises(ValueError, match='are the weights sound'):
    broken.caption(clips(1)[0], max_length=2)


def test_importing_the_package_imports_nothing():
  code = (
    'import sys, vidlm, dualenc; '
    'heavy = {"jax", "numpy", "pandas", "av"} & sys.modules.keys(); '
    'assert not heavy, heavy; print(vidlm.load.__name__, dualenc.load.__doc__)'
  )
  root = pathlib.Path(__file__).resolve().parents[2]
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=root, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.startswith('load Restores a dual encoder')


def test_names_that_are_not_there():
  assert {'load', 'read_captions'} <= set(dir(vidlm))
  with pytest.raises(AttributeError, match="'vidlm' has no attribute 'lod'"):
    _ = vidlm.lod
