"""Learning rates as functions of the step, evaluated on the host.

The loop hands the rates to the compiled step as data, so runs that differ only
in their schedules share it. Any callable from step to number serves.
"""

import math
from collections.abc import Callable
from typing import Any

from vidlm.core import ranges

Schedule = Callable[[int], float]


def constant(value: ranges.Factor, warmup_steps: ranges.Count = 0) -> Schedule:
  """A constant rate after an optional linear warm-up from 0."""
  ranges.check_call(constant, locals())
  return _warmed(lambda step: value * _warmup(step, warmup_steps), warmup_steps)


def warmup_rsqrt(
  peak: ranges.Factor = 1e-4, warmup_steps: ranges.Count = 1000
) -> Schedule:
  """Linear warm-up, then peak * sqrt(warmup_steps / step).

  As t5x's `rsqrt_normalized_decay` (`t5x/utils.py`), continuous at the peak:
  1e-4 after 1,000 steps is 1.58e-5 after 40,000. Paper section D.1 says
  "inverse square-root"; which form it means is open.
  """
  ranges.check_call(warmup_rsqrt, locals())
  w = max(warmup_steps, 1)
  return _warmed(
    lambda step: (
      peak * _warmup(step, warmup_steps) * math.sqrt(w / max(step, w))
    ),
    warmup_steps,
  )


def warmup_cosine(
  peak: ranges.Factor,
  warmup_steps: ranges.Count,
  total_steps: ranges.Size,
  end: ranges.Factor = 0.0,
  start: ranges.Factor = 0.0,
) -> Schedule:
  """Linear warm-up from `start`, then half a cosine down to `end`."""
  ranges.check_call(warmup_cosine, locals())

  def schedule(step: int) -> float:
    if step < warmup_steps:
      return start + (peak - start) * _warmup(step, warmup_steps)
    t = _progress(step, warmup_steps, total_steps)
    return end + (peak - end) * 0.5 * (1 + math.cos(math.pi * t))

  return _warmed(schedule, warmup_steps)


def warmup_linear(
  peak: ranges.Factor,
  warmup_steps: ranges.Count,
  total_steps: ranges.Size,
  end: ranges.Factor = 0.0,
) -> Schedule:
  """Linear warm-up from 0, then a straight line down to `end`."""
  ranges.check_call(warmup_linear, locals())

  def schedule(step: int) -> float:
    if step < warmup_steps:
      return peak * _warmup(step, warmup_steps)
    return peak + (end - peak) * _progress(step, warmup_steps, total_steps)

  return _warmed(schedule, warmup_steps)


def warmup_of(schedule: Schedule) -> int:
  """Steps of its warm-up; 0 for a schedule of one's own."""
  return getattr(schedule, 'warmup_steps', 0)


def _warmed(schedule: Any, steps: int) -> Schedule:
  """The schedule, which knows how long it warms up."""
  schedule.warmup_steps = steps
  return schedule


def _warmup(step: int, warmup_steps: int) -> float:
  return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def _progress(step: int, warmup_steps: int, total_steps: int) -> float:
  span = max(total_steps - warmup_steps, 1)
  return min(max((step - warmup_steps) / span, 0.0), 1.0)
