"""How a stored clip is shown to the visual tower: at once, in parts, by frame.

The paper shows T frames at once. Its baseline, the image CLIP, sees one frame
at a time, and the unit vectors of the frames are averaged (table 2, first
row). Classification may take several views of a clip and average them.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from vidlm.data.feed import pixels


@dataclasses.dataclass(frozen=True)
class Views:
  """What the tower sees of a clip; the embeddings are averaged.

  Attributes:
    count: Equal parts of a clip, each of which gives T frames.
    framewise: Whether the tower sees each of these frames by itself.
    num_frames: T; None for the tower's.
  """

  count: int = 1
  framewise: bool = False
  num_frames: int | None = None

  def __post_init__(self) -> None:
    if self.count < 1 or (self.num_frames or 1) < 1:
      raise ValueError(
        f'views={self.count}, num_frames={self.num_frames}: need at least 1'
      )

  def frames(
    self, encoded: Sequence[bytes], num_frames: int, image_size: int
  ) -> UInt8[np.ndarray, 'V T H W 3']:
    """Decodes the views of a clip.

    Args:
      encoded: JPEG frames.
      num_frames: T of the tower.
      image_size: Pixels that the tower takes.

    Returns:
      [V, T, H, W, 3]; V is `count`, or `count` x T views of one frame.

    Raises:
      ValueError: If there is no frame, or T is more than the tower takes.
    """
    t = self.num_frames or num_frames
    if t > num_frames and not self.framewise:
      raise ValueError(
        f'num_frames={t}, but the tower was made for {num_frames}'
      )
    clips = np.stack(
      [
        pixels.eval_frames_from_jpeg(part, t, image_size)[0]
        for part in _parts(encoded, self.count)
      ]
    )
    if self.framewise:
      clips = clips.reshape(-1, 1, *clips.shape[2:])
    return clips

  def describe(self, num_frames: int) -> dict[str, object]:
    """What the protocol says of it, for a tower of T frames."""
    shown = 'one at a time, unit vectors averaged'
    return {
      'num_frames': self.num_frames or num_frames,
      'views': self.count,
      'frames_shown': shown if self.framewise else 'together',
    }


def average(embeddings: Float[np.ndarray, 'B V E']) -> Float[np.ndarray, 'B E']:
  """Averages the unit vectors of a clip's views, and makes them unit again.

  Args:
    embeddings: [clips, views, E].

  Returns:
    [clips, E].
  """
  if embeddings.shape[1] == 1:
    return embeddings[:, 0]
  mean = embeddings.mean(axis=1)
  return mean / np.maximum(np.linalg.norm(mean, axis=-1, keepdims=True), 1e-12)


def _parts(encoded: Sequence[bytes], count: int) -> list[Sequence[bytes]]:
  """Cuts a clip into equal parts; of too few frames some come twice."""
  n = len(encoded)
  bounds = [i * n // count for i in range(count + 1)]
  return [
    encoded[low : max(high, low + 1)]
    for low, high in itertools.pairwise(bounds)
  ]
