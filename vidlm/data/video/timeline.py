"""When each picture of a film is shown, as read from the file's packets.

A header says how long a film should be; only its packets say how long it is.
One pass over them, without decoding, finds:

- the clock: where time restarts or leaps (files joined by `cat`, a recorder
  that was stopped), what follows is a new part, shown when the part before has
  ended. Frames have one running clock, in ticks of the first part's.
- the end: the last frame's own time and duration. Of a file that was cut, the
  time up to which every frame is there: frames are stored in another order
  than they are shown.
- keyframes: what can be decoded from where.

An MP4 file has an index of all its frames. Where that agrees with the header
and with the size of the file, it is believed and the pass is spared.
"""

import dataclasses
import itertools
import math
from typing import Any

import av
import numpy as np
from jaxtyping import Bool, Int64

from vidlm.data.video import file_ends, packet_table

# libavformat's flags of a format: time may restart, or there is none.
_RESTARTS, _NO_CLOCK = 0x200, 0x80
_WITHIN = 'the file breaks off within a picture'
# Seconds that time may leap ahead before players take it for a new part.
_LEAP = 10.0


@dataclasses.dataclass(frozen=True)
class Timeline:
  """A film's packets, in the order they are stored.

  Attributes:
    shown: When a packet's picture is shown, in ticks of the running clock;
      where `counted`, when it is stored.
    shift: Ticks that were added to the file's own.
    stored: When it is stored, on the file's own clock.
    sizes: Bytes.
    places: Positions in the file; -1 where the format doesn't tell.
    key: Whether decoding may start there.
    lost: What can't be decoded: its references lie in no part.
    starts: Rows at which a part begins; the first is 0.
    origin: Where the film begins, in ticks.
    end: Where it ends.
    counted: The file has no times: frames follow each other at its rate.
    damage: What is wrong with the file, one line; '' if nothing is.
    by_place: The format can be read from a position in the file.
  """

  shown: Int64[np.ndarray, ' N']
  shift: Int64[np.ndarray, ' N']
  stored: Int64[np.ndarray, ' N']
  sizes: Int64[np.ndarray, ' N']
  places: Int64[np.ndarray, ' N']
  key: Bool[np.ndarray, ' N']
  lost: Bool[np.ndarray, ' N']
  starts: tuple[int, ...]
  origin: int
  end: int
  counted: bool
  damage: str
  by_place: bool


def read(container: Any, stream: Any, path: str) -> Timeline | None:
  """Reads all packets of an open file; it is at its end then.

  Args:
    container: The file, at its beginning.
    stream: Its film.
    path: The file.

  Returns:
    The timeline; None if there is no picture in it.
  """
  columns, latest, damage = _read_packets(container, stream)
  if not columns.size:
    return None
  features = container.format.flags
  counted = _has_no_clock(columns, container, stream)
  table = packet_table.filled(columns, stream, counted)
  starts: tuple[int, ...] = (0,)
  if features & _RESTARTS:
    starts = _find_parts(table, int(_LEAP / stream.time_base))
  shift, lost = _running_clock(table, starts)
  if table.flags[-1] & packet_table.INCOMPLETE:
    lost[-1] = True
    damage = damage or _WITHIN
  visible = (table.flags & packet_table.HIDDEN == 0) & ~lost
  if not visible.any():
    return None
  if not damage and file_ends.breaks_off(container.format.name, path):
    damage = _WITHIN
  origin, late = _origin(table, container, stream)
  shown, stored = table.pts + shift, table.dts + shift + late
  if container.format.name == 'mpeg':
    shown = _even(shown, table.long, starts, lost)
  end = int((shown + table.long)[visible].max())
  if not damage and not features & (_RESTARTS | _NO_CLOCK):
    latest = max(latest, float(end * stream.time_base))
    damage = _missing(container, stream, end - origin, latest)
  if damage:
    # Whatever isn't there would be shown at or after the time of its storing.
    row = int(np.flatnonzero(visible)[-1])
    end = min(end, int(stored[row] + table.long[row]))
  else:
    end, damage = _without_gaps(shown[visible], int(stored[-1]), end)
  return Timeline(
    shown=shown,
    shift=shift,
    stored=table.dts,
    sizes=columns.column('size'),
    places=columns.column('pos'),
    key=table.key & ~lost,
    lost=lost,
    starts=starts,
    origin=origin,
    end=end,
    counted=counted,
    damage=damage,
    by_place=bool(features & (_RESTARTS | _NO_CLOCK)),
  )


def _origin(
  table: packet_table.Table, container: Any, stream: Any
) -> tuple[int, int]:
  """Returns where a film begins, and how much later frames are shown at best.

  Where the file has no times, libavformat makes them up, and they begin later
  than what it says of the stream.
  """
  first = int(table.key.argmax())
  if container.format.name == 'avi':
    return int(table.pts[first]), int(table.pts[first] - table.dts[first])
  if stream.start_time is None or container.format.flags & _NO_CLOCK:
    return int(table.pts[first]), 0
  shown = table.flags & packet_table.HIDDEN == 0
  if table.key[shown].any():
    # Of one picture alone, libavformat may take the sound's start.
    first = int(table.pts[shown][table.key[shown].argmax()])
    return min(stream.start_time, first), 0
  return stream.start_time, 0


def _read_packets(
  container: Any, stream: Any
) -> tuple[packet_table.Columns, float, str]:
  """Returns the film's packets, the last second of any stream, and damage."""
  columns, latest, damage = packet_table.Columns(), -math.inf, ''
  try:
    for packet in container.demux():
      if not packet.size:
        continue  # What makes a decoder give up what it holds.
      if packet.stream_index == stream.index:
        columns.add(packet)
      ticks = packet.pts if packet.pts is not None else packet.dts
      if ticks is not None:
        ticks += packet.duration or 0
        latest = max(latest, float(ticks * packet.time_base))
  except (av.FFmpegError, OSError) as error:
    damage = f'the file breaks off: {error}'
  return columns, latest, damage


def _has_no_clock(
  columns: packet_table.Columns, container: Any, stream: Any
) -> bool:
  """Returns whether frames can only be counted."""
  unknown = columns.column('pts') == packet_table.NONE
  context = stream.codec_context
  # AVI tells when a frame is stored; of these codecs, not when it is shown.
  guessed = container.format.name == 'avi' and context.name in ('h264', 'hevc')
  return bool(2 * unknown.sum() > len(unknown)) or (
    guessed and context.has_b_frames
  )


def _find_parts(table: packet_table.Table, leap: int) -> tuple[int, ...]:
  """Returns the rows at which time restarts or leaps ahead.

  A small step back between keyframes is a clock that jitters; a leap is one
  only where the film isn't a show of slides.
  """
  steps = np.diff(table.dts)
  back = (steps < 0) & (table.key[1:] | (steps < -leap // 10))
  starts = [0]
  for row in np.flatnonzero(back | (steps > leap)) + 1:
    before = steps[starts[-1] : row - 1]
    usual = max(before, default=table.given[row - 1])
    if back[row - 1] or 0 < 10 * usual < steps[row - 1]:
      starts.append(int(row))
  return tuple(starts)


def _running_clock(
  table: packet_table.Table, starts: tuple[int, ...]
) -> tuple[Int64[np.ndarray, ' N'], Bool[np.ndarray, ' N']]:
  """Returns what to add to each row's time, and the rows that are lost.

  Lost is what a later part has before its first keyframe.
  """
  shift = np.zeros_like(table.pts)
  lost = np.zeros(len(shift), bool)
  end = 0
  for start, stop in itertools.pairwise((*starts, len(shift))):
    rows = np.arange(start, stop)
    if start:
      keys = rows[table.key[start:stop]]
      if not len(keys):
        lost[rows] = True
        continue
      begin = table.pts[keys[0]]
      lost[rows] = (rows < keys[0]) | (table.pts[rows] < begin)
      shift[rows] = end - begin
    kept = rows[~lost[rows]]
    end = int((table.pts + table.long + shift)[kept].max())
  return shift, lost


def _even(
  shown: Int64[np.ndarray, ' N'],
  long: Int64[np.ndarray, ' N'],
  starts: tuple[int, ...],
  lost: Bool[np.ndarray, ' N'],
) -> Int64[np.ndarray, ' N']:
  """Returns a program stream's times without what libavformat gets wrong.

  Such a stream has times for some pictures only, and where one begins astride
  two packets its neighbour gets its time. Pictures follow each other evenly,
  unless some are missing.
  """
  shown = shown.copy()
  for start, stop in itertools.pairwise((*starts, len(shown))):
    rows = np.arange(start, stop)[~lost[start:stop]]
    if not len(rows):
      continue
    order = rows[np.argsort(shown[rows], kind='stable')]
    even = shown[order[0]] + np.cumsum(long[order]) - long[order]
    if (np.abs(even - shown[order]) < 2.5 * np.median(long)).all():
      shown[order] = even
  return shown


def _missing(container: Any, stream: Any, ticks: int, latest: float) -> str:
  """Returns what the header promises beyond what was read.

  Args:
    container: The file.
    stream: Its film.
    ticks: How long the film is.
    latest: The last second of any stream.
  """
  rate = stream.average_rate or stream.guessed_rate or 25
  read = float(ticks * stream.time_base)
  # Of other formats' streams libavformat may say what the container lasts.
  own = {'avi', 'mp4'} & set(container.format.name.split(','))
  if own and stream.duration and stream.duration > 0:
    told, room = float(stream.duration * stream.time_base), 1.5 / rate
  elif container.duration and container.duration > 0:
    # The longest stream's; from 0 or from the first picture.
    begin = (container.start_time or 0) / av.time_base
    read = max(read, latest, latest - begin)
    told, room = container.duration / av.time_base, max(0.1, 2 / rate)
  else:
    return ''
  if told - read <= room:
    return ''
  return f'the header says {told:.2f} s, the file holds {read:.2f} s'


def _without_gaps(
  shown: Int64[np.ndarray, ' N'], stored: int, end: int
) -> tuple[int, str]:
  """Returns the end of a film that may lack pictures before its last ones.

  Nothing tells of a cut there: but frames of one rate leave no gap, and those
  that come before the last frame stored are complete.

  Args:
    shown: When the pictures are shown.
    stored: When the last one is stored.
    end: The end if there is no gap.
  """
  shown = np.sort(shown)
  steps = np.diff(shown)
  if len(steps) < 8 or np.quantile(steps, 0.9) > 1.5 * np.median(steps):
    return end, ''
  step = int(np.median(steps))
  gaps = np.flatnonzero((steps > 1.5 * step) & (shown[1:] > stored))
  if not len(gaps):
    return end, ''
  return int(shown[gaps[0]]) + step, 'pictures are missing at its end'
