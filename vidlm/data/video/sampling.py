"""Which frames a clip is made of: the one place where the rule is written.

Storing (`Sampling.times`). A clip [start, end) is stored at `fps` frames a
second, the first at its start. Fewer than `min_frames` of them would be too
few for a model of T = min_frames frames (the paper: 8 frames at 2 FPS, 4 s),
and more than `max_frames` too many to keep; then that many times are spread
evenly over the clip instead. All three are one formula: n times, start +
i * (end - start) / n, or i / fps where n needs no bending.

Choosing (`select_frames`). A model that takes T frames gets, of n stored ones:
  n < T   all of them, the last repeated;
  n == T  all of them;
  n > T   'uniform' (default): the middle frame of each of T equal segments;
          'consecutive': T neighbours from `start`, that is T / fps seconds.

Example:
  select_frames(3, 5)                    -> 0 1 2 2 2
  select_frames(10, 4)                   -> 1 3 6 8
  select_frames(10, 4, 'consecutive', 5) -> 5 6 7 8
"""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int32

Mode = Literal['uniform', 'consecutive']
Damaged = Literal['flag', 'refuse']


@dataclasses.dataclass(frozen=True)
class Limits:
  """What decoding a clip may cost.

  Attributes:
    max_pixels: Most pixels of a frame, as coded and as converted. 4096 x 4096
      lets 4K and 5.7K through; 8K needs 7680 * 4320.
    max_decoded_frames: Frames decoded for one clip, wanted or not.
    memory: Resident bytes of a worker process. Python with PyAV takes 0.1 GiB
      of it, frames of 4096 x 4096 pixels 0.5.
    cpu_seconds: CPU time in a worker process. Two minutes of 4K at 60 frames a
      second take some 300, and so do two hours of 1080p without a keyframe.
    timeout: Wall time in a worker process, in seconds.
  """

  max_pixels: int = 4096 * 4096
  max_decoded_frames: int = 1_000_000
  memory: int = 1 << 30
  cpu_seconds: int = 1800
  timeout: float = 3600.0


@dataclasses.dataclass(frozen=True)
class Sampling:
  """How a clip becomes frames, from the command's flags to the decoder.

  Attributes:
    fps: Frames a second.
    min_frames: A clip too short for so many is sampled more densely.
    max_frames: A clip too long for so many is sampled more sparsely.
    size: Shorter side of a frame in pixels; None or 0 keeps it.
    quality: JPEG quality.
    min_share: A clip of which the file has a smaller share is too short.
    frame_rate: Frames a second of a folder of frames; None for 30.
    min_seconds: A clip of which the file has less is too short.
    damaged: What becomes of a clip that the file breaks off in: 'flag' takes
      what is there and says so, 'refuse' does not.
    limits: What decoding it may cost.
  """

  fps: float = 2.0
  min_frames: int = 8
  max_frames: int = 64
  size: int | None = 256
  quality: int = 95
  min_share: float | None = None
  frame_rate: float | None = None
  min_seconds: float | None = None
  damaged: Damaged = 'flag'
  limits: Limits = Limits()

  def __post_init__(self) -> None:
    # Or else every clip would fail on its own.
    if not 0 < self.fps < math.inf:
      raise ValueError(f'fps={self.fps}: need more than 0')
    if not 1 <= self.min_frames <= self.max_frames:
      raise ValueError(
        f'min_frames={self.min_frames}, max_frames={self.max_frames}: need at '
        'least 1, and no more min_frames than max_frames'
      )
    if self.size is not None and self.size < 0:
      raise ValueError(f'size={self.size}: need 0 (keeps it) or more')
    if self.damaged not in ('flag', 'refuse'):
      raise ValueError(f"damaged={self.damaged!r}: need 'flag' or 'refuse'")
    if self.frame_rate is not None and not 0 < self.frame_rate < math.inf:
      raise ValueError(f'frame_rate={self.frame_rate}: need more than 0')

  def times(self, start: float, end: float) -> Float[np.ndarray, ' T']:
    """Returns the times at which the clip [start, end) is looked at.

    Args:
      start: Where the clip begins, in seconds.
      end: Where it ends, in seconds; not itself sampled.

    Returns:
      Seconds, ascending, the first of them `start`.

    Raises:
      ValueError: For an empty clip.
    """
    duration = end - start
    if not 0 < duration < math.inf:
      raise ValueError(f'clip from {start} to {end} s is empty')
    # The margin keeps 3.9999999 s at 2 FPS, a rounding error, at 8 frames.
    natural = max(1, math.ceil(duration * self.fps - 1e-6))
    number = min(max(natural, self.min_frames), self.max_frames)
    step = 1 / self.fps if number == natural else duration / number
    return start + step * np.arange(number)

  def at_least(self, num_frames: int) -> 'Sampling':
    """Returns the same for a model that takes at least so many frames."""
    number = max(self.min_frames, num_frames)
    return dataclasses.replace(self, min_frames=number)

  def config(self, always: Collection[str]) -> dict[str, Any]:
    """Returns what the frames depend on, for the key of a set made of them.

    Args:
      always: Fields that are in it in any case; the others only if they are
        not as usual, so that sets made before there was a field keep theirs.
    """
    usual = Sampling()
    fields = {
      field.name: getattr(self, field.name)
      for field in dataclasses.fields(self)
      if field.name in always
      or getattr(self, field.name) != getattr(usual, field.name)
    }
    limits = fields.pop('limits', usual.limits)
    for name in ('max_pixels', 'max_decoded_frames'):
      # Memory and time are the machine's, not the set's.
      if getattr(limits, name) != getattr(usual.limits, name):
        fields[name] = getattr(limits, name)
    return fields

  @classmethod
  def from_fields(cls, fields: Mapping[str, Any]) -> 'Sampling':
    """Restores what `dataclasses.asdict` took apart."""
    return cls(**{**fields, 'limits': Limits(**fields['limits'])})


def select_frames(
  stored: int, num_frames: int, mode: Mode = 'uniform', start: int = 0
) -> Int32[np.ndarray, ' T']:
  """Chooses T of the stored frames.

  Args:
    stored: Frames in the record, at least 1.
    num_frames: T.
    mode: 'uniform' or 'consecutive'.
    start: First frame for 'consecutive', moved back where fewer than T
      follow; draw it from [0, stored - T] to train on random windows.

  Returns:
    Each in [0, stored).

  Raises:
    ValueError: For an empty record or an unknown mode.
  """
  _check_mode(mode)
  if stored < 1 or num_frames < 1:
    raise ValueError(f'cannot choose {num_frames} of {stored} frames')
  steps = np.arange(num_frames)
  if stored <= num_frames:
    indices = np.minimum(steps, stored - 1)
  elif mode == 'uniform':
    indices = (2 * steps + 1) * stored // (2 * num_frames)
  else:
    indices = min(max(start, 0), stored - num_frames) + steps
  return indices.astype(np.int32)


def _check_mode(mode: str) -> None:
  if mode not in ('uniform', 'consecutive'):
    raise ValueError(f"mode {mode!r}: need 'uniform' or 'consecutive'")
