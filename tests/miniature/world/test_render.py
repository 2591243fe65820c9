"""Drawing, and what H.264 leaves of it."""

import av
import numpy as np
import pytest

from vidlm.miniature.world import render, scenes
from vidlm.miniature.world.vocabulary import COLOURS, SHAPES

TIMES = scenes.frame_times(4.0, 8)


def _scene(**kwargs):
  return scenes.sample_scene(np.random.default_rng(5), TIMES, **kwargs)


def _decode(path):
  with av.open(str(path)) as container:
    return np.stack(
      [frame.to_ndarray(format='rgb24') for frame in container.decode(video=0)]
    )


@pytest.mark.parametrize('side', [32, 64])
def test_h264_keeps_the_picture(tmp_path, side):
  scene = _scene(motion='moves right')
  frames = render.draw(scene, side)
  assert frames.shape == (32, side, side, 3)
  render.write_mp4(str(tmp_path / 'clip.mp4'), frames)
  decoded = _decode(tmp_path / 'clip.mp4')
  assert decoded.shape == frames.shape
  difference = np.abs(decoded.astype(int) - frames)
  assert difference.mean() < 2.5
  assert np.percentile(difference, 99) < 20
  assert [p.name for p in tmp_path.iterdir()] == ['clip.mp4']


def test_web_players_pixel_format(tmp_path):
  frames = render.draw(_scene(motion='grows'))
  path = str(tmp_path / 'clip.mp4')
  render.write_mp4(path, frames, pixel_format='yuv420p')
  with av.open(path) as container:
    assert container.streams.video[0].codec_context.pix_fmt == 'yuv420p'
    assert container.streams.video[0].codec_context.name == 'h264'
  assert np.abs(_decode(path).astype(int) - frames).mean() < 6


def test_the_same_frames_give_the_same_bytes(tmp_path):
  frames = render.draw(_scene(motion='swings'))
  for name in ('a.mp4', 'b.mp4'):
    render.write_mp4(str(tmp_path / name), frames)
  assert (tmp_path / 'a.mp4').read_bytes() == (tmp_path / 'b.mp4').read_bytes()


def test_colours_and_shapes_are_plainly_different(tmp_path):
  """After H.264, each body's pixels are nearest to its own colour."""
  names = list(COLOURS)
  palette = np.array([COLOURS[name] for name in names], float)
  for colour in names:
    for shape in SHAPES:
      scene = _scene(motion='moves up', looks=[(colour, shape)])
      path = str(tmp_path / 'clip.mp4')
      render.write_mp4(path, render.draw(scene))
      frame = _decode(path)[16].astype(float)
      bright = frame[frame.max(-1) > 170]
      assert 20 < len(bright) < 220
      distance = np.linalg.norm(bright[:, None] - palette, axis=-1)
      nearest = np.bincount(distance.argmin(1), minlength=len(names))
      assert names[int(nearest.argmax())] == colour
      assert nearest.max() > 0.9 * len(bright)


def test_shapes_cover_different_pixels():
  masks = []
  for shape in SHAPES:
    scene = _scene(motion='moves up', looks=[('white', shape)])
    masks.append(render.draw(scene)[16, ..., 0] > 150)
  for i, mask in enumerate(masks):
    for other in masks[:i]:
      overlap = (mask & other).sum() / (mask | other).sum()
      assert overlap < 0.7


def test_invisible_bodies_are_not_drawn():
  scene = _scene(motion='appears', looks=[('white', 'square')])
  frames = render.draw(scene)
  shown = scene.tracks[:, 0, 3] > 0
  assert ((frames > 200).any(axis=(1, 2, 3)) == shown).all()
