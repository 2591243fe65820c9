"""What a film's packets say of themselves, a column each."""

import array
import dataclasses
import fractions
from typing import Any

import av
import numpy as np
from jaxtyping import Bool, Int64

NONE = -(1 << 63)  # Where a packet doesn't tell.
# Flags: decoding may start there; to be decoded and not shown; cut off.
KEY, HIDDEN, INCOMPLETE = 1, 2, 4


@dataclasses.dataclass
class Columns:
  """What packets say, a column each; `NONE` where they don't."""

  pts: array.array = dataclasses.field(default_factory=lambda: array.array('q'))
  dts: array.array = dataclasses.field(default_factory=lambda: array.array('q'))
  long: array.array = dataclasses.field(
    default_factory=lambda: array.array('q')
  )
  size: array.array = dataclasses.field(
    default_factory=lambda: array.array('q')
  )
  pos: array.array = dataclasses.field(default_factory=lambda: array.array('q'))
  flags: array.array = dataclasses.field(
    default_factory=lambda: array.array('b')
  )

  def add(self, packet: Any) -> None:
    self.pts.append(NONE if packet.pts is None else packet.pts)
    self.dts.append(NONE if packet.dts is None else packet.dts)
    self.long.append(packet.duration or 0)
    self.size.append(packet.size)
    self.pos.append(-1 if packet.pos is None else packet.pos)
    self.flags.append(
      packet.is_keyframe | packet.is_discard << 1 | packet.is_corrupt << 2
    )

  def column(self, name: str) -> Int64[np.ndarray, ' N']:
    return np.array(getattr(self, name), np.int64)


@dataclasses.dataclass(frozen=True)
class Table:
  """Columns without holes."""

  pts: Int64[np.ndarray, ' N']
  dts: Int64[np.ndarray, ' N']
  long: Int64[np.ndarray, ' N']
  key: Bool[np.ndarray, ' N']
  flags: Int64[np.ndarray, ' N']
  given: Int64[np.ndarray, ' N']  # Durations, 0 where the file has none.


def filled(columns: Columns, stream: Any, counted: bool) -> Table:
  """Fills holes: what has no time follows what is stored before it."""
  pts, dts = columns.column('pts'), columns.column('dts')
  given, flags = columns.column('long'), columns.column('flags')
  long = np.where(
    given > 0,
    given,
    _usual_step(given, np.where(dts == NONE, pts, dts), stream),
  )
  if counted and (dts == NONE).any():
    dts = np.concatenate([[0], np.cumsum(long)[:-1]])
  if counted:
    pts = dts
  known = np.where(dts == NONE, pts, dts)
  first = int((known != NONE).argmax())
  at = int(known[first] - long[:first].sum()) if known[first] != NONE else 0
  for row in np.flatnonzero(known == NONE):
    known[row] = at if row == 0 else known[row - 1] + long[row - 1]
  pts = np.where(pts == NONE, known, pts)
  return Table(pts, known, long, flags & KEY > 0, flags, given)


def _usual_step(
  long: Int64[np.ndarray, ' N'], dts: Int64[np.ndarray, ' N'], stream: Any
) -> int:
  """Returns the ticks a picture is shown for, where it doesn't tell."""
  given = long[long > 0]
  if len(given):
    return int(np.median(given))
  steps = np.diff(dts[dts != NONE])
  steps = steps[steps > 0]
  if len(steps):
    return int(np.median(steps))
  rate = stream.average_rate
  if not rate and len(long) == 1 and stream.container.duration:
    # All that is known of a film of one picture is what the header says.
    end = fractions.Fraction(stream.container.duration, av.time_base)
    begin = max(0, int(dts[0])) * stream.time_base
    return max(1, round((end - begin) / stream.time_base))
  return max(1, round(1 / ((rate or 25) * stream.time_base)))
