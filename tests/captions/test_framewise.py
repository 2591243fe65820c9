"""An image captioner frame by frame: which frame said what, in which order."""

import numpy as np
import pytest

from vidlm.captions import captioner, framewise
from vidlm.captions import vlm as vlm_lib
from vidlm.commands import caption
from vidlm.models import restored


class _Image:
  """Says the brightness of the one frame it sees, and the id."""

  name = 'image'
  batch_size = 2
  num_frames = 1
  image_size = 4
  num_samples = 2

  def identity(self):
    return {'model': self.name, 'num_samples': 2, 'weights': 'w'}

  def submit(self, frames, frame_mask, ids):
    assert frames.shape[1] == 1 and frame_mask.all()
    rows = [
      captioner.ClipCaptions(
        [f'{int(f.mean())} {i} {k}' for k in range(2)], [-1.0, -2.0], [3, 4]
      )
      for f, i in zip(frames, ids, strict=True)
    ]
    return lambda: rows


def test_captions_of_frames_in_order():
  model = framewise.FramewiseCaptioner(_Image(), num_frames=3)
  assert isinstance(model, captioner.Captioner)
  assert model.num_samples == 6 and model.batch_size == 2
  frames = np.zeros((2, 3, 4, 4, 3), np.uint8)
  frames += np.arange(3, dtype=np.uint8)[None, :, None, None, None]
  frames[1] += 10
  # A clip of one stored frame has the others masked: they are repeats of it.
  mask = np.array([[True] * 3, [True, False, False]])
  ids = np.array([5, 2**32 - 1], np.uint32)
  first, second = model.submit(frames, mask, ids)()
  assert first.captions == [
    '0 5 0', '0 5 1', '1 6 0', '1 6 1', '2 7 0', '2 7 1',
  ]  # fmt: skip
  assert second.captions[::2] == ['10 4294967295 0', '11 0 0', '12 1 0']
  assert first.logprobs == [-1.0, -2.0] * 3
  assert first.lengths == [3, 4] * 3


def test_identity_tells_it_from_the_image_model():
  model = framewise.FramewiseCaptioner(_Image(), num_frames=3)
  assert model.identity() == {
    'model': 'image-framewise',
    'num_samples': 6,
    'weights': 'w',
    'framewise': 3,
  }


def test_refusals():
  video = _Image()
  video.num_frames = 4
  with pytest.raises(ValueError, match='takes 4 frames, not 1'):
    framewise.FramewiseCaptioner(video)
  with pytest.raises(ValueError, match='num_frames=0'):
    framewise.FramewiseCaptioner(_Image(), num_frames=0)


@pytest.mark.parametrize(
  ('flags', 'frames', 'asked'),
  [
    ({}, 8, {'num_samples': 1, 'num_frames': 1}),
    (
      {'num_frames': 3, 'num_samples': 2, 'prompt': 'x'},
      3,
      {'num_samples': 2, 'num_frames': 1, 'prompt': 'x'},
    ),
  ],
)
def test_flags_of_the_command(monkeypatch, flags, frames, asked):
  seen = {}

  def fake(vlm, **options):
    seen.update(options)
    return _Image()

  monkeypatch.setattr(vlm_lib, 'of_restored', fake)
  vlm = object.__new__(restored.RestoredVLM)  # nothing of it is looked at
  model = caption._captioner(vlm, True, dict(flags))
  assert model.num_frames == frames
  assert seen == asked
  assert isinstance(caption._captioner(vlm, False, {}), _Image)
