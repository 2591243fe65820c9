"""Real videos for tests: every frame carries its number, readable as pixels."""

import fractions
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import av
import numpy as np
import pytest

_BLOCK = 8
_BITS = 8


def draw(number: int, width: int, height: int) -> np.ndarray:
  """A frame whose top row of blocks is `number` in binary."""
  x, y = np.meshgrid(np.arange(width), np.arange(height))
  base = 96 + 32 * np.sin(x / 9 + number / 3) + 32 * np.cos(y / 7 - number / 5)
  frame = np.stack([base, 255 - base, base], -1).astype(np.uint8)
  for bit in range(_BITS):
    value = 255 if number >> bit & 1 else 0
    frame[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = value
  return frame


def read_number(frame: np.ndarray) -> int:
  """The number a native-size frame carries."""
  bits = [
    frame[2:6, bit * _BLOCK + 2 : bit * _BLOCK + 6].mean() > 128
    for bit in range(_BITS)
  ]
  return sum(int(on) << bit for bit, on in enumerate(bits))


def write_video(
  path: pathlib.Path,
  *,
  num_frames: int = 40,
  fps: int = 10,
  pts: Sequence[int] | None = None,
  codec: str = 'libx264',
  width: int = 96,
  height: int = 64,
  rotation: int | None = None,
  aspect: str | None = None,
  gop: int = 12,
  options: dict[str, str] | None = None,
  container: dict[str, str] | None = None,
  audio: float = 0.0,
) -> str:
  """Writes a video and returns its path.

  Args:
    path: Its suffix chooses the container.
    num_frames: Their numbers are their positions.
    fps: Frames a second.
    pts: Milliseconds of each frame instead.
    codec: An encoder of FFmpeg's.
    width: In pixels.
    height: In pixels.
    rotation: Degrees counterclockwise at display.
    aspect: Of a pixel, such as '2:1'.
    gop: Frames between keyframes.
    options: Of the encoder.
    container: Of the muxer.
    audio: Seconds of silence beside the video.
  """
  with av.open(str(path), 'w', options=container or {}) as out:
    stream = out.add_stream(codec, rate=fps)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.codec_context.gop_size = gop
    stream.codec_context.thread_count = 1
    stream.options = options or {}
    if aspect:
      num, den = map(int, aspect.split(':'))
      stream.codec_context.sample_aspect_ratio = fractions.Fraction(num, den)
    if pts is not None:
      stream.codec_context.time_base = fractions.Fraction(1, 1000)
    if rotation is not None:
      stream.set_display_rotation(rotation)
    sound = out.add_stream('aac', rate=16000) if audio else None
    for number in range(num_frames if pts is None else len(pts)):
      frame = av.VideoFrame.from_ndarray(draw(number, width, height), 'rgb24')
      if pts is not None:
        frame.pts = pts[number]
        frame.time_base = fractions.Fraction(1, 1000)
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
    if sound is not None:
      _write_silence(out, sound, audio)
  return str(path)


def _write_silence(out: Any, stream: Any, seconds: float) -> None:
  for number in range(int(seconds * 16000 / 1024)):
    frame = av.AudioFrame.from_ndarray(
      np.zeros((1, 1024), np.float32), 'fltp', 'mono'
    )
    frame.sample_rate = 16000
    frame.pts = number * 1024
    out.mux(stream.encode(frame))
  out.mux(stream.encode())


def write_sound(path: pathlib.Path) -> str:
  """Writes a file of sound alone."""
  with av.open(str(path), 'w') as out:
    _write_silence(out, out.add_stream('aac', rate=16000), 2.0)
  return str(path)


def write_huge(path: pathlib.Path) -> str:
  """Writes a small file with one grey frame of 8192 x 8192."""
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=1)
    stream.width = stream.height = 8192
    stream.pix_fmt = 'yuv420p'
    stream.options = {'preset': 'ultrafast'}
    frame = av.VideoFrame(8192, 8192, 'yuv420p')
    for plane in frame.planes:
      plane.update(bytes([128]) * plane.buffer_size)
    out.mux(stream.encode(frame))
    out.mux(stream.encode())
  assert path.stat().st_size < 1 << 20
  return str(path)


class Videos:
  """The functions above, as a fixture (test folders are no packages)."""

  write = staticmethod(write_video)
  write_huge = staticmethod(write_huge)
  write_sound = staticmethod(write_sound)
  draw = staticmethod(draw)
  read_number = staticmethod(read_number)


@pytest.fixture(scope='session')
def videos() -> type[Videos]:
  return Videos


@pytest.fixture(scope='session')
def cut_film(
  tmp_path_factory: pytest.TempPathFactory, videos: type[Videos]
) -> str:
  """A film of 6 s whose file breaks off in the middle."""
  path = tmp_path_factory.mktemp('cut') / 'cut.mp4'
  fast = {'movflags': 'faststart'}
  videos.write(path, num_frames=60, container=fast)
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  return str(path)


@pytest.fixture(scope='session')
def hostile(
  tmp_path_factory: pytest.TempPathFactory, videos: type[Videos]
) -> dict[str, tuple[str, Sequence[str]]]:
  """File name -> path and the reasons it may fail for."""
  folder = tmp_path_factory.mktemp('hostile')
  good = videos.write(folder / 'good_source.mp4', num_frames=60)
  raw = pathlib.Path(good).read_bytes()
  fast = pathlib.Path(
    videos.write(
      folder / 'fast_source.mp4',
      num_frames=60,
      container={'movflags': 'faststart'},
    )
  ).read_bytes()
  flipped = bytearray(fast)
  start = flipped.find(b'mdat') + 1000
  for at in np.random.default_rng(0).integers(start, len(fast), 2000):
    flipped[at] ^= 0x5A
  files: dict[str, tuple[bytes | Callable[[pathlib.Path], Any], list[str]]] = {
    'truncated.mp4': (raw[: len(raw) // 2], ['open_failed']),
    'flipped.mp4': (bytes(flipped), ['corrupt', 'truncated']),
    'empty.mp4': (b'', ['open_failed']),
    'random.mp4': (
      np.random.default_rng(1).bytes(20000),
      ['open_failed', 'no_video_stream'],
    ),
    'sound.mp4': (videos.write_sound, ['no_video_stream']),
    'list.m3u8': (_playlist(good), ['open_failed']),
    'list.mp4': (_playlist(good), ['open_failed']),
    'concat.mp4': (
      f"ffconcat version 1.0\nfile '{good}'\n".encode(),
      ['open_failed'],
    ),
    'text.mp4': (b'<html>404 not found</html>' * 99, ['open_failed']),
    'size_bomb.mp4': (
      videos.write_huge,
      ['too_large'],
    ),
  }
  made = {}
  for name, (content, reasons) in files.items():
    path = folder / name
    if callable(content):
      content(path)
    else:
      path.write_bytes(content)
    made[name] = (str(path), reasons)
  return made


def _playlist(target: str) -> bytes:
  return (
    f'#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{target}\n#EXT-X-ENDLIST\n'
  ).encode()
