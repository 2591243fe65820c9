"""Clips found by free text: embedded once, asked as often as one likes."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vidlm.data.store import frame_lookup


@dataclasses.dataclass(frozen=True)
class Hit:
  """A clip that was found, and its cosine with the text."""

  clip_id: str
  score: float


@dataclasses.dataclass(frozen=True)
class ClipIndex:
  """Embedded clips.

  Attributes:
    clip_ids: Of the rows.
    embeddings: Unit vectors.
    skipped: Clips without a readable frame.
  """

  clip_ids: Sequence[str]
  embeddings: Float[np.ndarray, 'n e']
  skipped: Sequence[str] = ()

  def search(self, text: Float[np.ndarray, ' e'], top: int = 5) -> list[Hit]:
    """The clips closest to a text.

    Args:
      text: Unit vector of the text.
      top: How many.

    Returns:
      Closest first; of equally close ones, the first in the index first.
    """
    scores = self.embeddings @ text
    order = np.argsort(-scores, kind='stable')[:top]
    return [Hit(self.clip_ids[i], float(scores[i])) for i in order]


def index_clips(
  towers: Any, frames: frame_lookup.ClipFrames, batch_size: int = 32
) -> ClipIndex:
  """Embeds all clips of a source; those without frames are left out.

  Args:
    towers: As of `eval.load_towers`.
    frames: The clips.
    batch_size: Clips at once.

  Raises:
    ValueError: If no clip has frames.
  """
  kept: list[str] = []
  skipped: list[str] = []

  def readable() -> Iterator[Sequence[bytes]]:
    clips = zip(frames.clip_ids, frames.read(frames.clip_ids), strict=True)
    for clip_id, encoded in clips:
      (kept if encoded else skipped).append(clip_id)
      if encoded:
        yield encoded

  embeddings = towers.embed_frames(readable(), batch_size)
  return ClipIndex(kept, embeddings, skipped)
