"""An image model as captioner of videos: frame by frame (paper, table 4)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8, UInt32

from vidlm.captions import captioner


@dataclasses.dataclass(frozen=True, eq=False)
class FramewiseCaptioner:
  """Gives a clip the captions of its frames, in their order.

  As they are, they are one of table 4's sources of captions; `vidlm instruct
  summarize` makes one sentence of each clip's.

  Attributes:
    image: A captioner with `num_frames` 1.
    num_frames: T frames looked at.
  """

  image: captioner.Captioner
  num_frames: int = 8

  def __post_init__(self) -> None:
    if self.image.num_frames != 1:
      raise ValueError(
        f'framewise: the captioner takes {self.image.num_frames} frames, not 1'
      )
    if self.num_frames < 1:
      raise ValueError(f'num_frames={self.num_frames}: need at least 1')

  @property
  def name(self) -> str:
    """See `Captioner`."""
    return f'{self.image.name}-framewise'

  @property
  def batch_size(self) -> int:
    """Clips at once; each of their frames is a batch."""
    return self.image.batch_size

  @property
  def image_size(self) -> int:
    """Pixels of a side."""
    return self.image.image_size

  @property
  def num_samples(self) -> int:
    """Captions of a clip: those of one frame times T."""
    return self.num_frames * self.image.num_samples

  def identity(self) -> Mapping[str, Any]:
    """See `Captioner`."""
    return {
      **self.image.identity(),
      'model': self.name,
      'framewise': self.num_frames,
      'num_samples': self.num_samples,
    }

  def submit(
    self,
    frames: UInt8[np.ndarray, 'B T H W 3'],
    frame_mask: Bool[np.ndarray, 'B T'],
    ids: UInt32[np.ndarray, 'B'],
  ) -> Callable[[], list[captioner.ClipCaptions]]:
    """See `Captioner`; frames that repeat an earlier one are captioned too."""
    seen = np.ones_like(frame_mask[:, :1])
    waiting = [
      # Alike frames shall not be sampled alike.
      self.image.submit(frames[:, t : t + 1], seen, ids + np.uint32(t))
      for t in range(self.num_frames)
    ]

    def wait() -> list[captioner.ClipCaptions]:
      by_frame = [captions() for captions in waiting]
      return [_joined(clip) for clip in zip(*by_frame, strict=True)]

    return wait


def _joined(
  frames: tuple[captioner.ClipCaptions, ...],
) -> captioner.ClipCaptions:
  return captioner.ClipCaptions(
    [text for frame in frames for text in frame.captions],
    [value for frame in frames for value in frame.logprobs],
    [value for frame in frames for value in frame.lengths],
  )
