"""The part of the miniature that pymunk integrates, with its contact log."""

import numpy as np
from jaxtyping import Float

try:
  import pymunk
except ImportError as error:
  raise ImportError(
    "the drawn world needs pymunk: pip install 'vidlm[miniature]'"
  ) from error

SIDE = 32.0  # cells across the picture
_SUBSTEPS = 16
_BODY, _WALL = 1, 2
_REACH = 50.0  # walls are longer than the world, so that no corner is open
BAR_HEIGHT = 0.36  # of its width


def _space(gravity: float = 0.0) -> pymunk.Space:
  space = pymunk.Space()
  space.gravity = (0.0, gravity)
  far = SIDE + _REACH
  for a, b in (
    ((-_REACH, SIDE), (far, SIDE)),
    ((-_REACH, 0), (far, 0)),
    ((0, -_REACH), (0, far)),
    ((SIDE, -_REACH), (SIDE, far)),
  ):
    wall = pymunk.Segment(space.static_body, a, b, 0.0)
    wall.elasticity = 1.0
    wall.collision_type = _WALL
    space.add(wall)
  return space


def _add(
  space: pymunk.Space,
  centre: Float[np.ndarray, '2'],
  width: float,
  shape: str,
  elasticity: float,
) -> pymunk.Body:
  """Adds a body that doesn't turn: an endless moment of inertia."""
  body = pymunk.Body(1.0, float('inf'))
  x, y = map(float, centre)
  body.position = x, y
  if shape == 'ring':
    outline: pymunk.Shape = pymunk.Circle(body, width / 2)
  else:
    height = width * BAR_HEIGHT if shape == 'bar' else width
    outline = pymunk.Poly.create_box(body, (width, height))
  outline.elasticity = elasticity
  outline.collision_type = _BODY
  space.add(body, outline)
  return body


def drop(
  times: Float[np.ndarray, ' F'],
  y: float,
  height: float,
  *,
  gravity: float,
  start: float = 0.0,
  speed: float = 0.0,
  elasticity: float = 0.0,
) -> Float[np.ndarray, ' F']:
  """Returns the height of a body let go at `start` above the floor.

  Args:
    times: Seconds of each frame, evenly spaced.
    y: Its centre before.
    height: Height of its outline.
    gravity: Cells per second squared.
    start: Seconds.
    speed: Downward, when let go.
    elasticity: 0 stays on the floor, 1 bounces for ever.

  Returns:
    The centre in each frame.
  """
  space = _space(gravity)
  body = _add(space, np.array([SIDE / 2, y]), height, 'square', elasticity)
  body.velocity = (0.0, speed)
  out = np.full(len(times), y)
  step = (times[1] - times[0]) / _SUBSTEPS
  for i in range(1, len(times)):
    for sub in range(_SUBSTEPS):
      if times[i - 1] + sub * step >= start:
        space.step(step)
    out[i] = body.position.y
  return out


def collide(
  times: Float[np.ndarray, ' F'],
  places: Float[np.ndarray, 'n 2'],
  speeds: Float[np.ndarray, ' n'],
  widths: Float[np.ndarray, ' n'],
  shapes: list[str],
) -> tuple[Float[np.ndarray, 'F n 2'], tuple[float, ...]]:
  """Slides bodies sideways that push each other without loss.

  Args:
    times: Seconds of each frame, evenly spaced.
    places: Centres before.
    speeds: Sideways.
    widths: Widths of the outlines.
    shapes: Their names.

  Returns:
    Centres; the seconds at which two bodies first touched.
  """
  space = _space()
  clock = [0.0]
  contacts: list[float] = []

  def log(arbiter: pymunk.Arbiter, _space: pymunk.Space, _data: object) -> None:
    if arbiter.is_first_contact:
      contacts.append(round(clock[0], 4))

  space.on_collision(_BODY, _BODY, begin=log)
  bodies = []
  for place, speed, width, shape in zip(
    places, speeds, widths, shapes, strict=True
  ):
    body = _add(space, place, float(width), shape, 1.0)
    body.velocity = (float(speed), 0.0)
    bodies.append(body)
  out = np.empty((len(times), len(bodies), 2))
  out[0] = places
  step = float(times[1] - times[0]) / _SUBSTEPS
  for i in range(1, len(times)):
    for _ in range(_SUBSTEPS):
      clock[0] += step
      space.step(step)
    out[i] = [body.position for body in bodies]
  return out, tuple(contacts)
