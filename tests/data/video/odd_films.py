"""Odd but legal films whose frames carry their number: made with PyAV.

`number(frame)` reads the number back from decoded pixels, of any size, so a
test can ask which frame was shown at a time.
"""

import fractions
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import av
import numpy as np

_BITS = 12
LOSSY = {'preset': 'ultrafast', 'crf': '10'}
MPEG2 = {'qmin': '2', 'qmax': '4'}


def picture(number: int, width: int = 192, height: int = 96) -> np.ndarray:
  """Frame `number`: its bits as black or white cells at half height."""
  frame = np.full((height, width, 3), 96, np.uint8)
  cell, band = width // _BITS, height // 4
  rows = slice(height // 2 - band // 2, height // 2 + band // 2)
  for bit in range(_BITS):
    value = 255 if number >> bit & 1 else 0
    frame[rows, bit * cell : (bit + 1) * cell] = value
  high, wide = height // 6, width // 6
  frame[:high, :wide] = (255, 0, 0)
  frame[:high, -wide:] = (0, 0, 255)
  frame[-high:, :wide] = (0, 255, 0)
  return frame


def number(frame: np.ndarray) -> int:
  """The number of a frame that is shown upright, of any size."""
  height, width = frame.shape[:2]
  top = int(height * 0.46)
  rows = frame[top : max(int(height * 0.54), top + 1)]
  row = rows.astype(float).mean((0, 2))
  return sum(
    1 << bit
    for bit in range(_BITS)
    if row[int((bit + 0.5) * width / _BITS)] > 128
  )


def write(
  path: pathlib.Path,
  numbers: Iterable[int],
  codec: str = 'libx264',
  *,
  size: tuple[int, int] = (192, 96),
  fps: int | fractions.Fraction = 25,
  gop: int = 25,
  pts: Sequence[int] | None = None,
  options: dict[str, str] | None = None,
  **more: Any,
) -> pathlib.Path:
  """Writes a film.

  Args:
    path: Its suffix chooses the container.
    numbers: Of its frames.
    codec: An encoder of FFmpeg's.
    size: Width and height.
    fps: Frames a second.
    gop: Frames between keyframes.
    pts: Milliseconds of each frame instead of a rate.
    options: Of the encoder.
    **more: `muxer`, its options; `format`, its name; `seconds`, of silence
      beside; `aspect`, of a pixel; `interlaced`.

  Returns:
    The path.
  """
  width, height = size
  with av.open(
    str(path), 'w', format=more.get('format'), options=more.get('muxer', {})
  ) as out:
    stream = out.add_stream(codec, rate=fps)
    stream.width, stream.height = width, height
    stream.pix_fmt = more.get('pix_fmt', 'yuv420p')
    context = stream.codec_context
    context.gop_size, context.thread_count = gop, 1
    if more.get('aspect'):
      context.sample_aspect_ratio = more['aspect']
    base = fractions.Fraction(1, 1000)
    if pts is not None:
      context.time_base = base
    usual = {'libx264': LOSSY, 'mpeg2video': MPEG2}.get(codec, {})
    stream.options = usual if options is None else options
    sound = out.add_stream('aac', rate=16000) if more.get('seconds') else None
    packets: list[Any] = []
    for position, value in enumerate(numbers):
      frame = av.VideoFrame.from_ndarray(picture(value, *size), 'rgb24')
      if pts is not None:
        frame.pts, frame.time_base = pts[position], base
      packets += stream.encode(frame)
    packets += stream.encode()
    if sound is not None:
      packets += _silence(sound, more['seconds'])
    # As a muxer for streaming would: sound beside the frames it belongs to.
    packets.sort(key=lambda packet: packet.dts * packet.time_base)
    for packet in packets:
      out.mux(packet)
  return path


def _silence(stream: Any, seconds: float) -> list[Any]:
  packets: list[Any] = []
  for block in range(int(seconds * 16000 / 1024)):
    frame = av.AudioFrame.from_ndarray(
      np.zeros((1, 1024), np.float32), 'fltp', 'mono'
    )
    # What the encoder puts before would have AVI repeat the first frame.
    frame.sample_rate, frame.pts = 16000, (block + 1) * 1024
    packets += stream.encode(frame)
  return packets + stream.encode()


def join(path: pathlib.Path, *parts: pathlib.Path) -> pathlib.Path:
  """Writes files one after the other, as `cat` does."""
  path.write_bytes(b''.join(part.read_bytes() for part in parts))
  return path


def copy(
  source: pathlib.Path,
  path: pathlib.Path,
  *,
  shift: float = 0.0,
  begin: float = 0.0,
  muxer: dict[str, str] | None = None,
  format: str | None = None,
) -> pathlib.Path:
  """Copies a film's packets into another container.

  Args:
    source: The film.
    path: Its suffix chooses the container.
    shift: Seconds added to all times.
    begin: Show it from here on; stored from the keyframe before.
    muxer: Its options.
    format: Its name.
  """
  with (
    av.open(str(source)) as film,
    av.open(str(path), 'w', options=muxer or {}, format=format) as out,
  ):
    stream = film.streams.video[0]
    to = out.add_stream_from_template(stream)
    if begin:
      at = int(begin / stream.time_base) + (stream.start_time or 0)
      film.seek(at, stream=stream)
    packets = [packet for packet in film.demux(stream) if packet.size]
    ticks = round((shift - begin) / stream.time_base)
    # Matroska has no times of storing; the first of them libav doesn't guess.
    after = next((p.dts for p in packets if p.dts is not None), packets[0].pts)
    for packet in reversed(packets):
      if packet.dts is None:
        packet.dts = after - packet.duration
      after = packet.dts
    for packet in packets:
      packet.dts, packet.pts = packet.dts + ticks, packet.pts + ticks
      packet.stream = to
      out.mux(packet)
  return path
