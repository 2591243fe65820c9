"""From frames to captions: the interface. `vlm` has the real thing."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8, UInt32


@dataclasses.dataclass(frozen=True)
class ClipCaptions:
  """The R captions of one clip, with the sums of log-probabilities of their
  tokens and the numbers of these."""

  captions: Sequence[str]
  logprobs: Sequence[float]
  lengths: Sequence[int]


@runtime_checkable
class Captioner(Protocol):
  """What `caption` asks of a model; nothing of it is written to."""

  @property
  def name(self) -> str:
    """Goes into the column `model`."""

  @property
  def batch_size(self) -> int:
    """Clips taken at once, always so many."""

  @property
  def num_frames(self) -> int:
    """The clip's frames, T."""

  @property
  def image_size(self) -> int:
    """Pixels of a side."""

  @property
  def num_samples(self) -> int:
    """Captions of a clip, R."""

  def identity(self) -> Mapping[str, Any]:
    """Returns all that a caption depends on but the clip, as plain JSON."""

  def submit(
    self,
    frames: UInt8[np.ndarray, 'B T H W 3'],
    frame_mask: Bool[np.ndarray, 'B T'],
    ids: UInt32[np.ndarray, 'B'],
  ) -> Callable[[], list[ClipCaptions]]:
    """Begins to caption a batch.

    Args:
      frame_mask: False for frames that aren't there.
      ids: `identity.hash32` of the clips' ids.

    Returns:
      A function that waits for the captions.
    """
