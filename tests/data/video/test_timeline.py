"""When each frame is shown, whatever the header says; files that were cut."""

import fractions
import gc
import pathlib
import random
import sys

import av
import numpy as np
import pytest

from vidlm.data.video import decoding, orientation, sampling

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import odd_films as films

FAST = {'movflags': 'faststart'}
REORDERED = {'preset': 'veryfast', 'crf': '10', 'bf': '3'}


def clip_of(path: pathlib.Path, start=None, end=None, **how) -> decoding.Clip:
  """Five frames a second, of the file's size."""
  fields = {'fps': 5.0, 'min_frames': 1, 'max_frames': 500, 'size': None}
  return decoding.decode_clip(
    str(path), start, end, sampling.Sampling(**{**fields, **how})
  )


def numbers(clip: decoding.Clip) -> list[int]:
  return [films.number(frame) for frame in clip.frames]


def shown(order, times: np.ndarray, fps: float = 25) -> list[int]:
  """The number shown at each time, of frames that follow each other."""
  return [order[min(int(t * fps + 1e-3), len(order) - 1)] for t in times]


@pytest.fixture(scope='module')
def parts(tmp_path_factory) -> dict[str, tuple[pathlib.Path, list[int]]]:
  """Three films of each kind whose time can restart."""
  folder = tmp_path_factory.mktemp('parts')
  made = {}
  for kind, codec in (('ts', 'libx264'), ('mpg', 'mpeg2video')):
    for name, span in (('a', (0, 50)), ('b', (50, 75)), ('c', (100, 300))):
      path = films.write(folder / f'{name}.{kind}', range(*span), codec)
      made[f'{name}.{kind}'] = path, list(range(*span))
  return made


@pytest.mark.parametrize('kind', ['ts', 'mpg'])
@pytest.mark.parametrize('order', ['ab', 'bc', 'cab', 'aa', 'abcba'])
def test_parts_follow_each_other_on_one_clock(
  parts, tmp_path, order: str, kind: str
) -> None:
  """Joined by `cat`: parts were lost, sometimes the later, sometimes not."""
  chosen = [parts[f'{name}.{kind}'] for name in order]
  path = films.join(tmp_path / f'joined.{kind}', *(p for p, _ in chosen))
  frames = [number for _, span in chosen for number in span]
  clip = clip_of(path)
  assert clip.end == pytest.approx(len(frames) / 25) and not clip.cut_short
  assert numbers(clip) == shown(frames, clip.times)
  late = clip_of(path, clip.end - 1.5, clip.end - 0.5)
  assert numbers(late) == shown(frames, late.times)


def test_time_that_leaps_ahead_is_a_new_part(tmp_path) -> None:
  first = films.write(tmp_path / 'a.ts', range(50))
  second = films.write(tmp_path / 'b.ts', range(50, 100), options=REORDERED)
  later = films.copy(second, tmp_path / 'later.ts', shift=3600.0)
  path = films.join(tmp_path / 'leap.ts', first, later)
  clip = clip_of(path)
  assert clip.end == pytest.approx(4.0)
  assert numbers(clip) == shown(range(100), clip.times)


def test_a_show_of_slides_stays_one_part(tmp_path) -> None:
  path = films.write(
    tmp_path / 'slides.ts', range(4), pts=[0, 12000, 30000, 45000], gop=1
  )
  clip = clip_of(path, fps=1.0)
  assert numbers(clip)[:45] == [0] * 12 + [1] * 18 + [2] * 15


def test_every_cut_of_a_file_with_sound(tmp_path) -> None:
  """Of 40 cuts 33 were accepted, 32 with their last frame repeated."""
  source = films.write(
    tmp_path / 'whole.mp4',
    range(300),
    options=REORDERED,
    seconds=12.0,
    muxer=FAST,
  )
  whole = source.read_bytes()
  assert clip_of(source).end == pytest.approx(12.0)
  assert not clip_of(source).cut_short
  chance = random.Random(0)
  flagged = 0
  for _ in range(40):
    path = tmp_path / 'cut.mp4'
    path.write_bytes(whole[: chance.randrange(len(whole))])
    with pytest.raises(decoding.DecodeError) as refused:
      clip_of(path, damaged='refuse')
    assert refused.value.code in ('open_failed', 'truncated', 'empty')
    try:
      clip = clip_of(path)
    except decoding.DecodeError as error:
      assert error.code in ('open_failed', 'truncated', 'empty')
      continue
    flagged += 1
    assert numbers(clip) == shown(range(300), clip.times)
    assert 'ends at' in clip.cut_short and clip.end < 12
  assert flagged > 25


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'ts', 'avi', 'flv', 'mpg'])
def test_cut_files_of_each_kind_show_what_was_read(tmp_path, suffix) -> None:
  codec = 'mpeg2video' if suffix == 'mpg' else 'libx264'
  options = {'bf': '2', **films.MPEG2} if suffix == 'mpg' else REORDERED
  if suffix == 'avi':
    options = films.LOSSY  # It has no times for frames out of order.
  source = films.write(
    tmp_path / f'whole.{suffix}',
    range(150),
    codec,
    options=options,
    muxer=FAST if suffix == 'mp4' else {},
  )
  whole = source.read_bytes()
  assert clip_of(source).end == pytest.approx(6.0, abs=0.05)
  assert not clip_of(source).cut_short
  chance = random.Random(1)
  read = 0
  for _ in range(12):
    path = tmp_path / f'cut.{suffix}'
    size = chance.randrange(len(whole) // 4, len(whole))
    path.write_bytes(whole[:size])
    try:
      clip = clip_of(path)
    except decoding.DecodeError:
      continue
    read += 1
    assert numbers(clip) == shown(range(150), clip.times)
    # The frames are about as large as each other.
    assert clip.end < 6 * size / len(whole) + 1.2
    # Where the cut took nothing but an index, or a frame, a header can't tell.
    assert clip.cut_short or clip.end > 5.85
  assert read > 8


def test_a_cut_is_flagged_where_the_clip_reaches_it(cut_film) -> None:
  early = clip_of(cut_film, 0.0, 1.0)
  assert early.end == 1.0 and not early.cut_short
  assert clip_of(cut_film, 0.0, 1.0, damaged='refuse').end == 1.0
  late = clip_of(cut_film, 1.0, 5.0)
  assert late.end < 3 and 'ends at' in late.cut_short
  for how in ('flag', 'refuse'):
    with pytest.raises(decoding.DecodeError, match='truncated'):
      clip_of(cut_film, 4.0, 5.0, damaged=how)


def test_a_header_that_says_too_little_or_too_much(tmp_path) -> None:
  """What was read counts, whichever duration a header gives."""
  source = films.write(tmp_path / 'a.mkv', range(100))
  data = bytearray(source.read_bytes())
  at = data.index(b'\x44\x89\x88') + 3
  for seconds in (1.5, 400.0):
    data[at : at + 8] = np.array([seconds * 1000], '>f8').tobytes()
    path = tmp_path / f'{seconds}.mkv'
    path.write_bytes(data)
    clip = clip_of(path)
    assert clip.end == pytest.approx(4.0)
    assert numbers(clip) == shown(range(100), clip.times)
    assert bool(clip.cut_short) == (seconds > 4)


def middle(frame: np.ndarray) -> np.ndarray:
  """What of a frame isn't the black around it."""
  light = frame.max(2) > 40
  rows, columns = np.flatnonzero(light.any(1)), np.flatnonzero(light.any(0))
  return frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@pytest.mark.parametrize('kind', ['ts', 'mpg'])
@pytest.mark.parametrize('restarts', [True, False])
def test_a_size_that_changes_is_padded_not_squeezed(
  tmp_path, kind, restarts
) -> None:
  codec = 'mpeg2video' if kind == 'mpg' else 'libx264'
  wide = films.write(tmp_path / f'a.{kind}', range(50), codec)
  tall = films.write(
    tmp_path / f'b.{kind}', range(50, 100), codec, size=(96, 192)
  )
  if not restarts:
    tall = films.copy(tall, tmp_path / f'c.{kind}', shift=2.0)
  clip = clip_of(films.join(tmp_path / f'joined.{kind}', wide, tall))
  assert clip.frames.shape[1:] == (96, 192, 3)
  shapes = [middle(frame).shape[:2] for frame in clip.frames]
  found = [films.number(middle(frame)) for frame in clip.frames]
  assert found == shown(range(100), clip.times)
  assert shapes[:10] == [(96, 192)] * 10 and shapes[10:] == [(96, 48)] * 10


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
@pytest.mark.parametrize('restarts', [True, False])
def test_an_aspect_that_changes_is_taken_up_with_its_first_frame(
  tmp_path, codec, restarts
) -> None:
  options = {
    'libx264': REORDERED,
    'libx265': {'x265-params': 'log-level=none:pools=none'},
  }[codec]
  square = films.write(tmp_path / 'a.ts', range(50), codec, options=options)
  oblong = films.write(
    tmp_path / 'b.ts',
    range(50, 100),
    codec,
    options=options,
    aspect=fractions.Fraction(2),
  )
  if not restarts:
    oblong = films.copy(oblong, tmp_path / 'c.ts', shift=2.0)
  path = films.join(tmp_path / 'joined.ts', square, oblong)
  clip = clip_of(path, fps=25.0)
  shapes = [middle(frame).shape[:2] for frame in clip.frames]
  assert shapes == [(96, 192)] * 50 + [(48, 192)] * 50
  assert [films.number(middle(f)) for f in clip.frames] == list(range(100))


@pytest.mark.parametrize('kind', ['mp4'])
def test_a_frame_that_refers_to_a_damaged_one_is_refused(
  tmp_path, kind
) -> None:
  """It was accepted: the decoder makes up what it can't read."""
  source = films.write(
    tmp_path / f'a.{kind}', range(100), options=REORDERED, size=(384, 192)
  )
  data = source.read_bytes()
  right = {
    start: clip_of(source, start, start + 0.3) for start in (0.5, 1.5, 3.1)
  }
  chance = random.Random(3)
  same = refused = 0
  for _ in range(25):
    flipped = bytearray(data)
    at = chance.randrange(len(data) // 10, len(data) * 9 // 10)
    flipped[at : at + 40] = chance.randbytes(40)
    path = tmp_path / f'flipped.{kind}'
    path.write_bytes(flipped)
    for start, clip in right.items():
      try:
        found = clip_of(path, start, start + 0.3)
      except decoding.DecodeError:
        refused += 1
        continue
      same += 1
      assert numbers(found) == numbers(clip)[: len(found.frames)]
      assert found.cut_short or len(found.frames) == len(clip.frames)
  assert same > 25 and refused > 3


@pytest.mark.parametrize(
  'name, codec, options',
  [
    ('raw.h264', 'libx264', REORDERED),
    ('raw.hevc', 'libx265', {'x265-params': 'log-level=none:pools=none'}),
    ('tape.m2v', 'mpeg2video', {'bf': '2', **films.MPEG2}),
    ('film.avi', 'libx264', REORDERED),
    ('film.avi', 'mpeg4', {'bf': '2', 'qmin': '2', 'qmax': '4'}),
  ],
)
def test_frames_without_times_follow_each_other(
  tmp_path, name, codec, options
) -> None:
  """A raw stream has none; AVI has those of storing."""
  form = {'raw.h264': 'h264', 'raw.hevc': 'hevc', 'tape.m2v': 'mpeg2video'}
  path = films.write(
    tmp_path / name, range(60), codec, options=options, format=form.get(name)
  )
  for start, end in ((None, None), (1.0, 1.5), (2.2, None)):
    clip = clip_of(path, start, end, fps=25.0)
    assert numbers(clip) == shown(range(60), clip.times)
  assert clip.end == pytest.approx(2.4, abs=0.01)


def test_a_frame_keeps_its_orientation_when_another_is_gone() -> None:
  """By chance a frame was shown as it is coded: PyAV had forgotten."""
  said = orientation.Persistence()
  said._said = orientation.EXIF[6]
  first, second = (av.VideoFrame(16, 16, 'yuv420p') for _ in range(2))
  said.hand_on(first)
  said.hand_on(second)
  del first
  gc.collect()
  assert orientation.of_frame(second) == orientation.EXIF[6]
