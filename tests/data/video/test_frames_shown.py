"""The frame given for time t is the frame shown at t, whatever the film."""

import fractions
import pathlib
import random
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from vidlm.data.video import decoding, sampling, sparing

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import odd_films as films

X265 = 'log-level=none:pools=none'
# Encoder -> options that make it quick, and containers it goes in.
CODECS = {
  'libx264': ({'preset': 'ultrafast', 'crf': '10'}, 'mp4 mkv ts avi flv mov'),
  'libx265': ({'preset': 'ultrafast', 'x265-params': X265}, 'mp4 mkv ts'),
  'libvpx-vp9': ({'deadline': 'realtime', 'cpu-used': '8'}, 'webm mp4'),
  'libvpx': ({'deadline': 'realtime', 'cpu-used': '8'}, 'webm'),
  'mpeg2video': (films.MPEG2, 'ts mpg mkv mp4'),
  'mpeg4': ({'qmin': '2', 'qmax': '4'}, 'avi mp4 mkv'),
  'mjpeg': ({}, 'avi mkv mov'),
}
RATES = [10, 25, 30, 60, fractions.Fraction(30000, 1001)]


@st.composite
def recipes(draw) -> dict:
  """How a film is made."""
  codec = draw(st.sampled_from(sorted(CODECS)))
  options, kinds = CODECS[codec]
  options = dict(options)
  reorders = draw(st.integers(0, 3))
  kind = draw(st.sampled_from(kinds.split()))
  if codec in ('libx264', 'libx265', 'mpeg2video', 'mpeg4') and reorders:
    options['bf'] = str(min(reorders, 2) if codec == 'mpeg4' else reorders)
  if codec == 'libx264' and draw(st.booleans()):
    options['x264-params'] = draw(
      st.sampled_from(
        ['open-gop=1', 'intra-refresh=1', 'b-pyramid=none', 'ref=5:weightp=0']
      )
    )
  if codec == 'libx265' and draw(st.booleans()):
    options['x265-params'] += draw(
      st.sampled_from([':open-gop=0', ':temporal-layers=3', ':b-pyramid=0'])
    )
  return {
    'codec': codec,
    'kind': kind,
    'options': options,
    'fps': draw(st.sampled_from(RATES)),
    'gop': draw(st.sampled_from([1, 5, 12, 250])),
    # A stream of a picture or two is too small to be told from anything.
    'frames': draw(st.integers(8 if kind in ('ts', 'mpg') else 1, 60)),
    'seconds': draw(st.sampled_from([0.0, 0.5, 4.0]))
    * (kind not in ('webm', 'mpg')),  # They have no AAC.
    'muxer': draw(
      st.sampled_from(
        [{}, {'movflags': 'faststart'}, {'movflags': 'frag_keyframe'}]
        if kind in ('mp4', 'mov')
        else [{}]
      )
    ),
    'shift': draw(st.sampled_from([0.0, 0.0, 1.7, 4000.0])),
    # Frames that an edit list leaves out.
    'skip': draw(st.sampled_from([0, 0, 7])) if kind == 'mp4' else 0,
  }


def make(recipe: dict, folder: pathlib.Path) -> tuple[pathlib.Path, list[int]]:
  """Makes a film; returns it and the numbers it shows."""
  path = folder / f'film.{recipe["kind"]}'
  numbers = list(range(recipe['frames']))
  fps = recipe['fps']
  pix_fmt = 'yuvj420p' if recipe['codec'] == 'mjpeg' else 'yuv420p'
  films.write(
    path,
    numbers,
    recipe['codec'],
    fps=fps,
    gop=recipe['gop'],
    options=recipe['options'],
    seconds=recipe['seconds'],
    muxer=recipe['muxer'],
    pix_fmt=pix_fmt,
  )
  fits = recipe['skip'] < len(numbers) and 'frag' not in str(recipe['muxer'])
  skip = recipe['skip'] if fits else 0
  # These two begin at 0 whatever they are told; what an edit list leaves out
  # lies before 0.
  stays = skip or recipe['kind'] in ('avi', 'flv')
  shift = 0.0 if stays else recipe['shift']
  if skip or shift:
    moved = folder / f'moved.{recipe["kind"]}'
    films.copy(path, moved, shift=shift, begin=float(skip / fps))
    path = moved
  return path, numbers[skip:]


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> pathlib.Path:
  return tmp_path_factory.mktemp('films')


def check(recipe: dict, seed: int, folder: pathlib.Path) -> None:
  path, numbers = make(recipe, folder)
  duration = decoding.probe(str(path)).duration
  fps = float(recipe['fps'])
  assert duration == pytest.approx(len(numbers) / fps, abs=1 / fps + 2e-3)
  chance = random.Random(seed)
  for _ in range(4):
    start = chance.uniform(0, 0.9) * duration
    end = start + chance.uniform(0.05, 1) * duration
    rate = chance.choice([1.0, 3.0, fps, 2 * fps])
    how = sampling.Sampling(fps=rate, min_frames=1, max_frames=30, size=None)
    clip = decoding.decode_clip(str(path), start, end, how)
    assert not clip.cut_short
    for frame, time in zip(clip.frames, clip.times, strict=True):
      # Containers round times, to a millisecond or less.
      near = {
        numbers[min(max(int((time + e) * fps), 0), len(numbers) - 1)]
        for e in (-1.1e-3, 1.1e-3)
      }
      assert films.number(frame) in near, (recipe, start, end, rate, time)


@hypothesis.settings(
  max_examples=40,
  deadline=None,
  derandomize=True,
  database=None,
  suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(recipes(), st.integers(0, 1 << 30))
def test_the_frame_given_is_the_frame_shown(folder, recipe, seed) -> None:
  check(recipe, seed, folder)


@pytest.mark.slow
@hypothesis.settings(
  max_examples=1000,
  deadline=None,
  database=None,
  suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(recipes(), st.integers(0, 1 << 30))
def test_the_frame_given_is_the_frame_shown_at_length(
  folder, recipe, seed
) -> None:
  check(recipe, seed, folder)


REORDERING = [
  ('libx264', {'preset': 'veryfast', 'bf': '3'}),
  ('libx264', {'preset': 'veryfast', 'bf': '5', 'x264-params': 'open-gop=1'}),
  (
    'libx264',
    {'preset': 'veryfast', 'bf': '3', 'x264-params': 'b-pyramid=none'},
  ),
  ('libx265', {'preset': 'veryfast', 'x265-params': X265}),
  (
    'libx265',
    {'preset': 'veryfast', 'x265-params': X265 + ':temporal-layers=3'},
  ),
  ('mpeg2video', {'bf': '2', **films.MPEG2}),
  ('mpeg4', {'bf': '2'}),
]


@pytest.mark.parametrize('kind', ['mp4', 'mkv'])
@pytest.mark.parametrize('codec, options', REORDERING)
def test_pictures_nobody_needs_are_left_out_and_nothing_changes(
  tmp_path, monkeypatch, codec, options, kind
) -> None:
  path = films.write(
    tmp_path / f'film.{kind}', range(80), codec, options=options, gop=60
  )
  decoded = []
  saw = sparing.Spare.saw
  monkeypatch.setattr(
    sparing.Spare, 'saw', lambda self, f: (decoded.append(f.pts), saw(self, f))
  )
  frames, counts = [], []
  for spares in (True, False):
    decoded.clear()
    if not spares:
      monkeypatch.setattr(sparing.Spare, '_unseen', lambda self, pts: False)
    how = sampling.Sampling(fps=3.0, min_frames=1, size=None)
    clips = [
      decoding.decode_clip(str(path), start, start + 1.5, how)
      for start in (0.0, 0.3, 1.5)
    ]
    frames.append(np.concatenate([clip.frames for clip in clips]))
    counts.append(len(decoded))
  np.testing.assert_array_equal(*frames)
  layered = 'temporal-layers' in options.get('x265-params', '')
  assert counts[0] == counts[1] if layered else counts[0] < 0.8 * counts[1]
