"""Which frames a clip is made of: the one place where the rule is written.

Storing (`sample_times`). A clip [start, end) is stored at `fps` frames a
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

import math
from typing import Literal

import numpy as np
from jaxtyping import Float, Int32

Mode = Literal['uniform', 'consecutive']


def sample_times(
  start: float,
  end: float,
  *,
  fps: float = 2.0,
  min_frames: int = 8,
  max_frames: int = 64,
) -> Float[np.ndarray, ' T']:
  """Times at which the clip [start, end) is looked at.

  Args:
    start: Of the clip, in seconds.
    end: Of the clip, in seconds; not itself sampled.
    fps: Frames a second.
    min_frames: A clip with fewer is sampled more densely.
    max_frames: A clip with more is sampled more sparsely.

  Returns:
    float64[T] seconds, ascending, the first of them `start`.

  Raises:
    ValueError: For an empty clip or numbers that make no sense.
  """
  if not fps > 0 or not 1 <= min_frames <= max_frames:
    raise ValueError(
      f'fps={fps}, min_frames={min_frames}, max_frames={max_frames}: need '
      'fps > 0 and 1 <= min_frames <= max_frames'
    )
  duration = end - start
  if not 0 < duration < math.inf:
    raise ValueError(f'clip from {start} to {end} s is empty')
  # The margin keeps 3.9999999 s at 2 FPS, a rounding error, at 8 frames.
  natural = max(1, math.ceil(duration * fps - 1e-6))
  number = min(max(natural, min_frames), max_frames)
  step = 1 / fps if number == natural else duration / number
  return start + step * np.arange(number)


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
    int32[T], each in [0, stored).

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
