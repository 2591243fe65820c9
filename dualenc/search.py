"""Clips found by free text: embedded once, asked as often as one likes."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from dualenc import shared
from dualenc import towers as towers_lib
from vidlm.core import command_line
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
    clip_ids: The clip of each row.
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

    Raises:
      ValueError: If `top` is below 1.
    """
    command_line.check_positive(top=top)
    scores = self.embeddings @ text
    order = np.argsort(-scores, kind='stable')[:top]
    return [Hit(self.clip_ids[i], float(scores[i])) for i in order]


def index_clips(
  towers: towers_lib.Towers,
  frames: frame_lookup.ClipFrames,
  clips_per_device: int | None = None,
) -> ClipIndex:
  """Embeds all clips of a source; those without frames are left out.

  Connected processes (`jax.distributed`) share them, and all have the index.

  Args:
    towers: The dual encoder.
    frames: The clips.
    clips_per_device: Clips a device takes at once; by default the towers'.

  Raises:
    ValueError: If no clip has frames.
  """
  embeddings, readable = shared.embed_readable(towers, frames, clips_per_device)
  ids = np.array(frames.clip_ids, object)
  return ClipIndex(list(ids[readable]), embeddings, list(ids[~readable]))
