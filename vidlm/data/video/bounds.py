"""Where a clip begins and ends: no later than what was read of its film."""

import contextlib
import dataclasses
from collections.abc import Iterator

from vidlm.data.video import reader as frames_lib
from vidlm.data.video import sampling, webp


@dataclasses.dataclass(frozen=True)
class Asked:
  """What is asked for.

  Attributes:
    start: Seconds; None for the film's start.
    end: Seconds; None for the film's end.
    cut_short: Why no more is asked for, if decoding has shown so.
  """

  start: float | None
  end: float | None
  cut_short: str = ''


@dataclasses.dataclass(frozen=True)
class Bounds:
  """Where a clip begins and ends in its film.

  Attributes:
    start: Seconds.
    end: Seconds.
    cut_short: Why it ends before it should, one line; '' if it doesn't.
  """

  start: float
  end: float
  cut_short: str


class TailDamaged(Exception):
  """The film's last pictures don't decode: it was cut within them."""

  def __init__(self, instead: Asked):
    super().__init__(instead.cut_short)
    self.instead = instead


def of_clip(
  asked: Asked, reader: webp.AnyReader, damaged: sampling.Damaged
) -> Bounds:
  """Returns where a clip is in its film.

  Args:
    asked: What is asked for.
    reader: Of the film.
    damaged: What becomes of a clip of which the file lacks the end.

  Raises:
    DecodeError: 'empty' if it isn't in it; 'truncated' if the film was cut
      before, or in it and such clips are refused.
  """
  duration = reader.end()
  start = max(asked.start or 0.0, 0.0)
  end = duration if asked.end is None else min(asked.end, duration)
  cut_short = asked.cut_short
  if reader.damage and (asked.end is None or asked.end >= duration):
    cut_short = cut_short or f'{reader.damage}; it ends at {duration:.2f} s'
  if cut_short and damaged == 'refuse':
    raise frames_lib.DecodeError(
      'truncated', f'{cut_short} (--damaged=flag takes what is there)'
    )
  if not start < end:
    wanted = 'its end' if asked.end is None else f'{asked.end:g} s'
    raise frames_lib.DecodeError(
      'truncated' if cut_short else 'empty',
      f'clip from {start:g} s to {wanted} of a video of {duration:g} s is '
      'empty' + (f': {cut_short}' if cut_short else ''),
    )
  return Bounds(start, end, cut_short)


@contextlib.contextmanager
def tail(
  reader: webp.AnyReader, clip: Bounds, damaged: sampling.Damaged
) -> Iterator[None]:
  """Reads a film's frames, which may turn out to be cut within the last ones.

  Raises:
    TailDamaged: Then, unless such clips are refused, with what to read instead.
  """
  try:
    yield
  except frames_lib.DecodeError:
    at = reader.tail_fault()
    if damaged == 'refuse' or at is None or not clip.start < at < clip.end:
      raise
    why = clip.cut_short or f'its last pictures do not decode after {at:.2f} s'
    raise TailDamaged(Asked(clip.start, at, why)) from None
