"""Draws scenes with anti-aliased edges and writes them as H.264 files."""

import fractions

import av
import numpy as np
from jaxtyping import Float, UInt8

from vidlm.core import files
from vidlm.miniature.world.physics import BAR_HEIGHT, SIDE
from vidlm.miniature.world.scenes import Background, Scene
from vidlm.miniature.world.vocabulary import COLOURS

_RING_WALL = 0.26  # thickness of a ring, of its width


def _distance(
  shape: str,
  dx: Float[np.ndarray, '#F #H #W'],
  dy: Float[np.ndarray, '#F #H #W'],
  width: Float[np.ndarray, 'F 1 1'],
) -> Float[np.ndarray, 'F H W']:
  """Returns the signed distance in cells to a shape's edge; negative inside."""
  ax, ay, half = np.abs(dx), np.abs(dy), width / 2
  if shape == 'square':
    return np.maximum(ax, ay) - half
  if shape == 'bar':
    return np.maximum(ax - half, ay - half * BAR_HEIGHT)
  wall = width * _RING_WALL / 2
  return np.abs(np.hypot(dx, dy) - (half - wall)) - wall


def _paint_background(
  background: Background, side: int
) -> Float[np.ndarray, 'H W 3']:
  unit = (np.arange(side) + 0.5) / side - 0.5
  grey = (
    background.level
    + background.slope[0] * unit[None, :]
    + background.slope[1] * unit[:, None]
  )
  grain = np.random.default_rng(background.seed).normal(size=(side, side))
  grey = grey + background.grain * grain
  return np.repeat(grey[..., None], 3, -1).astype(np.float32)


def draw(scene: Scene, side: int = 32) -> UInt8[np.ndarray, 'F side side 3']:
  """Draws every frame of a scene.

  Args:
    scene: What to draw.
    side: Pixels across.

  Returns:
    RGB frames.
  """
  frames = np.broadcast_to(
    _paint_background(scene.background, side),
    (len(scene.tracks), side, side, 3),
  ).copy()
  cell = SIDE / side
  centres = ((np.arange(side) + 0.5) * cell).astype(np.float32)
  for body, track in zip(
    scene.bodies, np.moveaxis(scene.tracks, 1, 0), strict=True
  ):
    x, y, width, visible = track.T.astype(np.float32)[..., None, None]
    distance = _distance(
      body.shape, centres[None, None, :] - x, centres[None, :, None] - y, width
    )
    # A pixel that the edge runs through is covered in part.
    cover = visible * np.clip(0.5 - distance / cell, 0, 1)
    colour = np.array(COLOURS[body.colour], np.float32)
    frames += cover[..., None] * (colour - frames)
  return np.clip(np.rint(frames), 0, 255).astype(np.uint8)


def write_mp4(
  path: str,
  frames: UInt8[np.ndarray, 'F H W 3'],
  fps: int = 8,
  *,
  qp: int = 14,
  pixel_format: str = 'yuv444p',
) -> None:
  """Encodes frames with libx264, one second a group of pictures.

  Args:
    path: An .mp4 file; written beside and renamed.
    frames: RGB frames of even height and width.
    fps: Frames per second.
    qp: Quantiser of every picture; lower is better.
    pixel_format: 'yuv444p' keeps the colour of every pixel, which matters
      for bodies a dozen pixels wide; 'yuv420p' is what web players want.
  """
  with (
    files.partial(path, durable=False) as partial,
    av.open(partial, 'w', format='mp4') as container,
  ):
    # One thread and a fixed quantiser: the bytes then depend on the frames
    # alone. With x264's rate control a clip in a hundred came out otherwise
    # when several processes were busy.
    stream = container.add_stream(
      'libx264',
      rate=fps,
      options={
        'qp': str(qp),
        'preset': 'veryfast',
        'g': str(fps),
        'bf': '0',
        'x264-params': 'threads=1:lookahead-threads=1',
      },
    )
    stream.height, stream.width = frames.shape[1:3]
    stream.pix_fmt = pixel_format
    stream.codec_context.thread_count = 1
    for number, frame in enumerate(frames):
      picture = av.VideoFrame.from_ndarray(frame, format='rgb24')
      picture.pts, picture.time_base = number, fractions.Fraction(1, fps)
      container.mux(stream.encode(picture))
    container.mux(stream.encode())
