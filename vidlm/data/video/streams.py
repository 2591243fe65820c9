"""Which of a file's video streams is the film."""

from collections.abc import Sequence
from typing import Any

import av

from vidlm.data.video import sampling

_DISPOSITION = av.stream.Disposition
# Pictures attached to a song or a film, a chapter's pictures, and what is
# nothing without another stream.
_NO_FILM = (
  _DISPOSITION.attached_pic
  | _DISPOSITION.timed_thumbnails
  | _DISPOSITION.dependent
)


def choose(streams: Sequence[Any], limits: sampling.Limits) -> Any | None:
  """Returns the stream that a player would show.

  Never an attached picture or a track of thumbnails. Of the others those that
  can be decoded come first, then films before single pictures, then what is
  within the limits, then what the file calls its default, then the largest,
  then the first.

  Args:
    streams: A container's video streams.
    limits: The largest frame allowed.

  Returns:
    PyAV's stream; None if no film is among them.
  """
  films = [s for s in streams if not s.disposition & _NO_FILM]
  if not films:
    return None

  def rank(stream: Any) -> tuple[bool, bool, bool, bool, int]:
    context = stream.codec_context
    pixels = context.width * context.height if context is not None else 0
    return (
      context is not None,
      not _is_picture(stream),
      0 < pixels <= limits.max_pixels,
      bool(stream.disposition & _DISPOSITION.default),
      pixels,
    )

  # Of equals the first, as `max` does.
  return max(films, key=rank)


def _is_picture(stream: Any) -> bool:
  """Returns whether the file says that this is one picture, not a film."""
  still = bool(stream.disposition & _DISPOSITION.still_image)
  return still or stream.frames == 1
