"""Interlaced films: the first field of the frame shown, and nothing else."""

import pathlib
from collections.abc import Sequence

import av
import numpy as np
import pytest
from av.codec.context import Flags
from av.filter import Graph

from vidlm.data.video import decoding, deinterlace, sampling

_WIDTH, _HEIGHT = 192, 96
_KINDS = {
  'dvd.mpg': ('mpeg2video', {}),
  'broadcast.ts': ('mpeg2video', {'bf': '2'}),
  'broadcast.mkv': ('mpeg2video', {'bf': '2'}),
  'camera.mp4': ('libx264', {}),
  'camera.mov': ('libx264', {'x264-params': 'open-gop=1:bframes=3'}),
  'camera.mkv': ('libx264', {'x264-params': 'bff=1'}),
  'camera.ts': ('libx264', {'x264-params': 'open-gop=1:bframes=3'}),
  'camera.avi': ('mpeg4', {}),
}


def field(moment: int) -> np.ndarray:
  """A bar that moves by eight pixels a field, of a brightness of its own.

  Of the rows behind it one field alone tells too little.
  """
  picture = np.full((_HEIGHT, _WIDTH, 3), 64, np.uint8)
  picture[np.arange(_HEIGHT) // 3 % 2 > 0] = 72
  picture[:, :24] = 140 + moment % 32 * 3
  return np.roll(picture, moment * 8, axis=1)


def woven(number: int, first: int = 0) -> np.ndarray:
  """Two moments in one picture: rows from `first` on, every other, are now."""
  picture = field(2 * number)
  picture[1 - first :: 2] = field(2 * number + 1)[1 - first :: 2]
  return picture


def write(
  path: pathlib.Path,
  codec: str = 'libx264',
  options: dict[str, str] | None = None,
  is_flagged: bool = True,
  pts: Sequence[int] | None = None,
  num_frames: int = 60,
) -> str:
  """Writes a film at 25 frames a second, key frames 12 frames apart."""
  options = options or {}
  bottom = 'bff' in options.get('x264-params', '')
  with av.open(str(path), 'w') as out:
    stream = out.add_stream(codec, rate=25)
    stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, 'yuv420p'
    stream.codec_context.gop_size = 12
    stream.codec_context.thread_count = 1
    stream.codec_context.bit_rate = 4_000_000
    stream.options = options
    if is_flagged:
      stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    for number in range(num_frames):
      picture = woven(number, bottom)
      mode = ('bff' if bottom else 'tff') if is_flagged else 'prog'
      frame = av.VideoFrame.from_ndarray(picture, 'rgb24')
      frame = flagged(frame.reformat(format='yuv420p'), mode)
      frame.pts = number if pts is None else pts[number]
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  return str(path)


def flagged(frame: av.VideoFrame, mode: str) -> av.VideoFrame:
  """Returns a frame with libavfilter's flags: prog, tff or bff."""
  graph = Graph()
  source = graph.add_buffer(template=frame, time_base='1/25')
  graph.link_nodes(
    source, graph.add('setfield', mode), graph.add('buffersink')
  ).configure()
  graph.push(frame)
  frame = graph.pull()
  return frame


def filtered(frames: Sequence[av.VideoFrame]) -> list[np.ndarray]:
  """What bwdif makes of all of them, one after the other."""
  graph = Graph()
  source = graph.add_buffer(template=frames[0], time_base='1/25')
  bwdif = graph.add('bwdif', 'mode=send_frame:deint=interlaced')
  sink = graph.add('buffersink')
  graph.link_nodes(source, bwdif, sink).configure()
  for frame in [*frames, None]:
    graph.push(frame)
  made = [graph.pull() for _ in frames]
  return [f.to_ndarray(format='rgb24', interpolation='AREA') for f in made]


def scanned(path: str) -> tuple[list[float], list[np.ndarray]]:
  """The slow way: all of the file, and when each frame is shown."""
  with av.open(path) as container:
    stream = container.streams.video[0]
    frames = list(container.decode(stream))
    origin, unit = stream.start_time or 0, float(stream.time_base)
  return [(frame.pts - origin) * unit for frame in frames], filtered(frames)


def decode(path: str, start=None, end=None, fps: float = 5.0) -> decoding.Clip:
  how = sampling.Sampling(size=0, fps=fps, min_frames=1)
  return decoding.decode_clip(path, start, end, how)


def expected(path: str, times: np.ndarray) -> np.ndarray:
  shown_at, frames = scanned(path)
  last = [
    max(i for i, at in enumerate(shown_at) if at <= time + 1e-6)
    for time in times
  ]
  return np.stack([frames[i] for i in last])


def combing(frame: np.ndarray) -> float:
  return float(np.abs(np.diff(frame.astype(int), axis=0)).mean())


@pytest.fixture(scope='module')
def made(tmp_path_factory):
  folder = tmp_path_factory.mktemp('interlaced')
  return {name: write(folder / name, *kind) for name, kind in _KINDS.items()}


@pytest.mark.parametrize('name', _KINDS)
def test_seeking_equals_scanning(made, name: str) -> None:
  """Also where the frame wanted is a key frame, and at both ends."""
  key = 24 / 25
  for start, end, fps in [
    (None, None, 5.0),
    (key, key + 0.01, 25.0),
    (key - 0.04, key + 0.1, 25.0),
    (1.31, 1.9, 10.0),
    (1.6, None, 25.0),
  ]:
    clip = decode(made[name], start, end, fps)
    want = expected(made[name], clip.times)
    np.testing.assert_array_equal(clip.frames, want)


@pytest.mark.parametrize('name', _KINDS)
def test_the_moment_shown(made, name: str) -> None:
  """The first field, not the mean of two; no comb is left of the second."""
  clip = decode(made[name])
  for time, frame in zip(clip.times, clip.frames, strict=True):
    number = round(25 * time)
    now, later = (
      np.abs(frame.astype(int) - field(2 * number + i)).mean() for i in (0, 1)
    )
    assert now < later / 2
    assert combing(frame) < combing(woven(number)) / 2


def test_only_what_is_flagged(tmp_path) -> None:
  """A comb without the flag may be the picture's own."""
  path = write(tmp_path / 'a.mp4', is_flagged=False)
  with av.open(path) as container:
    frames = [
      frame.to_ndarray(format='rgb24', interpolation='AREA')
      for frame in container.decode(video=0)
    ]
  clip = decode(path, fps=25.0)
  np.testing.assert_array_equal(clip.frames, np.stack(frames))


def whole(frames: Sequence[av.VideoFrame], number: int):
  """A frame as the reader hands it out, with the two beside it."""
  frame = frames[number]
  if not frame.interlaced_frame:
    return frame
  before, after = (
    frames[n] if 0 <= n < len(frames) else None
    for n in (number - 1, number + 1)
  )
  return deinterlace.Interlaced(frame, before, after)


def test_flags_may_change_from_frame_to_frame() -> None:
  """As in a film of 24 frames a second, made to 30 by mixing fields."""
  flags = [(n * 7919 >> 4) % 3 > 0 for n in range(24)]
  frames = []
  for number, is_interlaced in enumerate(flags):
    picture = woven(number) if is_interlaced else field(2 * number)
    frame = av.VideoFrame.from_ndarray(picture, 'rgb24')
    frame = frame.reformat(format='yuv420p')
    frames.append(flagged(frame, 'tff' if is_interlaced else 'prog'))
    frames[-1].pts = number
  for number, want in enumerate(filtered(frames)):
    got = whole(frames, number).to_ndarray(format='rgb24', interpolation='AREA')
    np.testing.assert_array_equal(got, want)


def test_key_frames_shown_for_long(tmp_path) -> None:
  """The frame before a key frame is far away: a seek goes back for it."""
  pts = [i + 40 * (i // 12) for i in range(60)]
  pts = [at + (30 if i % 12 else 0) for i, at in enumerate(pts)]
  path = write(tmp_path / 'a.mp4', options={'bf': '0'}, pts=pts)
  for at in [pts[12], pts[24], pts[48]]:
    for late in (0.01, 1.1):
      clip = decode(path, at / 25 + late, at / 25 + late + 0.5, 2.0)
      want = expected(path, clip.times)
      np.testing.assert_array_equal(clip.frames, want)


def test_few_frames_and_few_rows(tmp_path) -> None:
  for number in (1, 2, 3):
    path = write(tmp_path / f'{number}.mp4', num_frames=number)
    clip = decode(path, fps=25.0)
    want = expected(path, clip.times)
    np.testing.assert_array_equal(clip.frames, want)
  tiny = flagged(av.VideoFrame(2, 2, 'yuv420p'), 'tff')
  assert whole([tiny], 0).to_ndarray(format='rgb24').shape == (2, 2, 3)


def test_neighbours_of_another_size(tmp_path) -> None:
  """Nothing is told from them; the frame alone is made whole."""
  large, small = (
    flagged(av.VideoFrame(side, side, 'yuv420p'), 'tff') for side in (64, 32)
  )
  for order in ([large, small], [small, large, small], [small, large]):
    frames = [whole(order, number) for number in range(len(order))]
    sizes = [frame.to_ndarray(format='rgb24').shape[0] for frame in frames]
    assert sizes == [frame.height for frame in order]
