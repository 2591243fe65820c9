"""Decodes the frames of a clip from a video file that may be hostile.

PyAV, one thread. The decoder seeks to the clip, decodes no further than the
last frame wanted, and converts only the frames wanted. The frame at time t is
the one a player shows: the last whose timestamp is at or before t, where t = 0
is the start of the video stream. A clip decoded by seeking is bit-identical
to one decoded from the file's beginning.

libav is handed local regular files only, behind a whitelist of demuxers and
the `file` protocol, so that a playlist can't name another file. What this
module can't do is stop libav once it hangs or crashes: for files that are not
your own use `decode_pool.DecodePool`.
"""

import contextlib
import dataclasses
import functools
import io
import os
import stat
import time
from collections.abc import Callable, Iterator
from typing import Any

import av
import numpy as np
from jaxtyping import Float, UInt8

from vidlm.data.video import bounds, file_index, streams, timeline, webp
from vidlm.data.video import reader as frames_lib
from vidlm.data.video import sampling as sampling_lib

_OPTIONS = {
  'format_whitelist': 'mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,'
  'flv,asf,ogg,gif,mpegvideo,h264,hevc,apng',
  'protocol_whitelist': 'file',
}
DecodeError = frames_lib.DecodeError
REASONS = frames_lib.REASONS


@dataclasses.dataclass(frozen=True)
class Clip:
  """Decoded frames of a clip.

  Attributes:
    frames: RGB; an array, or one JPEG a frame where that was asked for.
    times: Seconds in the file for which each frame was looked up.
    start: Where the clip begins in the file, in seconds.
    end: Where it ends, in seconds; at most where the video does.
    cut_short: Why it ends before it should, one line; '' if it doesn't.
  """

  frames: UInt8[np.ndarray, 'T H W 3'] | tuple[bytes, ...]
  times: Float[np.ndarray, ' T']
  start: float
  end: float
  cut_short: str = ''


@dataclasses.dataclass(frozen=True)
class VideoInfo:
  """What is known of a file without decoding it.

  Attributes:
    duration: Seconds of video that are in the file, whatever its header says.
    fps: Average rate; 0 where unknown.
    width: Pixels of a row; rotation and pixel aspect are not applied.
    height: Rows, likewise.
    n_frames: As written in the file; 0 where unknown.
  """

  duration: float
  fps: float
  width: int
  height: int
  n_frames: int


def probe(
  path: str, limits: sampling_lib.Limits = sampling_lib.Limits()
) -> VideoInfo:
  """Reads a file's headers.

  Raises:
    DecodeError: If it isn't a video libav can open within the limits.
  """
  with open_video(path, limits) as (container, stream):
    return VideoInfo(
      duration=film_reader(path, container, stream, limits).end(),
      fps=float(stream.average_rate or 0),
      width=stream.codec_context.width,
      height=stream.codec_context.height,
      n_frames=stream.frames,
    )


def decode_clip(
  path: str,
  start: float | None = None,
  end: float | None = None,
  sampling: sampling_lib.Sampling = sampling_lib.Sampling(),
  encode: Callable[[UInt8[np.ndarray, 'H W 3']], bytes] | None = None,
) -> Clip:
  """Decodes a clip at the times of `Sampling.times`.

  Where min_frames makes the sampling denser than fps, a frame of the source is
  returned once only: a video of one frame gives one.

  Args:
    path: A local file.
    start: Seconds; by default the file's start.
    end: Seconds; by default the file's end.
    sampling: Which frames, how large, and what they may cost.
    encode: Encodes each frame as it comes, as `encode_jpeg(quality)` does;
      by default they stay arrays.

  Returns:
    The clip.

  Raises:
    DecodeError: With a code out of REASONS and one line.
    ValueError: For arguments that make no sense.
  """
  keep: Any = encode if encode is not None else lambda frame: frame
  asked = bounds.Asked(start, end)
  while True:
    try:
      return _decode(path, asked, sampling, keep)
    except bounds.TailDamaged as damaged:
      asked = damaged.instead


def _decode(
  path: str,
  asked: bounds.Asked,
  sampling: sampling_lib.Sampling,
  keep: Callable[[UInt8[np.ndarray, 'H W 3']], Any],
) -> Clip:
  """Decodes a clip; see `decode_clip`.

  Raises:
    bounds.TailDamaged: If the film ends earlier than its packets told.
  """
  limits = sampling.limits
  with open_video(path, limits) as (container, stream):
    reader = film_reader(path, container, stream, limits)
    with frames_lib.reasons('corrupt', path, ()):
      clip = bounds.of_clip(asked, reader, sampling.damaged)
    times = sampling.times(clip.start, clip.end)
    converter = frames_lib.RgbConverter(
      sampling.size or None, limits, stream.sample_aspect_ratio
    )
    with bounds.tail(reader, clip, sampling.damaged):
      kept, ids = _convert(reader, converter, times, keep)
  # A step of 1 / fps may come out a rounding error shorter: not denser.
  if len(times) > 1 and times[1] - times[0] < 0.999 / sampling.fps:
    fresh = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]]
    kept, times = [kept[i] for i in fresh], times[fresh]
  stored = tuple(kept) if isinstance(kept[0], bytes) else np.stack(kept)
  return Clip(stored, times, clip.start, clip.end, clip.cut_short)


def encode_jpeg(
  quality: int,
) -> Callable[[UInt8[np.ndarray, 'H W 3']], bytes]:
  """Returns a function that encodes an RGB frame as JPEG.

  Small frames keep their colour at full resolution: of 32 x 32 pixels there
  would be little left of it otherwise.
  """
  from PIL import Image

  def encode(frame: UInt8[np.ndarray, 'H W 3']) -> bytes:
    buffer = io.BytesIO()
    chroma = '4:4:4' if min(frame.shape[:2]) < 128 else '4:2:0'
    Image.fromarray(frame).save(
      buffer, 'JPEG', quality=quality, subsampling=chroma
    )
    return buffer.getvalue()

  return encode


def _convert(
  reader: webp.AnyReader,
  converter: frames_lib.RgbConverter,
  times: Float[np.ndarray, ' T'],
  keep: Callable[[UInt8[np.ndarray, 'H W 3']], Any],
) -> tuple[list[Any], list[int]]:
  """Converts the frame shown at each time; also returns their identities."""
  kept: list[Any] = []
  ids: list[int] = []
  for frame, frame_id in reader.frames_at(times):
    aspect = reader.pixel_aspect()
    same = ids and ids[-1] == frame_id
    kept.append(kept[-1] if same else keep(converter(frame, aspect)))
    ids.append(frame_id)
  return kept, ids


@contextlib.contextmanager
def open_video(
  path: str, limits: sampling_lib.Limits
) -> Iterator[tuple[Any, Any]]:
  """Opens a file's film: yields the container and the stream.

  Raises:
    DecodeError: Also for what libav raises in the body of the `with`.
  """
  with frames_lib.reasons('not_found', path):
    mode = os.stat(path).st_mode
  film = None
  with frames_lib.reasons('open_failed', path):
    if not stat.S_ISREG(mode):
      raise DecodeError('open_failed', 'not a regular file')
    if webp.is_animated(path):
      film = webp.open_film(path, limits)
  if film is not None:
    yield film, film
    return
  with frames_lib.reasons('open_failed', path):
    container = av.open(
      # With the protocol: libav takes what stands before a ':' for one.
      'file:' + os.path.abspath(path),
      # To find out what a stream is, libav decodes some of it; twice, for
      # what is coded may be a little more than what is shown; and libav's
      # option ends at a C int.
      options=_OPTIONS
      | {'max_pixels': str(min(2 * limits.max_pixels, 2**31 - 1))},
      metadata_errors='replace',  # A title that is no UTF-8 fails no video.
    )
  try:
    # Only libav's errors: what else the caller does is not the file's fault.
    with frames_lib.reasons('corrupt', path, (av.FFmpegError,)):
      stream = _video_stream(container, limits)
      stream.codec_context.thread_count = 1
      yield container, stream
  finally:
    # A container alone does not give back the memory of its decoders.
    for stream in container.streams:
      if stream.codec_context is not None:
        with contextlib.suppress(av.FFmpegError):
          stream.codec_context.flush_buffers()
    container.close()


def _video_stream(container: Any, limits: sampling_lib.Limits) -> Any:
  stream = streams.choose(container.streams.video, limits)
  if stream is None:
    raise DecodeError('no_video_stream', 'no video stream')
  context = stream.codec_context
  if context is None:
    raise DecodeError('no_decoder', 'no decoder for its video')
  frames_lib.check_size(context.width, context.height, limits)
  return stream


def film_reader(
  path: str, container: Any, stream: Any, limits: sampling_lib.Limits
) -> webp.AnyReader:
  """Returns a reader of an open film that knows where the film ends.

  Args:
    path: The file.
    container: The same, open, nothing read of it.
    stream: Its film.
    limits: What reading it may cost.

  Raises:
    DecodeError: 'empty' if there is no picture in it.
  """
  if isinstance(stream, webp.Film):
    return webp.Reader(stream, limits)
  known = None
  if not file_index.is_whole(container, stream, path):
    known = _timeline(path, limits)
    if known is None:
      raise DecodeError('empty', f'{path}: the video stream has no frames')
  return frames_lib.FrameReader(container, stream, limits, known)


def _timeline(
  path: str, limits: sampling_lib.Limits
) -> timeline.Timeline | None:
  """Returns a film's timeline; clips of one film often follow each other."""
  status = os.stat(path)
  file = (status.st_ino, status.st_size, status.st_mtime_ns)
  # A clock may be too coarse to tell a file that was just written from the
  # one that had its name before.
  fresh = abs(time.time() - status.st_mtime) < 2
  read = _read_timeline.__wrapped__ if fresh else _read_timeline
  return read(path, file, limits)


@functools.lru_cache(maxsize=2)
def _read_timeline(
  path: str, file: tuple[int, int, int], limits: sampling_lib.Limits
) -> timeline.Timeline | None:
  """Reads a film's packets; the cache knows a file by what `file` says."""
  with open_video(path, limits) as (container, stream):
    return timeline.read(container, stream, path)
