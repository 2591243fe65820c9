"""Cuts a film into clips: whole, every so many seconds, or at its scenes."""

import dataclasses
import itertools
import re
from collections.abc import Sequence
from typing import Any

from vidlm.data.video import decoding, sampling

# Scenes are told apart by changes of colour; small frames show them as well.
_SCENE_HEIGHT = 90
_SHORTEST_SCENE = 0.5  # seconds, the detector's own minimum at 30 FPS
_SHORTEST = 0.1  # seconds; what is left over below is no clip of its own


def check(how: str) -> float | None:
  """Checks `how`; returns the seconds of fixed clips, else None.

  Raises:
    ValueError: If it is not one of whole, fixed:4s (any length), scenes.
  """
  fixed = re.fullmatch(r'fixed:(\d+(?:\.\d+)?)s?', how)
  if fixed and float(fixed[1]) >= _SHORTEST:
    return float(fixed[1])
  if how not in ('whole', 'scenes'):
    raise ValueError(f"clips={how!r}: need 'whole', 'fixed:4s' or 'scenes'")
  return None


def film_limits(clip: sampling.Limits) -> sampling.Limits:
  """Returns what cutting may cost: finding scenes decodes whole films.

  Args:
    clip: What decoding a clip of them may cost.
  """
  return dataclasses.replace(
    clip, max_decoded_frames=10_000_000, cpu_seconds=7200, timeout=10800.0
  )


def boundaries(
  path: str, how: str, limits: sampling.Limits = sampling.Limits()
) -> tuple[float, ...]:
  """Returns where a film is cut.

  Args:
    path: A local file.
    how: 'whole'; 'fixed:4s', the last clip being what is left; or 'scenes',
      with PySceneDetect's adaptive detector, which joins what is shorter than
      half a second.
    limits: What the file may cost; scenes need every frame decoded.

  Returns:
    Seconds b_0 < b_1 < ... of clips [b_0, b_1), [b_1, b_2) ...

  Raises:
    decoding.DecodeError: If the file can't be read.
    ValueError: If `how` is unknown.
  """
  length = check(how)
  if how == 'scenes':
    return _scenes(path, limits)
  duration = decoding.probe(path, limits).duration
  if length is None:
    return (0.0, duration)
  steps = itertools.takewhile(
    lambda time: time < duration - _SHORTEST,
    (step * length for step in itertools.count(1)),
  )
  return (0.0, *steps, duration)


def _scenes(path: str, limits: sampling.Limits) -> tuple[float, ...]:
  import cv2
  import scenedetect

  cv2.setNumThreads(1)
  times: list[float] = []
  cuts: list[Any] = []
  with decoding.open_video(path, limits) as (container, stream):
    fps = float(stream.average_rate or 25)
    # The default counts frames, 15 of them, whatever they last.
    detector = scenedetect.AdaptiveDetector(
      min_scene_len=max(1, round(_SHORTEST_SCENE * fps))
    )
    reader = decoding.film_reader(path, container, stream, limits)
    for time, frame in reader.all_frames():
      image = _small(frame)
      cuts += detector.process_frame(
        scenedetect.FrameTimecode(len(times), fps), image
      )
      times.append(time)
    if not times:
      raise decoding.DecodeError('empty', 'no frame could be decoded')
    # The detector may hold back a cut until it has seen the end.
    cuts += detector.post_process(
      scenedetect.FrameTimecode(len(times) - 1, fps)
    )
    end = reader.end()
  return _merge([times[cut.frame_num] for cut in cuts], end)


def _merge(cuts: Sequence[float], end: float) -> tuple[float, ...]:
  """Joins what is shorter than a scene can be to the scene before it."""
  kept = [0.0]
  for time in sorted(cuts):
    if min(time - kept[-1], end - time) >= _SHORTEST_SCENE:
      kept.append(time)
  return (*kept, end)


def _small(frame: Any) -> Any:
  width = max(1, round(frame.width * _SCENE_HEIGHT / frame.height))
  return frame.to_ndarray(
    format='bgr24',
    width=min(width, 16 * _SCENE_HEIGHT),
    height=_SCENE_HEIGHT,
    interpolation='AREA',
    threads=1,
  )
