"""How far a captioning run is, on one line."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

from absl import logging


class Progress:
  """Counts clips and says so from time to time.

  On a terminal one line is rewritten; elsewhere a line is logged an interval.
  """

  def __init__(
    self,
    shards: int,
    clips: int | None,
    *,
    interval: float = 30.0,
    stream: TextIO = sys.stderr,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Starts the clock.

    Args:
      shards: To be done by this process.
      clips: In these shards; None if that isn't known.
      interval: Seconds between lines where there is no terminal.
      stream: Asked whether it is a terminal.
      clock: Seconds.
    """
    self._shards = shards
    self._clips = clips
    self._stream = stream
    self._terminal = stream.isatty()
    self._interval = 0.2 if self._terminal else interval
    self._clock = clock
    self._last = self._began = clock()
    # Time, clips, captions and shards that rates are counted from.
    self._base = (self._last, 0, 0, 0)
    self._warm = False
    self.clips = self.captions = self.failed = self.shards = 0

  def warm_up(self) -> None:
    """Leaves what came before, compilation with it, out of the rates."""
    if not self._warm:
      self._warm = True
      self._base = (self._clock(), self.clips, self.captions, self.shards)

  def add(self, captions: int = 0, failed: bool = False) -> None:
    """Counts a clip."""
    self.clips += 1
    self.captions += captions
    self.failed += failed
    if self._clock() - self._last >= self._interval:
      self._last = self._clock()
      self._show(self.line())

  def finish_shard(self) -> None:
    """Counts a shard."""
    self.shards += 1

  def close(self) -> None:
    """Says how it came out."""
    if self.clips:
      self._show(self.summary())
    if self._terminal and self.clips:
      self._stream.write('\n')

  def summary(self) -> str:
    """Returns the last line: how many, in how long, and the rates if any."""
    took = _duration(self._clock() - self._began)
    line = (
      f'caption: {self.clips} clips, {self.failed} failed, '
      f'{self.captions} captions in {took}'
    )
    seconds, clips, captions, _ = self._since_base()
    if clips:
      line += f'; {clips / seconds:.2f} clips/s, {captions / seconds:.2f}'
      line += ' captions/s'
    return line

  def _show(self, line: str) -> None:
    if self._terminal:
      self._stream.write(f'\r\033[K{line}')
      self._stream.flush()
    else:
      logging.info('%s', line)

  def line(self) -> str:
    """Returns the line itself."""
    total = '' if self._clips is None else f' of {self._clips}'
    seconds, clips, captions, _ = self._since_base()
    return (
      f'caption: {self.clips}{total} clips, {self.failed} failed; '
      f'file {min(self.shards + 1, self._shards)} of {self._shards}; '
      f'{clips / seconds:.2f} clips/s, {captions / seconds:.2f} captions/s; '
      f'{self._left()} left'
    )

  def _since_base(self) -> tuple[float, int, int, int]:
    start, clips, captions, shards = self._base
    return (
      max(self._clock() - start, 1e-9),
      self.clips - clips,
      self.captions - captions,
      self.shards - shards,
    )

  def _left(self) -> str:
    seconds, clips, _, shards = self._since_base()
    if self._clips is not None:
      done, left = clips, self._clips - self.clips
    else:
      done, left = shards, self._shards - self.shards
    if not done:
      return 'unknown time'
    return _duration(seconds / done * max(left, 0))


def _duration(seconds: float) -> str:
  whole = round(seconds)
  return f'{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}'
