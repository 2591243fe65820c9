"""What a clip may cost: long and large films pass, a refusal names its flag."""

import os
import pathlib
import subprocess
import sys

import av
import numpy as np
import pytest

from vidlm.commands import decoding_flags
from vidlm.core import command_line
from vidlm.data.video import decode_pool, sampling

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import odd_films as films

UHD = (3840, 2160)


def decode(path, **limits) -> decode_pool.DecodeResult:
  how = sampling.Sampling(limits=sampling.Limits(**limits))
  with decode_pool.DecodePool(1) as pool:
    (result,) = pool.map([decode_pool.DecodeTask(str(path), sampling=how)])
  return result


def repeat(source, path, times: int) -> None:
  """Writes a film several times over, without encoding it again."""
  with av.open(str(source)) as film, av.open(str(path), 'w') as out:
    stream = film.streams.video[0]
    to = out.add_stream_from_template(stream)
    packets = [packet for packet in film.demux(stream) if packet.size]
    kept = [(bytes(p), p.pts, p.dts, p.is_keyframe) for p in packets]
    for number in range(times):
      for data, pts, dts, key in kept:
        packet = av.Packet(data)
        packet.stream, packet.time_base = to, stream.time_base
        packet.pts = pts + number * stream.duration
        packet.dts = dts + number * stream.duration
        packet.is_keyframe = key
        packet.duration = stream.duration // len(kept)
        out.mux(packet)


@pytest.mark.parametrize(
  'limits, reason, flag',
  [
    ({'max_pixels': 9000}, 'too_large', '--decode_pixels'),
    ({'max_decoded_frames': 9}, 'too_many_frames', '--decode_frames'),
    ({'timeout': 0.001}, 'timeout', '--decode_seconds'),
    ({'memory': 110 << 20}, 'out_of_memory', '--decode_memory'),
  ],
)
def test_a_refusal_names_its_flag(tmp_path, limits, reason, flag) -> None:
  size = UHD if reason == 'out_of_memory' else (192, 96)
  options = {'preset': 'ultrafast', 'crf': '40'}
  path = films.write(tmp_path / 'a.mp4', range(40), size=size, options=options)
  assert decode(path).ok
  result = decode(path, **limits)
  assert result.reason == reason and flag in result.message


def test_flags_become_limits() -> None:
  parser = command_line.argparse.ArgumentParser()
  decoding_flags.add(parser)
  assert decoding_flags.sampling(parser.parse_args([])) == {}
  flags = '--damaged=refuse --decode_memory=300 --decode_seconds=1.5 '
  flags += '--decode_cpu_seconds=7 --decode_frames=8 --decode_pixels=9'
  fields = decoding_flags.sampling(parser.parse_args(flags.split()))
  assert sampling.Sampling(**fields) == sampling.Sampling(
    damaged='refuse',
    limits=sampling.Limits(
      memory=300 << 20,
      timeout=1.5,
      cpu_seconds=7,
      max_decoded_frames=8,
      max_pixels=9,
    ),
  )
  for name in ('memory', 'seconds', 'cpu_seconds', 'frames', 'pixels'):
    args = parser.parse_args([f'--decode_{name}=0'])
    with pytest.raises(ValueError, match=f'--decode_{name}=0.*need more'):
      decoding_flags.sampling(args)


RESIDENT = """
import sys
from vidlm.data.video import sampling, worker, worker_memory
assert worker.limit_memory((512 << 20) + worker_memory.mapped_only())
how = sampling.Sampling(fps=60.0, size=int(sys.argv[2]))
result = worker.decode(worker.DecodeTask(sys.argv[1], sampling=how))
status = open('/proc/self/status').read()
print(result.reason or 'ok', status.split('VmHWM:')[1].split()[0])
"""


@pytest.mark.parametrize('size', [0, 256])
def test_half_a_gigabyte_is_enough_up_to_2160_rows(tmp_path, size) -> None:
  """As many references as a level allows, and then some."""
  path = films.write(
    tmp_path / 'a.mp4',
    range(20),
    size=UHD,
    fps=60,
    options={'preset': 'ultrafast', 'crf': '30', 'refs': '16', 'bf': '3'},
  )
  done = subprocess.run(
    [sys.executable, '-c', RESIDENT, str(path), str(size)],
    capture_output=True,
    text=True,
    env={**os.environ, 'OPENBLAS_NUM_THREADS': '1'},
  )
  reason, kilobytes = done.stdout.split()
  assert reason == 'ok' and int(kilobytes) < 512 << 10, done.stderr


def test_a_long_film_of_one_group_of_pictures_passes(tmp_path) -> None:
  """It was refused: more than 20,000 frames lay before those wanted."""
  path, number = tmp_path / 'a.mp4', 21_000
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=25)
    stream.width, stream.height, stream.pix_fmt = 48, 32, 'yuv420p'
    stream.codec_context.gop_size = number
    stream.options = {'preset': 'ultrafast', 'x264-params': 'scenecut=0'}
    for shade in range(number):
      frame = av.VideoFrame(48, 32, 'yuv420p')
      for plane in frame.planes:
        plane.update(bytes([shade // 100]) * plane.buffer_size)
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  result = decode(path)
  assert result.ok, result.message
  assert len(result.frames) == 64 and result.end == pytest.approx(number / 25)


@pytest.mark.slow
def test_two_minutes_of_4k_at_60_frames_pass(tmp_path) -> None:
  rng = np.random.default_rng(0)
  options = {'preset': 'ultrafast', 'crf': '26'}
  with av.open(str(tmp_path / 'group.mp4'), 'w') as out:
    stream = out.add_stream('libx264', rate=60)
    (stream.width, stream.height), stream.pix_fmt = UHD, 'yuv420p'
    stream.codec_context.gop_size = 240
    stream.options = options
    for _ in range(240):
      planes = rng.integers(100, 140, (2160 * 3 // 2, 3840), np.uint8)
      frame = av.VideoFrame.from_ndarray(planes, 'yuv420p')
      out.mux(stream.encode(frame))
    out.mux(stream.encode())
  repeat(tmp_path / 'group.mp4', tmp_path / 'film.mp4', 30)
  result = decode(tmp_path / 'film.mp4')
  assert result.ok, result.message
  assert len(result.frames) == 64 and result.end == pytest.approx(120)
