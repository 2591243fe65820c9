"""Scenes of the miniature: bodies that move for four seconds.

Lengths are in cells: the picture is `SIDE` cells wide whatever its pixels, y
points down. Bodies that nothing can push follow a path; falling, bouncing and
colliding bodies are integrated by pymunk, whose contact log decides whether a
scene is kept. A motion and its reverse are one path and the same path
backwards, so no single frame in the middle of a clip tells them apart.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from vidlm.miniature.world import paths, physics
from vidlm.miniature.world.paths import Lane
from vidlm.miniature.world.physics import SIDE
from vidlm.miniature.world.vocabulary import (
  COLLIDES,
  COLOURS,
  MOTIONS,
  SHAPES,
)

_ROWS = ('moves left', 'moves right', 'swings')
_COLUMNS = ('moves up', 'moves down', 'falls', 'bounces')
# What has a moment of its own, so that one can come after the other.
_EVENTS = ('grows', 'shrinks', 'appears', 'disappears', 'falls')
_MAX_TRIES = 50


@dataclasses.dataclass(frozen=True)
class Body:
  """What a scene says about one body; colour, shape and motion are words."""

  colour: str
  shape: str
  motion: str
  onset: float = 0.0  # seconds; when its event begins

  @property
  def name(self) -> str:
    """Such as 'red bar'."""
    return f'{self.colour} {self.shape}'


@dataclasses.dataclass(frozen=True)
class Background:
  """A grey level with a slope and grain, all in 0 to 255."""

  level: float
  slope: tuple[float, float]
  grain: float
  seed: int

  @property
  def name(self) -> str:
    """Its name, 'dark' or 'grey'."""
    return 'dark' if self.level < 45 else 'grey'


@dataclasses.dataclass(frozen=True)
class Scene:
  """A simulated scene.

  Attributes:
    bodies: One or two; in a 'then' scene in the order of their events.
    relation: 'alone', 'while', 'then' or 'collide'.
    background: What is behind them.
    tracks: Centre x, centre y, width and visible (0 or 1) of each body.
    contacts: Seconds at which the two bodies touched, from pymunk.
    layout: 'free', 'rows' or 'columns'.
  """

  bodies: tuple[Body, ...]
  relation: str
  background: Background
  tracks: Float[np.ndarray, 'F n 4']
  contacts: tuple[float, ...] = ()
  layout: str = 'free'


def frame_times(seconds: float, fps: int) -> Float[np.ndarray, ' F']:
  """Returns seconds of each frame of a clip."""
  return np.arange(round(seconds * fps)) / fps


def sample_scene(
  rng: np.random.Generator,
  times: Float[np.ndarray, ' F'],
  *,
  motion: str | None = None,
  looks: Sequence[tuple[str, str]] = (),
  two_bodies: float = 0.25,
) -> Scene:
  """Draws a scene.

  Args:
    rng: The only source of randomness.
    times: Seconds of each frame.
    motion: Fixes the motion and, but for a collision, the number of bodies
      to one.
    looks: (colour, shape) of the first body, or of both; drawn by default.
    two_bodies: Share of scenes with two bodies where `motion` is free.

  Returns:
    The scene.

  Raises:
    ValueError: For an unknown motion.
  """
  if motion is not None and motion not in MOTIONS:
    raise ValueError(f'motion {motion!r} is not one of {", ".join(MOTIONS)}')
  looks = _sample_looks(rng, looks)
  background = _sample_background(rng)
  if motion is None and rng.random() < two_bodies:
    kind = rng.choice(['while', 'then', 'collide'], p=[0.4, 0.35, 0.25])
  else:
    kind = 'collide' if motion == COLLIDES else 'alone'
  if kind == 'collide':
    tracks, contacts = _collision(rng, times, [shape for _, shape in looks])
    bodies = tuple(Body(c, s, COLLIDES) for c, s in looks)
    return Scene(bodies, kind, background, tracks, contacts, 'rows')
  if kind == 'alone':
    lane = Lane((0.0, SIDE), (0.0, SIDE), (11.0, 14.0))
    choice = motion or rng.choice([m for m in MOTIONS if m != COLLIDES])
    body, track = _act(rng, times, looks[0], str(choice), lane, None)
    return Scene((body,), kind, background, track[:, None])
  return _two_lanes(rng, times, looks, str(kind), background)


def _sample_looks(
  rng: np.random.Generator, given: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
  """Draws two (colour, shape) that share neither colour nor shape."""
  colours = [colour for colour, _ in given]
  shapes = [shape for _, shape in given]
  colours += [str(c) for c in rng.permutation(list(COLOURS))]
  shapes += [str(s) for s in rng.permutation(SHAPES)]
  colours, shapes = list(dict.fromkeys(colours)), list(dict.fromkeys(shapes))
  return list(zip(colours[:2], shapes[:2], strict=True))


def _sample_background(rng: np.random.Generator) -> Background:
  return Background(
    level=rng.uniform(15, 75),
    slope=(rng.uniform(-12, 12), rng.uniform(-12, 12)),
    grain=rng.uniform(0, 5),
    seed=int(rng.integers(2**31)),
  )


def sample_still(
  rng: np.random.Generator,
  centres: Float[np.ndarray, 'n 2'],
  widths: Float[np.ndarray, ' n'],
) -> Scene:
  """Returns a scene of one frame: bodies of drawn looks at given places."""
  looks = _sample_looks(rng, ())[: len(widths)]
  shown = np.ones((1, len(widths), 4))
  shown[0, :, :2], shown[0, :, 2] = centres, widths
  bodies = tuple(Body(colour, shape, '') for colour, shape in looks)
  return Scene(bodies, 'alone', _sample_background(rng), shown)


def _two_lanes(
  rng: np.random.Generator,
  times: Float[np.ndarray, ' F'],
  looks: list[tuple[str, str]],
  relation: str,
  background: Background,
) -> Scene:
  layout = str(rng.choice(['rows', 'columns']))
  widths = (11.0, 12.5)
  halves = ((0.0, SIDE / 2), (SIDE / 2, SIDE))
  if layout == 'rows':
    lanes = [Lane((0.0, SIDE), half, widths, (0,)) for half in halves]
    refused: tuple[str, ...] = (*_COLUMNS, COLLIDES)
  else:
    lanes = [Lane(half, (0.0, SIDE), widths, (1,)) for half in halves]
    refused = (*_ROWS, COLLIDES)
  if rng.random() < 0.5:
    lanes.reverse()
  motions = _EVENTS if relation == 'then' else tuple(MOTIONS)
  pool = [m for m in motions if m not in refused]
  end = times[-1]
  windows: list[tuple[float, float] | None] = [None, None]
  if relation == 'then':
    windows = [(0.15 * end, 0.45 * end), (0.55 * end, 0.85 * end)]
  acts = [
    _act(rng, times, look, str(rng.choice(pool)), lane, window)
    for look, lane, window in zip(looks, lanes, windows, strict=True)
  ]
  return Scene(
    tuple(body for body, _ in acts),
    relation,
    background,
    np.stack([track for _, track in acts], axis=1),
    (),
    layout,
  )


def _act(
  rng: np.random.Generator,
  times: Float[np.ndarray, ' F'],
  look: tuple[str, str],
  motion: str,
  lane: Lane,
  window: tuple[float, float] | None,
) -> tuple[Body, Float[np.ndarray, 'F 4']]:
  """Returns one body's track; a reverse motion plays it backwards."""
  forward = paths.FORWARD.get(motion, motion)
  end = times[-1]
  if forward != motion and window:
    window = (end - window[1], end - window[0])
  (onset, finish), track = paths.PATHS[forward](
    rng, times, lane, window, look[1]
  )
  if forward != motion:
    track = track[::-1]
    onset = end - finish
  body = Body(*look, motion, round(float(onset), 3))
  return body, np.ascontiguousarray(track)


def _collision(
  rng: np.random.Generator, times: Float[np.ndarray, ' F'], shapes: list[str]
) -> tuple[Float[np.ndarray, 'F 2 4'], tuple[float, ...]]:
  """Lets two bodies approach in a row, touch near the middle and part."""
  for _ in range(_MAX_TRIES):
    widths = rng.uniform(10.5, 11.5, 2)
    row = rng.uniform(7, SIDE - 7)
    places = np.array(
      [
        [widths[0] / 2 + rng.uniform(0.3, 1.0), row + rng.uniform(-1, 1)],
        [
          SIDE - widths[1] / 2 - rng.uniform(0.3, 1.0),
          row + rng.uniform(-1, 1),
        ],
      ]
    )
    gap = places[1, 0] - places[0, 0] - widths.mean()
    closing = gap / (rng.uniform(0.4, 0.55) * times[-1])
    share = rng.uniform(0.25, 0.75)
    speeds = np.array([closing * share, -closing * (1 - share)])
    if rng.random() < 0.5:  # either body may come from either side
      places, widths, speeds = places[::-1], widths[::-1], speeds[::-1]
    centres, contacts = physics.collide(times, places, speeds, widths, shapes)
    apart = np.abs(centres[:, 0, 0] - centres[:, 1, 0])
    # Walls throw bodies back too; they must not be near each other again.
    clean = len(contacts) == 1 and apart[-1] > apart.min() + 3
    if clean and 0.3 < contacts[0] / times[-1] < 0.65:
      rest = np.ones((len(times), 2, 2))
      rest[..., 0] = widths
      return np.concatenate([centres, rest], 2), contacts
  raise RuntimeError(f'no clean collision in {_MAX_TRIES} tries')
