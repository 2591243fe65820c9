"""Clips embedded from JPEG frames, and found by text."""

import io
import math
import types

import jax
import numpy as np
import PIL.Image
import pytest

from dualenc import eval as eval_lib
from dualenc import search
from dualenc.evals import classification
from vidlm.data.feed import pixels


def jpeg(seed, size=40):
  rng = np.random.default_rng(seed)
  image = PIL.Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8))
  buffer = io.BytesIO()
  image.resize((size, size)).save(buffer, 'JPEG')
  return buffer.getvalue()


class Frames:
  """Clips of 1, 4 and 9 frames, and one that doesn't decode."""

  clip_ids = ('one', 'bad', 'four', 'nine')
  texts = labels = ((),) * 4
  frames = {  # noqa: RUF012
    'one': (jpeg(0),),
    'four': tuple(jpeg(i) for i in range(1, 5)),
    'nine': tuple(jpeg(i, 32) for i in range(10, 19)),
    'bad': (),
  }

  def read(self, clip_ids):
    return (self.frames[clip_id] for clip_id in clip_ids)


@pytest.fixture(scope='module')
def towers(make_towers, random_params, batch):
  model = make_towers()
  params = random_params(model.init, batch.frames, batch.text)['params']
  return eval_lib.Towers(model, params, None, 12)


def test_an_index_holds_what_the_towers_say(towers):
  index = search.index_clips(towers, Frames(), clips_per_device=2)
  assert list(index.clip_ids) == ['one', 'four', 'nine']
  assert list(index.skipped) == ['bad']
  norms = np.linalg.norm(index.embeddings, axis=1)
  np.testing.assert_allclose(norms, 1, rtol=1e-5)
  # Neither the batch nor its padding changes a clip.
  alone = towers.embed_frames([Frames.frames['nine']], clips_per_device=2)
  np.testing.assert_allclose(index.embeddings[2:], alone, atol=1e-5)
  assert abs(index.embeddings @ index.embeddings.T - np.eye(3)).max() > 1e-3


def test_all_devices_embed_what_one_did(towers):
  clips = [[jpeg(9 * i + j) for j in range(1 + i % 5)] for i in range(11)]
  tower = towers.model.img
  shown = [
    pixels.eval_frames_from_jpeg(c, tower.num_frames, tower.image_size)[0]
    for c in clips
  ]
  apply = jax.jit(
    lambda frames: towers.model.apply({'params': towers.params}, frames)[0]
  )
  # As it was: one device, a batch at a time, padded with black.
  expected = np.concatenate(
    [
      apply(np.stack([*shown[i : i + 4], *[shown[0] * 0] * 4][:4]))
      for i in range(0, 11, 4)
    ]
  )[:11]
  found = towers.embed_frames(clips, clips_per_device=4)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  assert abs(found @ found.T - np.eye(11)).max() > 1e-3


def test_no_clips_are_refused(towers):
  with pytest.raises(ValueError, match='no clip to embed'):
    towers.embed_frames([])
  with pytest.raises(ValueError, match='no usable JPEG'):
    towers.embed_frames([[b'no image']])
  nothing = types.SimpleNamespace(
    clip_ids=['a'], texts=[()], labels=[''], read=lambda ids: iter([()])
  )
  with pytest.raises(ValueError, match='no clip to embed'):
    search.index_clips(towers, nothing)


def test_search_is_sorted_and_stable():
  rows = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]], np.float32)
  index = search.ClipIndex(['a', 'b', 'c', 'd'], rows)
  hits = index.search(np.array([0, 1], np.float32), top=3)
  assert [hit.clip_id for hit in hits] == ['b', 'd', 'c']
  assert [hit.score for hit in hits] == pytest.approx([1, 1, 0.8])
  assert len(index.search(np.array([1, 0], np.float32), top=9)) == 4
  for none in (0, -1):  # -1 left the farthest out
    with pytest.raises(ValueError, match=f'top={none}: need at least 1'):
      index.search(np.array([1, 0], np.float32), top=none)


@pytest.mark.parametrize(
  ('t', 'scale'), [(2.0, math.exp(2.0)), (-1.0, 1.0), (9.0, 100.0)]
)
def test_logit_scale_is_that_of_the_model(towers, batch, run, t, scale):
  from vidlm.core import trees

  flat = {**trees.flatten(towers.params), 't': np.array([t], np.float32)}
  made = eval_lib.Towers(towers.model, trees.unflatten(flat), None, 12)
  assert made.logit_scale == pytest.approx(scale)
  out = run(towers.model, flat, batch.frames, batch.text)[2]
  assert made.logit_scale == pytest.approx(float(out['t']))


def test_probabilities():
  scores = np.array([[0.3, 0.1, 0.1], [-1.0, 0.0, 1.0]], np.float32)
  found = classification.probabilities(scores, 100.0)
  np.testing.assert_allclose(found.sum(axis=1), 1)
  ratio = found[0, 0] / found[0, 1]
  assert ratio == pytest.approx(math.exp(100 * (scores[0, 0] - scores[0, 1])))
  even = classification.probabilities(scores, 0.0)
  np.testing.assert_allclose(even, 1 / 3)
