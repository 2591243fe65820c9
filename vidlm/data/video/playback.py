"""What a film shows at each wanted time, one after the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vidlm.data.video import deinterlace, refusals, run, seeking, sparing

Decode = Callable[
  [Iterator[seeking.Item], Sequence[int]], Iterator[run.Picture]
]


class Playback:
  """Finds the pictures shown at ascending times.

  Attributes:
    fault: When the first picture would have been shown that isn't sound, of
      those wanted; None so far.
  """

  def __init__(
    self,
    packets: seeking.Packets,
    decode: Decode,
    spare: sparing.Spare,
    wanted: Sequence[int],
  ):
    """Decodes nothing yet.

    Args:
      packets: The film's.
      decode: Decodes a run of them for wanted times.
      spare: What leaves out pictures while that is done.
      wanted: Ascending ticks.
    """
    self.fault: int | None = None
    self._packets = packets
    self._decode = decode
    self._spare = spare
    self._wanted = wanted
    self._starts: Iterator[Iterator[seeking.Item]] = iter(())
    self._pictures: Iterator[run.Picture] = iter(())
    self._before: run.Picture | None = None
    self._shown: run.Picture | None = None
    self._after: run.Picture | None = None

  def at(self, position: int) -> tuple[run.Picture, Any]:
    """Returns the picture shown at a time, and its frame made whole.

    Args:
      position: Of the time; none before the last one.

    Raises:
      DecodeError: If it can't be had.
    """
    target = self._wanted[position]
    after = self._after
    if after is None or (
      after.at <= target and self._packets.may_jump(after.at, target)
    ):
      self._begin(position)
    self._go(target)
    while self._needs_more() and self._begin_farther(position):
      self._go(target)
    return self._sound(target)

  def _begin(self, position: int) -> None:
    self._starts = self._packets.starts(self._wanted[position])
    self._begin_farther(position)

  def _begin_farther(self, position: int) -> bool:
    """Begins a run that starts earlier, if there is any."""
    packets = next(self._starts, None)
    if packets is None:
      return False
    self._pictures = self._decode(packets, self._wanted[position:])
    self._before = self._shown = self._after = None
    return True

  def _go(self, target: int) -> None:
    """Goes on until what is shown after the target is known."""
    while self._after is None or self._after.at <= target:
      after = next(self._pictures)
      if self._after is not None:
        self._before, self._shown = self._shown, self._after
      self._after = after

  def _needs_more(self) -> bool:
    """Returns whether a picture or its neighbours lie before the run.

    The keyframe was none, or what follows it needs what is before. Of an
    interlaced picture, the one before is needed as well, and none may have
    been left out.
    """
    if self._shown is None:
      return True
    if not self._shown.frame.interlaced_frame:
      return False
    if self._spare.left_out:
      self._spare.stop()
      self._starts = self._packets.starts(self._shown.at)
      return True
    return self._before is None and self._shown.at > self._packets.origin

  def _sound(self, target: int) -> tuple[run.Picture, Any]:
    """Returns what is shown, if it surely is what is wanted."""
    after = self._after
    assert after is not None
    if self._shown is None:
      if after.frame is None:
        raise refusals.DecodeError('empty', 'no frame could be decoded')
      # Nothing is shown before the first frame: that one stands in.
      self._shown = after
    shown = self._shown
    if shown.damaged:
      self.fault = shown.at
      raise refusals.DecodeError(
        'corrupt', 'a wanted frame is damaged, or one that it refers to'
      )
    if shown.at < after.lost <= target:
      self.fault = after.lost
      raise refusals.DecodeError('corrupt', 'a wanted frame does not decode')
    if not shown.frame.interlaced_frame:
      return shown, shown.frame
    before = None if self._before is None else self._before.frame
    later = None if after is shown else after.frame
    return shown, deinterlace.Interlaced(shown.frame, before, later)
