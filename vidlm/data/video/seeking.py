"""From which packet a film is decoded: the last keyframe that will do.

Two kinds of film: one whose file has an index of its frames that can be
believed is asked for a time; one that was read through (see `timeline`) has a
table of its packets, and every packet is known by its row.
"""

import collections
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import av
import numpy as np

from vidlm.data.video import parameter_sets, refusals
from vidlm.data.video import timeline as timeline_lib


@dataclasses.dataclass(frozen=True)
class Gap:
  """Between packets: what the decoder holds is to come out.

  Attributes:
    error: Why nothing follows.
    last: Nothing follows; else it begins anew.
  """

  error: refusals.DecodeError | None = None
  last: bool = False


Item = Any  # An av.Packet or a Gap.
# Of a packet: its place in the file and its size; its time if it has no place.
_Name = tuple[int, int, int]


@runtime_checkable
class Packets(Protocol):
  """Packets of a film, from wherever decoding should start."""

  origin: int

  def starts(self, target: int) -> Iterator[Iterator[Item]]:
    """Yields runs of packets from keyframes shown at or before a time.

    Each begins farther back than the one before, the last at the film's
    beginning; taking the next ends the one before.
    """

  def may_jump(self, position: int, target: int) -> bool:
    """Returns whether a keyframe between two times merits a seek."""


class IndexedPackets:
  """Packets of a file that finds times by itself."""

  def __init__(self, container: Any, stream: Any):
    """Reads nothing yet.

    Args:
      container: The open file.
      stream: Its film.
    """
    self._container = container
    self._stream = stream
    self.origin: int = stream.start_time or 0
    self._moved = False

  def starts(self, target: int) -> Iterator[Iterator[Item]]:
    """See `Packets`."""
    if target <= self.origin and not self._moved:
      self._moved = True
      yield _demux(self._container, self._stream)
      return
    self._moved = True
    second = int(1 / self._stream.time_base)
    goal = target
    # libav seeks by decoding time, and to what it takes for a keyframe: look
    # at where it landed, and go further back if that is shown too late.
    for back in (0, 1, 4, 16, 64):
      goal = min(goal, target) - back * second
      if goal <= self.origin or not self._seek(goal):
        break
      packets = _demux(self._container, self._stream)
      first = _first_key(packets)
      if first is None:
        continue
      shown = first.pts if first.pts is not None else first.dts
      if shown is not None and shown <= target:
        yield itertools.chain([first], packets)
    self._container.seek(self.origin, stream=self._stream, backward=True)
    yield _demux(self._container, self._stream)

  def may_jump(self, position: int, target: int) -> bool:
    """See `Packets`."""
    entries = self._stream.index_entries
    if len(entries) > 1:
      # Entries hold decoding times, which run ahead of what is shown.
      margin = int(0.25 / self._stream.time_base)
      found = entries.search_timestamp(target - margin, backward=True)
      return found >= 0 and entries[found].timestamp > position
    return (target - position) * self._stream.time_base > 10

  def _seek(self, ticks: int) -> bool:
    return _seek(self._container, ticks, stream=self._stream)


class ScannedPackets:
  """Packets of a file that was read through, on the running clock."""

  def __init__(
    self, container: Any, stream: Any, timeline: timeline_lib.Timeline
  ):
    """Reads nothing yet.

    Args:
      container: The open file.
      stream: Its film.
      timeline: Of the film.
    """
    self._container = container
    self._stream = stream
    self._timeline = timeline
    self.origin = timeline.origin
    self._keys = np.flatnonzero(timeline.key)
    self._rows = self._find_rows()
    self._breaks = frozenset(timeline.starts[1:])
    self._moved = False

  def starts(self, target: int) -> Iterator[Iterator[Item]]:
    """See `Packets`."""
    if not self._timeline.counted:
      rows = self._keys[self._timeline.shown[self._keys] <= target]
      # Those that a decoder refused to start from are few.
      for row in rows[:-9:-1]:
        if row and (packets := self._land(int(row))) is not None:
          yield packets
        elif not row:
          break
    yield self._from_beginning()

  def may_jump(self, position: int, target: int) -> bool:
    """See `Packets`."""
    if self._timeline.counted:
      return False
    shown = self._timeline.shown[self._keys]
    return bool(((shown > position) & (shown <= target)).any())

  def _find_rows(self) -> dict[_Name, int]:
    """Returns the row of each keyframe that can't be taken for another."""
    ids = [self._name_of_row(int(row)) for row in self._keys]
    times = collections.Counter(ids)
    return {
      name: int(row)
      for name, row in zip(ids, self._keys, strict=True)
      if times[name] == 1
    }

  def _name_of_row(self, row: int) -> _Name:
    place, size = (
      int(self._timeline.places[row]),
      int(self._timeline.sizes[row]),
    )
    return (place, size, 0 if place >= 0 else self._own_time(row))

  def _own_time(self, row: int) -> int:
    return int(self._timeline.shown[row] - self._timeline.shift[row])

  def _land(self, row: int) -> Iterator[Item] | None:
    """Returns packets from a row on, if a seek gets to it or before it."""
    self._moved = True
    for goal in self._goals(row):
      if not _seek(self._container, **goal, stream=self._stream):
        continue
      packets = _demux(self._container, self._stream)
      first = _first_key(packets)
      landed = None if first is None else self._rows.get(_name(first))
      if landed is not None and landed <= row:
        return self._numbered(itertools.chain([first], packets), landed, row)
    return None

  def _goals(self, row: int) -> Iterator[dict[str, Any]]:
    """Yields what to seek, for packets from a row on."""
    if self._timeline.by_place:
      place = int(self._timeline.places[row]) if row else 0
      if place >= 0:
        yield {'offset': place, 'unsupported_byte_offset': True}
      return
    # Formats differ in which of the two they seek by.
    second = int(1 / self._stream.time_base)
    stored = int(self._timeline.stored[row])
    for goal in (self._own_time(row), stored, stored - second):
      yield {'offset': goal}
    yield {'offset': stored - 8 * second if row else 0}

  def _from_beginning(self) -> Iterator[Item]:
    packets = _demux(self._container, self._stream)
    if not self._moved:
      self._moved = True
      return self._numbered(packets, 0, 0)
    name = self._name_of_row(0)
    for goal in self._goals(0):
      if _seek(self._container, **goal, stream=self._stream):
        packets = _demux(self._container, self._stream)
        first = next(packets)
        if not isinstance(first, Gap) and _name(first) == name:
          return self._numbered(itertools.chain([first], packets), 0, 0)
    raise refusals.DecodeError('corrupt', 'can not be read a second time')

  def _numbered(
    self, packets: Iterator[Item], row: int, first: int
  ) -> Iterator[Item]:
    """Gives packets the times of their rows; the first is the packet of `row`.

    Args:
      packets: As they are read.
      row: Of the first of them.
      first: The first row that is of use.
    """
    timeline = self._timeline
    for packet in packets:
      if isinstance(packet, Gap):
        if packet.last:
          break
        if row > first:
          yield packet
        continue
      if row >= len(timeline.sizes) or packet.size != timeline.sizes[row]:
        error = refusals.DecodeError('corrupt', 'reads differently this time')
        yield Gap(error, last=True)
        return
      if row >= first and not timeline.lost[row]:
        if row in self._breaks and row > first:
          yield Gap()
        if not timeline.counted and packet.pts is not None:
          packet.pts = int(timeline.shown[row])
        if packet.dts is not None:
          packet.dts += int(timeline.shift[row])
        yield packet
      row += 1
    # Where the film breaks off is where it ends, as the timeline knows.
    yield Gap(last=True)


def _demux(container: Any, stream: Any) -> Iterator[Item]:
  """Yields packets, and Gaps.

  One comes where the stream's parameters change, one at the end, or where the
  file breaks off.
  """
  changes = parameter_sets.Changes(stream)
  try:
    for packet in container.demux(stream):
      if packet.size:
        if changes.at(packet):
          yield Gap()
        yield packet
  except MemoryError:
    yield Gap(refusals.DecodeError('out_of_memory', refusals.OUT_OF_MEMORY))
  except (av.FFmpegError, OSError) as error:
    broken = refusals.DecodeError('truncated', f'the file breaks off: {error}')
    yield Gap(broken, last=True)
  else:
    yield Gap(last=True)


def _name(packet: Any) -> _Name:
  if packet.pos is not None:
    return packet.pos, packet.size, 0
  time = packet.pts if packet.pts is not None else packet.dts
  return -1, packet.size, time or 0


def _first_key(packets: Iterator[Item]) -> Any:
  """Returns the first packet that decoding may start at, if there is one."""
  for packet in packets:
    if not isinstance(packet, Gap) and packet.is_keyframe:
      return packet
  return None


def _seek(container: Any, offset: int, **how: Any) -> bool:
  try:
    container.seek(offset, backward=True, **how)
  except av.FFmpegError:
    return False
  return True
