"""How one body moves through its part of the picture.

Each path draws its own numbers and returns the seconds between which it
happens and the track, for each frame centre x, centre y, width and visible.
Where it happens is spread so that the middle of the clip tells nothing.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from vidlm.miniature.world import physics
from vidlm.miniature.world.physics import BAR_HEIGHT
from vidlm.miniature.world.vocabulary import MOTIONS

Window = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Lane:
  """Room for one body.

  Attributes:
    x: Bounds of its outline, in cells.
    y: The same for y.
    widths: Smallest and largest width.
    axes: Along which it may move: 0 for x, 1 for y.
  """

  x: Window
  y: Window
  widths: Window
  axes: tuple[int, ...] = (0, 1)

  def bounds(self, width: float) -> Float[np.ndarray, '2 2']:
    """Returns [[low, high]] * 2 of the centre, half a cell off the edge."""
    margin = width / 2 + 0.5
    lows = np.array([self.x[0], self.y[0]]) + margin
    highs = np.array([self.x[1], self.y[1]]) - margin
    middle = (lows + highs) / 2
    return np.stack([np.minimum(lows, middle), np.maximum(highs, middle)], 1)


Path = Callable[
  [np.random.Generator, Float[np.ndarray, ' F'], Lane, Window | None, str],
  tuple[Window, Float[np.ndarray, 'F 4']],
]


def _still(
  rng: np.random.Generator,
  times: Float[np.ndarray, ' F'],
  lane: Lane,
  width: float,
) -> Float[np.ndarray, 'F 4']:
  low, high = lane.bounds(width).T
  x, y = rng.uniform(low, high)
  return np.tile([x, y, width, 1.0], (len(times), 1))


def _travel(
  rng: np.random.Generator,
  times: Float[np.ndarray, ' F'],
  lane: Lane,
  axis: int,
  length: Window,
  progress: Float[np.ndarray, ' F'],
) -> Float[np.ndarray, 'F 4']:
  """Draws a straight way along `axis`, centred anywhere the lane allows."""
  width = rng.uniform(*lane.widths)
  track = _still(rng, times, lane, width)
  low, high = lane.bounds(width)[axis]
  way = min(rng.uniform(*length), high - low)
  middle = rng.uniform(low + way / 2, high - way / 2)
  track[:, axis] = middle + way * (progress - 0.5)
  return track


def _moves(axis: int) -> Path:
  def path(rng, times, lane, window, shape):
    progress = times / times[-1]
    track = _travel(rng, times, lane, axis, (11.0, 16.0), progress)
    return (0.0, times[-1]), track

  return path


def _stops(rng, times, lane, window, shape):
  halt = rng.uniform(0.4, 0.6) * times[-1]
  progress = np.minimum(times / halt, 1.0)
  axis = int(rng.choice(lane.axes))
  track = _travel(rng, times, lane, axis, (9.0, 13.0), progress)
  if rng.random() < 0.5:  # the other way along the same axis
    low, high = lane.bounds(track[0, 2])[axis]
    track[:, axis] = low + high - track[:, axis]
  return (0.0, halt), track


def _swings(rng, times, lane, window, shape):
  period = rng.uniform(2.6, 3.4)
  phase = rng.uniform(0, 2 * np.pi)
  wave = np.sin(2 * np.pi * times / period + phase) / 2 + 0.5
  return (0.0, times[-1]), _travel(rng, times, lane, 0, (11.0, 16.0), wave)


def _grows(rng, times, lane, window, shape):
  start, stop = window or (0.0, times[-1])
  small = rng.uniform(7.5, 8.5)
  big = lane.widths[1] + rng.uniform(-0.5, 1.5)
  track = _still(rng, times, lane, big)
  done = np.clip((times - start) / (stop - start), 0, 1)
  track[:, 2] = small + (big - small) * done
  return (start, stop), track


def _appears(rng, times, lane, window, shape):
  moment = rng.uniform(*(window or (0.28 * times[-1], 0.72 * times[-1])))
  track = _still(rng, times, lane, rng.uniform(*lane.widths))
  track[:, 3] = times >= moment
  return (moment, moment), track


def _flashes(rng, times, lane, window, shape):
  # A period near 1.5 s is seen at 2 FPS and at 1 FPS alike.
  period = rng.uniform(1.35, 1.65)
  track = _still(rng, times, lane, rng.uniform(*lane.widths))
  track[:, 3] = (times / period + rng.random()) % 1 < 0.5
  return (0.0, times[-1]), track


def _height(shape: str, width: float) -> float:
  return width * BAR_HEIGHT if shape == 'bar' else width


def _falls(rng, times, lane, window, shape):
  low, high = window or (0.05 * times[-1], 0.4 * times[-1])
  moment = rng.uniform(low, low + 0.4 * (high - low))
  track = _still(rng, times, lane, rng.uniform(*lane.widths))
  width = track[0, 2]
  top = lane.bounds(width)[1, 0] + rng.uniform(0, 3)
  track[:, 1] = physics.drop(
    times, top, _height(shape, width), gravity=28.0, start=moment
  )
  return (moment, times[-1]), track


def _bounces(rng, times, lane, window, shape):
  track = _still(rng, times, lane, rng.uniform(*lane.widths))
  width = track[0, 2]
  top = lane.bounds(width)[1, 0] + rng.uniform(1, 7)
  track[:, 1] = physics.drop(
    times,
    top,
    _height(shape, width),
    gravity=rng.uniform(34, 44),
    elasticity=1.0,
    speed=rng.uniform(-6, 6),
  )
  return (0.0, times[-1]), track


PATHS: dict[str, Path] = {
  'moves right': _moves(0),
  'moves down': _moves(1),
  'stops moving': _stops,
  'swings': _swings,
  'grows': _grows,
  'appears': _appears,
  'flashes': _flashes,
  'falls': _falls,
  'bounces': _bounces,
}
# A motion that is another one played backwards -> the other one.
FORWARD: dict[str, str] = {
  other: name for name in PATHS if (other := MOTIONS[name].reverse)
}
