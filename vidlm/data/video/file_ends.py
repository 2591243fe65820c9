"""Whether a file that no header tells of was cut within a packet."""

import os


def breaks_off(kind: str, path: str) -> bool:
  """Returns whether a file ends within one of its packets.

  Args:
    kind: libavformat's name of the format; of others than transport and
      program streams nothing is known.
    path: The file.
  """
  size = os.path.getsize(path)
  if kind == 'mpegts':
    return all(size % packet for packet in (188, 192, 204))
  return kind == 'mpeg' and _within_pack(path, size)


def _within_pack(path: str, size: int) -> bool:
  """Returns whether a program stream's last pack lacks its end."""
  with open(path, 'rb') as file:
    file.seek(max(0, size - (1 << 18)))
    data = file.read()
  at = data.rfind(b'\0\0\1\xba')
  if at < 0 or at + 14 > len(data):
    return at >= 0
  # MPEG-2's header has stuffing; MPEG-1's is shorter.
  at += 14 + (data[at + 13] & 7) if data[at + 4] >> 6 == 1 else 12
  while at + 6 <= len(data) and data[at : at + 3] == b'\0\0\1':
    if data[at + 3] == 0xB9:  # The end of the stream.
      return False
    at += 6 + int.from_bytes(data[at + 4 : at + 6], 'big')
  # What isn't a packet there is none of ours.
  return at > len(data) or 0 < len(data) - at < 6
