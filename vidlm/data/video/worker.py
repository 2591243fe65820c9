"""One decoding process: limits itself, then serves clips over a pipe.

It says when it is ready. A request is a line of JSON on stdin. A response is a
line of JSON on stdout followed by the JPEG bytes it announces. Nothing is
unpickled on either side, so a worker that a hostile video has taken over can't
run code in its parent.

Only PyAV, numpy and Pillow are imported, so a worker starts in a quarter of a
second and small.
"""

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from vidlm.data.video import (
  cuts,
  decoding,
  refusals,
  scanner,
  sniff,
  stills,
  worker_memory,
)
from vidlm.data.video import sampling as sampling_lib

# What a clip may fail for where a decoder found no room and went on without.
_MAY_BE_MEMORY = ('corrupt', 'empty', 'open_failed', 'error')
# What a worker says instead of "ready" if nothing caps its memory.
UNLIMITED = b'ready, without a limit of memory\n'


@dataclasses.dataclass(frozen=True)
class DecodeTask:
  """A clip to decode.

  Attributes:
    path: A local file.
    start: Seconds; None for the file's start.
    end: Seconds; None for the file's end.
    sampling: Which frames, how they are stored, and what they may cost.
    cut: Instead of frames, where to cut the film: see `cuts.boundaries`.
    seconds: What was asked for, where the file holds the clip alone; 0 if
      unknown.
  """

  path: str
  start: float | None = None
  end: float | None = None
  sampling: sampling_lib.Sampling = sampling_lib.Sampling()
  cut: str | None = None
  seconds: float = 0.0


@dataclasses.dataclass(frozen=True)
class DecodeResult:
  """What became of a clip.

  Attributes:
    reason: '' if it was decoded, else one of `decoding.REASONS`.
    message: One line that says more.
    frames: JPEG bytes.
    times: Seconds in the file, one a frame; or the boundaries of the cuts.
    start: Seconds in the file.
    end: Seconds in the file.
    cut_short: Why it ends before it should, one line; '' if it doesn't.
  """

  reason: str = ''
  message: str = ''
  frames: tuple[bytes, ...] = ()
  times: tuple[float, ...] = ()
  start: float = 0.0
  end: float = 0.0
  cut_short: str = ''

  @property
  def ok(self) -> bool:
    """Whether the clip was decoded."""
    return not self.reason


def decode(task: DecodeTask) -> DecodeResult:
  """Decodes a clip to JPEG; never raises, whatever the file is."""
  result = _decode(task)
  if result.reason in _MAY_BE_MEMORY and worker_memory.ran_out():
    message = f'{task.path}: {refusals.OUT_OF_MEMORY}'
    return DecodeResult('out_of_memory', message)
  return result


def _decode(task: DecodeTask) -> DecodeResult:
  try:
    if task.cut is not None:
      return DecodeResult(
        times=cuts.boundaries(task.path, task.cut, task.sampling.limits)
      )
    clip = _decode_clip(task)
    _check_length(task, clip)
  except decoding.DecodeError as error:
    return DecodeResult(reason=error.code, message=error.message)
  except MemoryError:
    return DecodeResult(
      'out_of_memory', f'{task.path}: {refusals.OUT_OF_MEMORY}'
    )
  except Exception as error:
    # One odd clip must not end a run of millions.
    message = f'{task.path}: {type(error).__name__}: {error}'
    return DecodeResult('error', ' '.join(message.split()))
  times = tuple(float(time) for time in clip.times)
  return DecodeResult(
    frames=tuple(clip.frames),
    times=times,
    start=clip.start,
    end=clip.end,
    cut_short=clip.cut_short,
  )


def _decode_clip(task: DecodeTask) -> decoding.Clip:
  encode = decoding.encode_jpeg(task.sampling.quality)
  where = task.path, task.start, task.end
  is_image = scanner.is_kind(task.path, 'image')
  is_film = not is_image or sniff.kind_of(task.path) == 'video'
  if is_film and not os.path.isdir(task.path):
    return decoding.decode_clip(*where, task.sampling, encode)
  paths, times, start, end = stills.sample_stills(*where, task.sampling)
  images = stills.read_images(paths, task.sampling)
  frames = tuple(encode(image) for image in images)
  return decoding.Clip(frames, np.array(times), start, end)


def _check_length(task: DecodeTask, clip: decoding.Clip) -> None:
  """Refuses a clip most of which the file doesn't have."""
  seconds = clip.end - clip.start
  asked = task.seconds
  if task.end is not None:
    asked = task.end - (task.start or 0.0)
  share = (task.sampling.min_share or 0.0) * asked
  wanted = max(task.sampling.min_seconds or 0.0, share)
  # A hundredth: durations in headers are rounded.
  if seconds < wanted - 0.01:
    raise decoding.DecodeError(
      'too_short',
      f'{task.path}: {seconds:.2f} s of the clip, need {wanted:.2f} s',
    )


def encode_task(task: DecodeTask) -> bytes:
  """Returns the request line of a task."""
  return json.dumps(dataclasses.asdict(task)).encode() + b'\n'


def decode_task(line: bytes) -> DecodeTask:
  """Returns the task of a request line."""
  fields = json.loads(line)
  fields['sampling'] = sampling_lib.Sampling.from_fields(fields['sampling'])
  return DecodeTask(**fields)


def write_result(result: DecodeResult, out: BinaryIO) -> None:
  """Writes a result as a header line and its frames."""
  header: dict[str, Any] = dataclasses.asdict(result)
  header['frames'] = [len(frame) for frame in result.frames]
  out.write(json.dumps(header).encode() + b'\n')
  for frame in result.frames:
    out.write(frame)
  out.flush()


def limit_memory(memory: int) -> bool:
  """Caps this process's address space, in bytes, and forbids core dumps.

  Returns:
    False where the system has no such cap: only the timeout is left then.
  """
  worker_memory.set_limit('RLIMIT_CORE', 0, 0)
  return worker_memory.set_limit('RLIMIT_AS', memory, memory)


def _limit_cpu(seconds: int) -> None:
  """Lets the next task use so much CPU; then SIGXCPU ends the process."""
  used = int(time.process_time())  # The limit is in whole seconds: + 1.
  # The hard limit stays: once lowered, it couldn't be raised for the next task.
  worker_memory.set_limit('RLIMIT_CPU', used + 1 + seconds)


def serve(
  memory: int, decode: Callable[[DecodeTask], DecodeResult] = decode
) -> None:
  """Serves tasks from stdin until it closes.

  Args:
    memory: Resident bytes.
    decode: What to do with a task.
  """
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
  # Whatever a library prints must not get between header and frames.
  out = os.fdopen(os.dup(1), 'wb')
  os.dup2(2, 1)
  limited = limit_memory(memory + worker_memory.mapped_only())
  out.write(b'ready\n' if limited else UNLIMITED)
  out.flush()
  for line in sys.stdin.buffer:
    task = decode_task(line)
    _limit_cpu(task.sampling.limits.cpu_seconds)
    write_result(decode(task), out)


if __name__ == '__main__':
  serve(memory=int(sys.argv[1]))
