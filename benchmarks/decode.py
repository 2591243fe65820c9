"""Decoding clips late in long files: ours, a scan of the file, decord2.

  python benchmarks/decode.py --output=benchmarks/results/decode.json

Clips of 4 s begin at random in the last third of H.264 files of 60 s: 30
frames a second, no scene cuts, keyframes every 250 frames (x264's default) or
every 60 (2 s, usual for streaming). Each method returns the same 8 frames as
RGB at the file's own size, on one thread:

  ours       `decoding.decode_clip`: seeks, stops at the last frame wanted
  scan       PyAV over the whole file; only wanted frames become RGB
  scan_stop  the same, but stops at the last frame wanted
  decord2    `VideoReader.get_batch`; left out where it isn't installed
  prepared   ours to the end: 256 pixels and JPEG, as `vidlm prepare` stores

Every frame carries its number as pixels. Before anything is timed, ours must
equal the scan to the bit, and decord2's frames must be the same ones (its
colours may be off by rounding: the largest difference is in the result). Then
all methods take turns, in one process. "A core" is a second of CPU time.
"""

import argparse
import dataclasses
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import av
import numpy as np

from vidlm.core import circumstances, files
from vidlm.data.video import decoding, sampling, worker

FPS = 30
CLIP = 4.0  # seconds
# Name -> width, height, bits a second (about what YouTube sends).
SIZES = {
  '240p': (426, 240, 300_000),
  '360p': (640, 360, 700_000),
  '720p': (1280, 720, 2_500_000),
}
_BLOCK, _BITS = 16, 12


@dataclasses.dataclass(frozen=True)
class Clip:
  """Where a clip is: a file and its start in seconds."""

  path: str
  start: float

  @property
  def times(self) -> np.ndarray:
    """Seconds of the 8 frames wanted."""
    return sampling.Sampling().times(self.start, self.start + CLIP)


def write_video(path: str, size: str, gop: int, seconds: float) -> None:
  """Writes a panned, grainy texture whose frames carry their numbers.

  Args:
    path: Of the file.
    size: One of SIZES.
    gop: Frames from keyframe to keyframe.
    seconds: Length.
  """
  width, height, bit_rate = SIZES[size]
  rng = np.random.default_rng(0)
  scene = _texture(rng, 2 * height, 2 * width)
  grain = rng.normal(0, 2, (2 * height, 2 * width)).astype(np.int16)
  with av.open(path, 'w') as out:
    stream = out.add_stream('libx264', rate=FPS)
    stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
    stream.bit_rate = bit_rate
    stream.codec_context.gop_size = gop
    stream.options = {'x264-params': 'scenecut=0'}
    for number in range(round(seconds * FPS)):
      # To and fro: a jump would be a scene cut.
      y = abs(number % (2 * height) - height)
      x = abs(3 * number % (2 * width) - width)
      dy, dx = rng.integers(0, height), rng.integers(0, width)
      luma = scene[y : y + height, x : x + width]
      luma = luma + grain[dy : dy + height, dx : dx + width]
      planes = np.full((height * 3 // 2, width), 128, np.uint8)
      planes[:height] = np.clip(luma, 0, 255)
      for bit in range(_BITS):
        block = slice(bit * _BLOCK, (bit + 1) * _BLOCK)
        planes[:_BLOCK, block] = 235 if number >> bit & 1 else 16
      frame = av.VideoFrame.from_ndarray(planes, 'yuv420p')
      out.mux(stream.encode(frame))
    out.mux(stream.encode())


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
  """Noise at several scales, like foliage."""
  scene = np.full((height, width), 128.0)
  for scale in (4, 16, 64):
    shape = -(-height // scale), -(-width // scale)
    coarse = rng.normal(0, 20, shape)
    scene += np.kron(coarse, np.ones((scale, scale)))[:height, :width]
  return np.clip(scene, 0, 255).astype(np.int16)


def read_number(frame: np.ndarray) -> int:
  """The number a frame carries."""
  middle = slice(_BLOCK // 4, 3 * _BLOCK // 4)
  row = frame[middle]
  bits = [
    row[:, bit * _BLOCK + _BLOCK // 4 : (bit + 1) * _BLOCK - _BLOCK // 4].mean()
    for bit in range(_BITS)
  ]
  return sum(int(mean > 128) << bit for bit, mean in enumerate(bits))


def ours(clip: Clip) -> np.ndarray:
  """Our decoder."""
  whole = sampling.Sampling(size=None)
  return decoding.decode_clip(
    clip.path, clip.start, clip.start + CLIP, whole
  ).frames


def prepared(clip: Clip) -> int:
  """Our decoder, down to the JPEG bytes that are stored: how many."""
  task = worker.DecodeTask(clip.path, clip.start, clip.start + CLIP)
  result = worker.decode(task)
  if not result.ok:
    raise RuntimeError(f'{clip.path}: {result.message}')
  return sum(map(len, result.frames))


def scan(clip: Clip, stop: bool = False) -> np.ndarray:
  """PyAV from the file's first frame to its last, or the last one wanted."""
  wanted = clip.times
  found: list[np.ndarray] = []
  with av.open(clip.path) as container:
    stream = container.streams.video[0]
    stream.codec_context.thread_count = 1
    shown = None
    for frame in container.decode(stream):
      # A hair of room: 0.3 s is less than 3 * 0.1 s.
      while len(found) < len(wanted) and frame.time > wanted[len(found)] + 1e-6:
        found.append(shown.to_ndarray(format='rgb24', threads=1))
      if stop and len(found) == len(wanted):
        break
      shown = frame
    while len(found) < len(wanted):
      found.append(shown.to_ndarray(format='rgb24', threads=1))
  return np.stack(found)


def scan_stop(clip: Clip) -> np.ndarray:
  """PyAV from the file's first frame to the last one wanted."""
  return scan(clip, stop=True)


def with_decord(clip: Clip) -> np.ndarray:
  """decord2, which seeks and decodes by the numbers of frames."""
  import decord

  reader = decord.VideoReader(clip.path, decord.cpu(0), num_threads=1)
  numbers = np.floor(clip.times * FPS + 1e-6).astype(int)
  return reader.get_batch(list(numbers)).asnumpy()


def methods() -> dict[str, Callable[[Clip], Any]]:
  """What is timed, by name."""
  found = {'ours': ours, 'scan': scan, 'scan_stop': scan_stop}
  if version('decord2'):
    found['decord2'] = with_decord
  return {**found, 'prepared': prepared}


def check(clips: Sequence[Clip]) -> dict[str, Any]:
  """Compares what the methods return.

  Raises:
    AssertionError: If they return other frames.
  """
  difference = 0
  for clip in clips:
    frames = scan(clip)
    expected = np.floor(clip.times * FPS + 1e-6).astype(int)
    numbers = [read_number(frame) for frame in frames]
    np.testing.assert_array_equal(numbers, expected)
    np.testing.assert_array_equal(ours(clip), frames)
    np.testing.assert_array_equal(scan_stop(clip), frames)
    if version('decord2'):
      other = with_decord(clip)
      numbers = [read_number(frame) for frame in other]
      np.testing.assert_array_equal(numbers, expected)
      apart = np.abs(other.astype(int) - frames.astype(int))
      difference = max(difference, int(apart.max()))
  return {
    'ours_equals_scan': True,
    'decord2_same_frames': True if version('decord2') else 'not installed',
    'decord2_largest_difference_of_255': difference
    if version('decord2')
    else None,
  }


def measure(clips: Sequence[Clip], repeats: int) -> dict[str, Any]:
  """Clips a second of wall time and of CPU time, by method.

  Args:
    clips: What to decode.
    repeats: Of which the median counts; methods take turns, so that whatever
      else the machine does falls on all alike.
  """
  wall: dict[str, list[float]] = {}
  cpu: dict[str, list[float]] = {}
  for _ in range(repeats):
    for name, method in methods().items():
      began, began_cpu = time.perf_counter(), time.process_time()
      for clip in clips:
        method(clip)
      cpu.setdefault(name, []).append(time.process_time() - began_cpu)
      wall.setdefault(name, []).append(time.perf_counter() - began)
  found: dict[str, Any] = {
    name: {
      'clips_per_second_a_core': len(clips) / statistics.median(cpu[name]),
      'clips_per_second': len(clips) / statistics.median(wall[name]),
    }
    for name in wall
  }
  found.setdefault('decord2', 'not installed')
  return found


def run(size: str, gop: int, folder: str, args: Any) -> dict[str, Any]:
  """Makes a file, checks the methods on it and times them: a row."""
  path = os.path.join(folder, f'{size}_{gop}.mp4')
  write_video(path, size, gop, args.seconds)
  rng = np.random.default_rng(args.seed)
  late = rng.uniform(2 / 3 * args.seconds, args.seconds - CLIP, args.clips)
  clips = [Clip(path, round(float(start), 2)) for start in sorted(late)]
  row: dict[str, Any] = {
    'size': size,
    'frames_between_keyframes': gop,
    'bits_per_second': round(8 * os.path.getsize(path) / args.seconds),
    'starts': [clip.start for clip in clips],
    **check(clips),
    'methods': measure(clips, args.repeats),
  }
  a_core = {
    name: figures['clips_per_second_a_core']
    for name, figures in row['methods'].items()
    if isinstance(figures, dict)
  }
  row['times_faster_than'] = {
    name: a_core['ours'] / a_core[name]
    for name in ('scan', 'scan_stop', 'decord2')
    if name in a_core
  }
  return row


def version(package: str) -> str:
  """Version of an installed package; '' for none."""
  try:
    return metadata.version(package)
  except metadata.PackageNotFoundError:
    return ''


def machine() -> dict[str, Any]:
  """What it ran on."""
  libav = '.'.join(map(str, av.library_versions['libavcodec']))
  return {
    'processor': circumstances.processor(),
    'cpu_count': os.cpu_count(),
    'python': platform.python_version(),
    'numpy': np.__version__,
    'av': av.__version__,
    'libavcodec': libav,
    'decord2': version('decord2') or 'not installed',
  }


def line(row: dict[str, Any]) -> str:
  """A row as text."""
  parts = []
  for name, figures in row['methods'].items():
    if isinstance(figures, dict):
      figures = f'{figures["clips_per_second_a_core"]:.1f}'
    parts.append(f'{name} {figures}')
  ratios = ', '.join(
    f'{ratio:.1f}x {name}' for name, ratio in row['times_faster_than'].items()
  )
  return (
    f'{row["size"]}, keyframe every {row["frames_between_keyframes"]}: '
    f'{", ".join(parts)} clips/s a core; ours is {ratios}'
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Measures every size and distance of keyframes, and writes it down."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--sizes', nargs='+', choices=SIZES, default=[*SIZES])
  parser.add_argument('--gops', nargs='+', type=int, default=[250, 60])
  parser.add_argument('--seconds', type=float, default=60, help='of a file')
  parser.add_argument('--clips', type=int, default=6, help='of a file')
  parser.add_argument('--repeats', type=int, default=3)
  parser.add_argument('--seed', type=int, default=0)
  args = parser.parse_args(argv)
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for size in args.sizes:
      for gop in args.gops:
        rows.append(run(size, gop, folder, args))
        print(line(rows[-1]), flush=True)
  result = {
    'command': ' '.join(['python', *sys.argv]),
    'machine': machine(),
    'seconds': args.seconds,
    'fps': FPS,
    'clip_seconds': CLIP,
    'frames_a_clip': 8,
    'clips': args.clips,
    'repeats': args.repeats,
    'seed': args.seed,
    'rows': rows,
  }
  files.make_folder(args.output.parent)
  files.write_json(args.output, result)


if __name__ == '__main__':
  main()
