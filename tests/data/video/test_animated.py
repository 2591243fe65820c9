"""Animated WebP, GIF, PNG and AVIF are films; stills of these kinds are not."""

import io
import pathlib
import struct

import numpy as np
import pytest
from PIL import Image

from vidlm.captions import folder as caption_folder
from vidlm.data.feed import pixels
from vidlm.data.prepare import pipeline
from vidlm.data.store import clip_reader
from vidlm.data.video import (
  cuts,
  decoding,
  listing,
  sampling,
  sniff,
  webp,
  worker,
)

KINDS = ['webp', 'gif', 'apng', 'png', 'avif']
_WIDTH, _HEIGHT = 96, 48
# Milliseconds, in turns: GIF counts in hundredths of a second.
_DURATIONS = (40, 100, 250)


def picture(number: int) -> Image.Image:
  """A frame of a static texture, and its number in the top row of blocks."""
  rng = np.random.default_rng(0)
  frame = rng.integers(1, 4, (_HEIGHT, _WIDTH, 3), np.uint8) * 51
  for bit in range(8):
    frame[:8, bit * 8 : bit * 8 + 8] = 255 * (number >> bit & 1)
  return Image.fromarray(frame)


def is_film(path: str | pathlib.Path) -> bool:
  return sniff.kind_of(str(path)) == 'video'


def number_of(frame: np.ndarray) -> int:
  return sum(
    int(frame[2:6, bit * 8 + 2 : bit * 8 + 6].mean() > 128) << bit
    for bit in range(8)
  )


def write(path: pathlib.Path, frames: int = 40, **options) -> str:
  """Writes an animation, or of one frame a still."""
  kind = path.suffix[1:].lower().replace('apng', 'png')
  pictures = [picture(number) for number in range(frames)]
  if frames > 1:
    options = {
      'save_all': True,
      'append_images': pictures[1:],
      'duration': [durations(frames)[n] for n in range(frames)],
      **options,
    }
  if kind == 'webp':
    options['lossless'] = True
  pictures[0].save(path, kind, **options)
  return str(path)


def durations(frames: int) -> list[int]:
  return [_DURATIONS[n % len(_DURATIONS)] for n in range(frames)]


def shown_at(times: np.ndarray, frames: int) -> list[int]:
  starts = np.cumsum([0, *durations(frames)[:-1]]) / 1000
  return [int((starts <= time + 1e-6).sum()) - 1 for time in times]


@pytest.fixture(scope='module')
def films(tmp_path_factory):
  folder = tmp_path_factory.mktemp('animated')
  return {kind: write(folder / f'{kind}_film.{kind}') for kind in KINDS}


def decode(path: str, start=None, end=None, **fields) -> decoding.Clip:
  how = sampling.Sampling(**{'size': 0, 'min_frames': 1, **fields})
  return decoding.decode_clip(path, start, end, how)


@pytest.mark.parametrize('kind', KINDS)
def test_the_frame_shown(films, kind: str) -> None:
  whole = sum(durations(40)) / 1000
  for start, end, fps in [
    (None, None, 4.0),
    (0.03, 0.6, 50.0),
    (1.21, 2.0, 25.0),
    (3.9, None, 10.0),
  ]:
    clip = decode(films[kind], start, end, fps=fps)
    assert [number_of(f) for f in clip.frames] == shown_at(clip.times, 40)
    assert clip.frames.shape[1:] == (_HEIGHT, _WIDTH, 3)
    if end is None:
      assert clip.end == pytest.approx(whole, abs=0.15)
  if kind not in ('gif', 'avif'):  # With losses.
    clip = decode(films[kind], fps=4.0)
    want = [np.asarray(picture(n)) for n in shown_at(clip.times, 40)]
    np.testing.assert_array_equal(clip.frames, np.stack(want))


@pytest.mark.parametrize('kind', KINDS)
def test_a_film_to_prepare_and_caption(tmp_path, kind: str) -> None:
  """Both take it, with the same frames, and leave the still beside it."""
  write(tmp_path / f'film.{kind}', frames=30)
  write(tmp_path / f'film2.{kind.upper()}', frames=2)
  if kind != 'gif':
    write(tmp_path / f'still.{kind}', frames=1)
  entries = listing.folder_clips(str(tmp_path))
  assert [entry.clip_id for entry in entries] == ['film', 'film2']
  how = sampling.Sampling(size=0)
  here = pipeline.Work(workers=0)
  output = str(tmp_path / 'set')
  summary = pipeline.prepare_folder(
    str(tmp_path), output, sampling=how, work=here
  )
  assert (summary.total, summary.ok, summary.failed) == (2, 2, {})
  reader = clip_reader.open_clips(output)
  counts = reader.index()['num_frames'].to_pylist()
  assert reader.clip_ids() == ['film', 'film2'] and counts == [8, 2]
  example = reader.features.deserialize_example_np(reader.read([0])[0])
  numbers = [number_of(frame) for frame in example['frames']]
  assert numbers == shown_at(example['times'], 30)
  source = caption_folder.FolderSource(
    str(tmp_path),
    caption_folder.Cutting(sampling=how),
    num_frames=8,
    image_size=_HEIGHT,
    workers=0,
  )
  ((_, clips),) = source.open([0])
  clip = next(iter(clips))
  assert clip.clip_id == 'film' and not clip.error
  jpeg = [encoded(frame) for frame in example['frames']]
  frames, _ = pixels.eval_frames_from_jpeg(jpeg, 8, _HEIGHT)
  assert np.abs(clip.frames.astype(int) - frames).mean() < 3
  source.close()


def encoded(frame: np.ndarray) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(frame).save(buffer, 'JPEG', quality=100, subsampling=0)
  return buffer.getvalue()


@pytest.mark.parametrize('kind', KINDS)
def test_a_still_stays_one(tmp_path, kind: str) -> None:
  """It is no film, and is taken where it is named: a clip of one frame."""
  path = write(tmp_path / f'still.{kind}', frames=1)
  assert not is_film(path)
  result = worker.decode(
    worker.DecodeTask(path, sampling=sampling.Sampling(size=0))
  )
  assert result.ok and len(result.frames) == 1
  frame = np.asarray(Image.open(io.BytesIO(result.frames[0])))
  assert frame.shape == (_HEIGHT, _WIDTH, 3) and number_of(frame) == 0


def test_an_animation_of_one_frame_is_a_still(tmp_path) -> None:
  data = bytearray(pathlib.Path(write(tmp_path / 'a.png', 2)).read_bytes())
  at = data.index(b'acTL') + 4
  data[at : at + 4] = struct.pack('>I', 1)
  one = tmp_path / 'one.png'
  one.write_bytes(data)
  assert not is_film(one)
  body = pathlib.Path(write(tmp_path / 'a.webp', 2)).read_bytes()
  first = body.index(b'ANMF')
  second = body.index(b'ANMF', first + 4)
  body = body[4:second]
  one = tmp_path / 'one.webp'
  one.write_bytes(b'RIFF' + struct.pack('<I', len(body) - 4) + body[4:])
  assert not is_film(one)
  result = worker.decode(worker.DecodeTask(str(one)))
  assert result.ok and len(result.frames) == 1


@pytest.mark.parametrize('kind', KINDS)
def test_cut_into_clips(films, kind: str) -> None:
  whole = sum(durations(40)) / 1000
  bounds = cuts.boundaries(films[kind], 'fixed:2s')
  assert bounds[:3] == (0.0, 2.0, 4.0)
  assert bounds[-1] == pytest.approx(whole, abs=0.15)
  scenes = cuts.boundaries(films[kind], 'scenes')
  assert scenes[0] == 0.0 and scenes[-1] == pytest.approx(whole, abs=0.15)


def test_webp_turned_and_of_any_size(tmp_path) -> None:
  exif = Image.Exif()
  exif[274] = 6
  path = write(tmp_path / 'a.webp', exif=exif)
  clip = decode(path, fps=4.0)
  assert clip.frames.shape[1:] == (_WIDTH, _HEIGHT, 3)
  upright = np.rot90(clip.frames, 1, (1, 2))
  assert [number_of(frame) for frame in upright] == shown_at(clip.times, 40)
  assert decode(path, size=24).frames.shape[1:] == (48, 24, 3)


def test_webp_of_a_size_that_is_not_allowed(tmp_path) -> None:
  """Refused by its head: Pillow would make room for two pictures of it."""
  data = bytearray(pathlib.Path(write(tmp_path / 'a.webp', 3)).read_bytes())
  data[24:30] = b'\xff\x3f\0\xff\x3f\0'
  bomb = tmp_path / 'bomb.webp'
  bomb.write_bytes(data)
  with pytest.raises(decoding.DecodeError, match=r'too_large.*16384 x 16384'):
    decode(str(bomb))
  limits = sampling.Limits(max_decoded_frames=2)
  with pytest.raises(decoding.DecodeError, match='too_many_frames'):
    decode(str(tmp_path / 'a.webp'), fps=25.0, limits=limits)


def test_webp_without_durations_is_shown_all_the_same(tmp_path) -> None:
  """As long as browsers show such a frame: a tenth of a second."""
  path = write(tmp_path / 'a.webp', 10, duration=0)
  clip = decode(path, fps=10.0)
  assert [number_of(frame) for frame in clip.frames] == list(range(10))
  assert clip.end == 1.0


@pytest.mark.parametrize('kind', KINDS)
def test_cut_and_damaged_files(films, tmp_path, kind: str) -> None:
  """A refusal with a code, or the right frames; never an error of ours."""
  data = pathlib.Path(films[kind]).read_bytes()
  rng = np.random.default_rng(0)
  path = tmp_path / f'a.{kind}'
  for number in range(30):
    damaged = bytearray(data[: rng.integers(1, len(data))])
    if number % 2:
      damaged = bytearray(data)
      for at in rng.integers(0, len(data), 1 + number // 2):
        damaged[at] ^= 1 << rng.integers(8)
    path.write_bytes(damaged)
    is_film(path)
    task = worker.DecodeTask(str(path), sampling=sampling.Sampling(size=0))
    result = worker.decode(task)
    assert result.reason != 'error', result.message
    assert result.ok or result.message.startswith(str(path))


def test_what_is_no_film(tmp_path) -> None:
  for name, data in {
    'empty.webp': b'',
    'text.png': b'no picture',
    'box.avif': b'\xff\xff\xff\xffftypavif\0\0\0\0mif1',
    'png.png': b'\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR',
  }.items():
    path = tmp_path / name
    path.write_bytes(data)
    assert not is_film(path), name
  assert not is_film(tmp_path / 'none.webp')
  assert not is_film(tmp_path)
  film = webp.Film('a.webp', 4, 2, (0, 40, 80))
  assert (film.frames, film.duration, film.average_rate) == (2, 80, 25)
