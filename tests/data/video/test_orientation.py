"""Films and pictures are shown upright: eight orientations, any pixel."""

import fractions
import itertools
import math
import pathlib
import struct

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from PIL import Image, ImageOps

from vidlm.data.video import decoding, orientation, sampling, stills

_ONE = 1 << 16
_WIDTH, _HEIGHT = 96, 48
_COLOURS = {'red': (255, 0, 0), 'blue': (0, 0, 255), 'green': (0, 255, 0)}
# Where each corner of the stored picture is shown, by EXIF's number: as the
# standard has it ("the 0th row is ..., the 0th column is ...").
_SHOWN = {
  1: {'red': 'top left', 'blue': 'top right', 'green': 'bottom left'},
  2: {'red': 'top right', 'blue': 'top left', 'green': 'bottom right'},
  3: {'red': 'bottom right', 'blue': 'bottom left', 'green': 'top right'},
  4: {'red': 'bottom left', 'blue': 'bottom right', 'green': 'top left'},
  5: {'red': 'top left', 'blue': 'bottom left', 'green': 'top right'},
  6: {'red': 'top right', 'blue': 'bottom right', 'green': 'top left'},
  7: {'red': 'bottom right', 'blue': 'top right', 'green': 'bottom left'},
  8: {'red': 'bottom left', 'blue': 'top left', 'green': 'bottom right'},
}
_ASPECTS = ['1:1', '2:1', '1:2', '64:45', '20:1', '1:15']


def picture(width: int = _WIDTH, height: int = _HEIGHT) -> np.ndarray:
  """Stored: red at the top left, blue at the top right, green below red."""
  frame = np.full((height, width, 3), 96, np.uint8)
  rows, columns = height // 3, width // 3
  frame[:rows, :columns] = _COLOURS['red']
  frame[:rows, -columns:] = _COLOURS['blue']
  frame[-rows:, :columns] = _COLOURS['green']
  return frame


def corners(frame: np.ndarray) -> dict[str, str]:
  """Where the three colours are seen."""
  height, width = frame.shape[:2]
  places = {}
  for row, rows in (('top', 1), ('bottom', height - 2)):
    for column, columns in (('left', 1), ('right', width - 2)):
      pixel = frame[min(rows, height - 1), min(columns, width - 1)].astype(int)
      for name, colour in _COLOURS.items():
        if np.abs(pixel - colour).max() < 60:
          places[name] = f'{row} {column}'
  return places


def write(
  path: pathlib.Path,
  matrix: orientation.Matrix,
  aspect: fractions.Fraction | None = None,
  frames: int = 2,
) -> str:
  """Writes a film with a display matrix."""
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=10)
    stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, 'yuv420p'
    stream.options = {'bf': '0'}
    if aspect:
      stream.codec_context.sample_aspect_ratio = aspect
    a, b, c, d = (round(value * _ONE) for value in matrix)
    stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
    for _ in range(frames):
      frame = av.VideoFrame.from_ndarray(picture(), 'rgb24')
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  return str(path)


def first_frame(path: str, size: int | None = 0) -> np.ndarray:
  how = sampling.Sampling(size=size)
  return decoding.decode_clip(path, sampling=how).frames[0]


@pytest.mark.parametrize('suffix', ['mp4', 'mov', 'mkv', 'webm.mkv', '3gp'])
@pytest.mark.parametrize('number', range(1, 9))
def test_films_in_eight_orientations(tmp_path, number, suffix) -> None:
  path = write(tmp_path / f'a.{suffix}', orientation.EXIF[number])
  frame = first_frame(path)
  assert corners(frame) == _SHOWN[number]
  sideways = number >= 5
  assert frame.shape[:2] == ((96, 48) if sideways else (48, 96))


@pytest.mark.parametrize('aspect', _ASPECTS)
@pytest.mark.parametrize('number', range(1, 9))
def test_any_aspect_in_eight_orientations(tmp_path, number, aspect) -> None:
  """A pixel is widened as it is coded, and then turned with the picture."""
  ratio = fractions.Fraction(aspect.replace(':', '/'))
  for suffix in ('mp4', 'mkv'):
    path = tmp_path / f'a.{suffix}'
    frame = first_frame(write(path, orientation.EXIF[number], ratio))
    assert corners(frame) == _SHOWN[number]
    width, height = max(1, round(_WIDTH * ratio)), _HEIGHT
    shown = (width, height) if number >= 5 else (height, width)
    assert np.allclose(frame.shape[:2], shown, atol=1)  # of 32 bits in a file
    small = first_frame(str(path), size=24)
    assert min(small.shape[:2]) == 24
    assert small.shape[1] / small.shape[0] == pytest.approx(
      frame.shape[1] / frame.shape[0], rel=0.15
    )


def test_an_aspect_that_no_picture_can_have_is_none(tmp_path) -> None:
  """The header's error: pixels are square, and the film is taken."""
  for ratio in ('65000:1', '1:65000', '1:200'):
    number = fractions.Fraction(ratio.replace(':', '/'))
    path = write(tmp_path / 'a.mp4', orientation.UPRIGHT, number)
    assert first_frame(path).shape == (48, 96, 3)
    assert first_frame(path, 256).shape == (256, 512, 3)


@pytest.mark.parametrize('number', range(1, 9))
def test_stretched_by_the_matrix(tmp_path, number: int) -> None:
  """MP4's matrix may hold the aspect itself: twice as wide as it is shown."""
  a, b, c, d = orientation.EXIF[number]
  path = write(tmp_path / 'a.mp4', (2 * a, b, 2 * c, d))
  frame = first_frame(path)
  assert corners(frame) == _SHOWN[number]
  shown = frame.shape[1] / frame.shape[0]
  stored = _HEIGHT / _WIDTH if number >= 5 else _WIDTH / _HEIGHT
  assert shown == pytest.approx(2 * stored, rel=0.01)


def test_patched_header(tmp_path) -> None:
  """As a phone's film has it: the matrix of tkhd, and one of the movie's."""
  source = pathlib.Path(write(tmp_path / 'a.mp4', orientation.EXIF[6]))
  data = bytearray(source.read_bytes())
  for number, (a, b, c, d) in orientation.EXIF.items():
    at = data.index(b'tkhd') + 4 + 40
    struct.pack_into(
      '>9i',
      data,
      at,
      a * _ONE,
      b * _ONE,
      0,
      c * _ONE,
      d * _ONE,
      0,
      0,
      0,
      1 << 30,
    )
    path = tmp_path / f'{number}.mp4'
    path.write_bytes(data)
    assert corners(first_frame(str(path))) == _SHOWN[number]


@pytest.mark.parametrize('suffix', ['ts', 'mkv', 'mp4'])
def test_orientation_within_the_stream(tmp_path, suffix: str) -> None:
  """H.264 says it with a key frame, for all frames up to the next."""
  source = write(tmp_path / 'source.mp4', orientation.UPRIGHT, frames=20)
  path = tmp_path / f'a.{suffix}'
  say = (
    'h264_mp4toannexb,'
    'h264_metadata=display_orientation=insert:rotate=90:flip=horizontal'
  )
  with av.open(source) as given, av.open(str(path), 'w') as out:
    stream = given.streams.video[0]
    copy = out.add_stream_from_template(stream)
    rewrite = BitStreamFilterContext(say, stream)
    packets = (packet for packet in given.demux(stream) if packet.size)
    for changed in itertools.chain.from_iterable(map(rewrite.filter, packets)):
      changed.stream = copy
      out.mux(changed)
  for start in (None, 0.9):
    how = sampling.Sampling(size=0, fps=5.0, min_frames=1)
    clip = decoding.decode_clip(str(path), start, sampling=how)
    assert len(clip.frames) > 1
    for frame in clip.frames:
      assert frame.shape == (96, 48, 3)
      assert corners(frame) == _SHOWN[5]


def test_nearest_of_eight() -> None:
  """A matrix a little off, or of another scale, turns as the nearest does."""
  rng = np.random.default_rng(0)
  for number in [*range(1, 9)] * 25:
    a, b, c, d = orientation.EXIF[number]
    angle, scale = math.radians(rng.uniform(-40, 40)), rng.uniform(0.01, 4)
    sine, cosine = scale * math.sin(angle), scale * math.cos(angle)
    turned = (
      a * cosine - b * sine,
      a * sine + b * cosine,
      c * cosine - d * sine,
      c * sine + d * cosine,
    )
    image = rng.integers(0, 256, (*rng.integers(1, 9, 2), 3), np.uint8)
    exact = orientation.upright(image, orientation.EXIF[number])
    np.testing.assert_array_equal(orientation.upright(image, turned), exact)
    stored = Image.fromarray(image)
    stored.getexif()[274] = number
    np.testing.assert_array_equal(ImageOps.exif_transpose(stored), exact)


def test_any_matrix_gives_a_picture() -> None:
  rng = np.random.default_rng(0)
  image = picture(6, 3)
  extremes = [0, 1, -1, -(2**31), 2**31 - 1]
  for _ in range(500):
    numbers = rng.integers(-(2**31), 2**31, 4)
    odd = rng.choice(extremes, 4)
    matrix = tuple(int(n) for n in np.where(rng.random(4) < 0.5, numbers, odd))
    shown = orientation.upright(image, matrix)
    assert sorted(shown.shape) == sorted(image.shape)
    assert shown.sum() == image.sum() and shown.flags.c_contiguous
    assert orientation.pixel_aspect(None, matrix) > 0


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
def test_pictures_and_folders_of_frames(tmp_path, suffix: str) -> None:
  for number, shown in _SHOWN.items():
    folder = tmp_path / str(number)
    folder.mkdir()
    exif = Image.Exif()
    exif[274] = number
    for name in ('1', '2'):
      Image.fromarray(picture()).save(
        folder / f'{name}.{suffix}', exif=exif, quality=95
      )
    for size in (0, 24):
      how = sampling.Sampling(size=size)
      paths, *_ = stills.sample_stills(str(folder), None, None, how)
      assert len(paths) == 2
      for frame in stills.read_images(paths, how):
        assert corners(frame) == shown
        assert min(frame.shape[:2]) == (size or _HEIGHT)
        assert (frame.shape[0] > frame.shape[1]) == (number >= 5)
