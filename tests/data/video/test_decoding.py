"""Decoding real files, good and hostile, against a scan of every frame."""

import os
import pathlib
import subprocess
import sys
import time

import av
import numpy as np
import psutil
import pytest

from vidlm.data.video import decoding, sampling
from vidlm.data.video import reader as frames_lib

ROOT = pathlib.Path(__file__).resolve().parents[3]
VFR = [0, 40, 300, 320, 900, 1000, 2500, 2533, 4000, 4100, 4200, 6000]
FORMATS = {
  'b_frames.mp4': {},
  'no_b_frames.mp4': {'options': {'bf': '0'}},
  'one_gop.mp4': {'gop': 250},
  'all_intra.mp4': {'gop': 1},
  'open_gop.mp4': {'options': {'x264-params': 'open-gop=1:bframes=3'}},
  'hevc_open_gop.mp4': {
    'codec': 'libx265',
    'options': {'x265-params': 'open-gop=1:log-level=none:pools=none'},
  },
  'matroska.mkv': {},
  'vp9.webm': {'codec': 'libvpx-vp9', 'options': {'cpu-used': '8'}},
  'mpeg4.avi': {'codec': 'mpeg4', 'options': {'bf': '2'}},
  'transport.ts': {},
  'vfr.mp4': {'pts': VFR},
  'vfr.mkv': {'pts': VFR},
  'negative.mkv': {'pts': [t - 500 for t in VFR]},
  'edit_list.mp4': {'pts': [t - 500 for t in VFR]},
  'live.mkv': {'container': {'live': '1'}},
  'fragmented.mp4': {'container': {'movflags': 'frag_keyframe+empty_moov'}},
}


def decode(path: str, start=None, end=None, **fields) -> decoding.Clip:
  """Frames as arrays, of the file's size unless told otherwise."""
  how = sampling.Sampling(**{'size': None, **fields})
  return decoding.decode_clip(path, start, end, how)


def scan(path: str, times: np.ndarray) -> np.ndarray:
  """The slow way: decode all, convert all, choose the frame shown."""
  with av.open(path) as container:
    stream = container.streams.video[0]
    origin = stream.start_time or 0
    if path.endswith('.avi'):
      # It has no times: libav makes them up, a frame later than this.
      origin = next(container.decode(stream)).pts
      container.seek(0)
    frames = [
      (
        (f.pts - origin) * float(stream.time_base),
        f.to_ndarray(format='rgb24', interpolation='AREA'),
      )
      for f in container.decode(stream)
    ]
  chosen = []
  for moment in times:
    before = [f for at, f in frames if at <= moment + 1e-6]
    chosen.append(before[-1] if before else frames[0][1])
  return np.stack(chosen)


@pytest.fixture(scope='module')
def made(videos, tmp_path_factory):
  folder = tmp_path_factory.mktemp('formats')
  paths = {}

  def make(name: str) -> str:
    if name not in paths:
      kwargs = {'num_frames': 60, **FORMATS[name]}
      paths[name] = videos.write(folder / name, **kwargs)
    return paths[name]

  return make


@pytest.mark.parametrize('name', FORMATS)
def test_seeking_equals_scanning(made, name: str) -> None:
  path = made(name)
  duration = decoding.probe(path).duration
  assert duration > 3
  for start, end, fps in [
    (None, None, 2.0),
    (0.0, 1.0, 10.0),
    (2.45, None, 4.0),
    (3.1, 3.9, 5.0),
    (duration - 0.3, duration, 30.0),
  ]:
    clip = decode(path, start, end, fps=fps, min_frames=1)
    np.testing.assert_array_equal(clip.frames, scan(path, clip.times))


def test_long_clip_jumps_between_keyframes(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'long.mp4', num_frames=250, gop=10)
  clip = decode(path, max_frames=5, min_frames=5)
  np.testing.assert_array_equal(clip.frames, scan(path, clip.times))
  limits = sampling.Limits(max_decoded_frames=100)
  jumped = decode(path, max_frames=5, min_frames=5, limits=limits)
  np.testing.assert_array_equal(jumped.frames, clip.frames)


def test_only_the_clip_is_decoded(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'long.mp4', num_frames=250, gop=10)
  limits = sampling.Limits(max_decoded_frames=40)
  clip = decode(path, 20.0, 22.0, min_frames=1, limits=limits)
  assert [videos.read_number(f) for f in clip.frames] == [200, 205, 210, 215]
  with pytest.raises(decoding.DecodeError, match='too_many_frames'):
    decode(path, 10.0, 22.0, fps=10.0, limits=limits)


def test_frame_shown_in_a_video_of_variable_rate(made, videos) -> None:
  clip = decode(made('vfr.mkv'), fps=2.0, min_frames=1)
  shown = [
    max(i for i, at in enumerate(VFR) if at <= 1000 * moment + 1e-3)
    for moment in clip.times
  ]
  assert [videos.read_number(f) for f in clip.frames] == shown


def test_times_are_not_lost_to_rounding(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'a.mp4', num_frames=40, fps=10)
  clip = decode(path, 0.1, 3.9, fps=10.0)
  assert [videos.read_number(f) for f in clip.frames] == list(range(1, 39))


def test_short_clip_has_each_source_frame_once(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'a.mp4', num_frames=5, fps=10)
  clip = decode(path)
  assert [videos.read_number(f) for f in clip.frames] == [0, 1, 2, 3, 4]
  assert len(clip.times) == 5 and (np.diff(clip.times) > 0).all()
  one = videos.write(tmp_path / 'one.mp4', num_frames=1)
  assert len(decode(one).frames) == 1


@pytest.mark.parametrize('degrees', [90, 180, -90])
def test_rotation(videos, tmp_path, degrees: int) -> None:
  path = videos.write(tmp_path / 'r.mp4', num_frames=5, rotation=degrees)
  clip = decode(path)
  expected = np.rot90(scan(path, clip.times), degrees // 90, axes=(1, 2))
  np.testing.assert_array_equal(clip.frames, expected)


def test_size_and_pixel_aspect(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'a.mp4', num_frames=5, width=96, height=64)
  assert decode(path, size=32).frames.shape[1:] == (32, 48, 3)
  assert decode(path, size=0).frames.shape[1:] == (64, 96, 3)
  assert decode(path, size=128).frames.shape[1:] == (128, 192, 3)
  wide = videos.write(tmp_path / 'w.mp4', num_frames=5, aspect='2:1')
  assert decode(wide, size=32).frames.shape[1:] == (32, 96, 3)
  tall = videos.write(tmp_path / 't.mp4', num_frames=5, rotation=90)
  assert decode(tall, size=32).frames.shape[1:] == (48, 32, 3)


def test_resizing_keeps_the_picture(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'a.mp4', num_frames=3, width=192, height=128)
  native = decode(path).frames.astype(float)
  small = decode(path, size=64).frames
  means = native.reshape(3, 64, 2, 96, 2, 3).mean((2, 4))
  assert np.abs(means - small).mean() < 3


def test_clip_ends_with_the_video(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'a.mp4', num_frames=40)
  clip = decode(path, 2.0, 99.0)
  assert clip.end == pytest.approx(4.0) and clip.times[-1] < 4
  for start, end in [(5.0, 6.0), (3.0, 2.0), (1.0, 1.0), (4.0, None)]:
    with pytest.raises(decoding.DecodeError, match='empty'):
      decode(path, start, end)


def test_sound_longer_than_video(videos, tmp_path) -> None:
  """Matroska's one duration is the longer of the two."""
  path = videos.write(tmp_path / 'a.mkv', num_frames=40, audio=8.0)
  assert decoding.probe(path).duration == pytest.approx(4.0)
  clip = decode(path)
  assert clip.end == pytest.approx(4.0)
  assert [videos.read_number(f) for f in clip.frames] == list(range(0, 40, 5))


def test_hostile_files(hostile) -> None:
  failed = {}
  for name, (path, _) in hostile.items():
    began = time.monotonic()
    with pytest.raises(decoding.DecodeError) as caught:
      decode(path)
    failed[name] = caught.value.code
    assert time.monotonic() - began < 10
    assert path in caught.value.message and '\n' not in str(caught.value)
  assert all(failed[name] in hostile[name][1] for name in failed), failed


def test_size_bomb_takes_little_memory(hostile) -> None:
  """A frame of it would take 100 MB, its RGB another 200."""
  code = f"""
from vidlm.data.video import decoding, sampling
path = {hostile['size_bomb.mp4'][0]!r}
try:
  decoding.decode_clip(path, sampling=sampling.Sampling(size=None))
except decoding.DecodeError as error:
  status = open('/proc/self/status').read()
  print(error.code, status.split('VmHWM:')[1].split()[0])
"""
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
  )
  reason, kilobytes = done.stdout.split()
  assert reason == 'too_large' and int(kilobytes) < 100_000


def test_truncated_file_is_fine_up_to_where_it_breaks(cut_film, videos) -> None:
  clip = decode(cut_film, 0.0, 1.0, fps=5.0, min_frames=1)
  assert [videos.read_number(f) for f in clip.frames] == [0, 2, 4, 6, 8]


def test_neither_missing_nor_special_files(tmp_path) -> None:
  with pytest.raises(decoding.DecodeError, match='not_found'):
    decode(str(tmp_path / 'none.mp4'))
  os.mkfifo(tmp_path / 'pipe.mp4')
  for special in (tmp_path / 'pipe.mp4', tmp_path, '/dev/zero'):
    with pytest.raises(decoding.DecodeError, match='open_failed'):
      decode(str(special))


@pytest.mark.parametrize(
  'name', ['a:b.mp4', 'http:x.mp4', '%03d.mp4', '-i.mp4', ' ü 日本.mp4']
)
def test_odd_file_names(videos, tmp_path, monkeypatch, name: str) -> None:
  os.rename(videos.write(tmp_path / 'a.mp4'), tmp_path / name)
  monkeypatch.chdir(tmp_path)
  assert len(decode(name).frames) == 8


def test_long_strip_can_not_be_blown_up(videos, tmp_path) -> None:
  path = videos.write(tmp_path / 'a.mp4', num_frames=2, width=4096, height=2)
  with pytest.raises(decoding.DecodeError, match='too_large'):
    decode(path, size=256)


def test_frame_rate_bomb(videos, tmp_path) -> None:
  path = videos.write(
    tmp_path / 'a.mp4',
    num_frames=3000,
    fps=1000,
    width=64,
    height=16,
    gop=3000,
    options={'preset': 'ultrafast'},
  )
  limits = sampling.Limits(max_decoded_frames=500)
  began = time.monotonic()
  with pytest.raises(decoding.DecodeError, match='too_many_frames'):
    decode(path, limits=limits)
  assert time.monotonic() - began < 5


def test_neither_memory_nor_descriptors_leak(videos, tmp_path, hostile) -> None:
  path = videos.write(tmp_path / 'a.mp4', num_frames=20)
  bad = hostile['flipped.mp4'][0]
  process = psutil.Process()

  def repeat(times: int) -> tuple[int, int]:
    for _ in range(times):
      decode(path, 0.5, 1.5)
      with pytest.raises(decoding.DecodeError):
        decode(bad)
    return process.memory_info().rss, process.num_fds()

  before, before_fds = repeat(20)
  after, after_fds = repeat(150)
  assert after_fds == before_fds
  assert after < before * 1.05 + 4e6


def test_jpeg(videos, tmp_path) -> None:
  import io

  from PIL import Image

  path = videos.write(tmp_path / 'a.mp4', num_frames=20)
  clip = decoding.decode_clip(
    path, encode=decoding.encode_jpeg(95), sampling=sampling.Sampling(size=None)
  )
  raw = decode(path).frames
  decoded = np.stack([Image.open(io.BytesIO(f)) for f in clip.frames])
  assert np.abs(decoded.astype(int) - raw).mean() < 3


def test_unknown_reason() -> None:
  with pytest.raises(ValueError, match='unknown reason'):
    frames_lib.DecodeError('odd', 'x')
