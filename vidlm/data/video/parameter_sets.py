"""Where a stream's picture size, aspect or coding changes midway.

A decoder takes on new parameters as it reads them, while it still holds
pictures of before: unless those are taken out first, nothing tells which
aspect is whose.
"""

import re
from typing import Any

# H.264's sequence parameter set (7) and HEVC's (33), after a start code.
_SETS = {
  'h264': re.compile(
    rb'\x00\x00\x01[\x07\x27\x47\x67].{3,}?(?=\x00\x00[\x00\x01])', re.S
  ),
  'hevc': re.compile(
    rb'\x00\x00\x01[\x42\x43].{3,}?(?=\x00\x00[\x00\x01])', re.S
  ),
  # Size, aspect and rate.
  'mpeg1video': re.compile(rb'\x00\x00\x01\xb3.{4}', re.S),
  'mpeg2video': re.compile(rb'\x00\x00\x01\xb3.{4}', re.S),
  'mpeg4': re.compile(rb'\x00\x00\x01[\x20-\x2f].{3,}?(?=\x00\x00\x01)', re.S),
}
_SEARCHED = 4096  # Bytes of a packet: parameters come before the picture.


class Changes:
  """Tells, packet by packet, whether parameters are new from here on."""

  def __init__(self, stream: Any):
    """Knows no parameters yet.

    Args:
      stream: Of which packets are looked at.
    """
    self._pattern = _SETS.get(stream.codec_context.name)
    self._known: bytes | None = None

  def at(self, packet: Any) -> bool:
    """Returns whether a packet begins with other parameters than before."""
    if packet.has_sidedata('new_extradata'):
      return True
    if self._pattern is None or not packet.is_keyframe:
      return False
    found = self._pattern.search(bytes(memoryview(packet)[:_SEARCHED]))
    if found is None:
      return False
    before, self._known = self._known, found[0]
    return before is not None and before != found[0]
