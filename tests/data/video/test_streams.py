"""Which stream of several is the film."""

import itertools
import pathlib
import types

import av
import numpy as np
import pytest

from vidlm.data.video import decoding, sampling, streams

Disposition = av.stream.Disposition
_SIZES = {'small': (64, 48), 'large': (160, 96), 'middle': (96, 64)}
_LEVEL = {'small': 40, 'large': 120, 'middle': 200}


def write(
  path: pathlib.Path, tracks: list[tuple[str, Disposition]], frames: int = 12
) -> str:
  """Writes films of one grey each, beside one another."""
  with av.open(str(path), 'w') as out:
    made = []
    for name, disposition in tracks:
      stream = out.add_stream('libx264', rate=10)
      stream.width, stream.height = _SIZES[name]
      stream.pix_fmt = 'yuv420p'
      stream.disposition = disposition
      made.append(stream)
    for _ in range(frames):
      for (name, _), stream in zip(tracks, made, strict=True):
        width, height = _SIZES[name]
        grey = np.full((height, width, 3), _LEVEL[name], np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, 'rgb24')))
    for stream in made:
      out.mux(stream.encode())
  return str(path)


def shown(path: str) -> str:
  """Which of the films is decoded."""
  how = sampling.Sampling(size=0)
  clip = decoding.decode_clip(path, sampling=how)
  height, width = clip.frames.shape[1:3]
  (name,) = (n for n, size in _SIZES.items() if size == (width, height))
  assert abs(clip.frames.mean() - _LEVEL[name]) < 4
  info = decoding.probe(path)
  assert (info.width, info.height) == (width, height)
  return name


@pytest.mark.parametrize('suffix', ['mp4', 'mov', 'mkv', 'ts', 'avi'])
@pytest.mark.parametrize('order', list(itertools.permutations(_SIZES)))
def test_the_largest_where_the_file_does_not_say(
  tmp_path, suffix, order
) -> None:
  # MP4's muxer calls the first its default unless several are.
  alike = Disposition.default if suffix in ('mp4', 'mov') else Disposition(0)
  path = write(tmp_path / f'a.{suffix}', [(name, alike) for name in order])
  assert shown(path) == 'large'


@pytest.mark.parametrize('suffix', ['mp4', 'mov', 'mkv'])
@pytest.mark.parametrize('default', _SIZES)
@pytest.mark.parametrize('order', list(itertools.permutations(_SIZES))[::2])
def test_the_default_one(tmp_path, suffix, default, order) -> None:
  tracks = [
    (name, Disposition.default if name == default else Disposition(0))
    for name in order
  ]
  assert shown(write(tmp_path / f'a.{suffix}', tracks)) == default


def test_an_attached_picture_is_no_film(tmp_path) -> None:
  """However large, first in the file, and called the default."""
  picture = Disposition.attached_pic | Disposition.default
  path = tmp_path / 'a.mp4'
  with av.open(str(path), 'w') as out:
    cover = out.add_stream('mjpeg', rate=10)
    cover.width, cover.height, cover.pix_fmt = *_SIZES['large'], 'yuvj420p'
    cover.disposition = picture
    film = out.add_stream('libx264', rate=10)
    film.width, film.height, film.pix_fmt = *_SIZES['small'], 'yuv420p'
    for number in range(12):
      for name, stream in (('large', cover), ('small', film)):
        if number and name == 'large':
          continue
        width, height = _SIZES[name]
        grey = np.full((height, width, 3), _LEVEL[name], np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, 'rgb24')))
    for stream in (cover, film):
      out.mux(stream.encode())
  assert shown(str(path)) == 'small'


def test_a_single_picture_beside_a_film(tmp_path) -> None:
  """Cameras put a large still beside the film without saying what it is."""
  for suffix in ('mp4', 'mov'):
    path = tmp_path / f'a.{suffix}'
    with av.open(str(path), 'w') as out:
      still = out.add_stream('mjpeg', rate=10)
      still.width, still.height, still.pix_fmt = *_SIZES['large'], 'yuvj420p'
      film = out.add_stream('libx264', rate=10)
      film.width, film.height, film.pix_fmt = *_SIZES['small'], 'yuv420p'
      for number in range(12):
        for name, stream in (('large', still), ('small', film)):
          if number and name == 'large':
            continue
          width, height = _SIZES[name]
          grey = np.full((height, width, 3), _LEVEL[name], np.uint8)
          out.mux(stream.encode(av.VideoFrame.from_ndarray(grey, 'rgb24')))
      for stream in (still, film):
        out.mux(stream.encode())
    assert shown(str(path)) == 'small'


def stream(
  pixels: int, disposition: int = 0, frames: int = 0, decodes: bool = True
) -> types.SimpleNamespace:
  context = types.SimpleNamespace(width=pixels, height=1)
  return types.SimpleNamespace(
    disposition=Disposition(disposition),
    codec_context=context if decodes else None,
    frames=frames,
  )


@pytest.mark.parametrize('flag', ['attached_pic', 'timed_thumbnails'])
def test_pictures_alone_are_no_film(flag: str) -> None:
  picture = stream(900, Disposition[flag] | Disposition.default, frames=50)
  film = stream(100)
  limits = sampling.Limits(max_pixels=1000)
  assert streams.choose([picture], limits) is None
  assert streams.choose([], limits) is None
  for order in itertools.permutations([picture, film]):
    assert streams.choose(order, limits) is film


def test_what_can_be_shown_comes_first() -> None:
  """A file is refused for a stream only if it has none that is taken."""
  limits = sampling.Limits(max_pixels=1000)
  film = stream(100)
  for other in (
    stream(500, Disposition.default, decodes=False),
    stream(2000, Disposition.default),
    stream(0),
  ):
    for order in itertools.permutations([film, other]):
      assert streams.choose(order, limits) is film
    assert streams.choose([other], limits) is other
  first, second = stream(100), stream(100)
  assert streams.choose([first, second], limits) is first
