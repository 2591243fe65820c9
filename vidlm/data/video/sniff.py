"""What a suffix alone doesn't tell: film or picture, film or sound.

A .webp, .png or .avif may be a film, an .ogg mostly is music, and go.mod is no
camera's. The first bytes tell, and of animations of a single picture what
follows; only files of such suffixes are opened. Where names alone are known,
as in a tar, such a file is what it mostly is.
"""

import os
import re
from collections.abc import Callable
from typing import BinaryIO

from vidlm.data.video import webp

# An animated PNG says so before its pixels, after at most its texts.
_HEAD = 1 << 16
# How the first packet of a stream of video begins, in Ogg: Theora, Dirac, VP8,
# and what Windows made, with any codec.
_OGG_VIDEO = (b'\x80theora', b'BBCD\0', b'OVP80', b'\x01video\0\0\0')


def _is_animated_png(head: bytes, file: BinaryIO) -> bool:
  del file
  _, mark, said = head.partition(b'IDAT')[0].partition(b'acTL')
  return bool(mark) and int.from_bytes(said[:4], 'big') > 1


def _is_animated_webp(head: bytes, file: BinaryIO) -> bool:
  # One of no frame at all is a damaged film, which decoding will say.
  return webp.says_animated(head) and webp.count_frames(file, at_most=2) != 1


def _is_animated_avif(head: bytes, file: BinaryIO) -> bool:
  del file
  size = int.from_bytes(head[:4], 'big')
  return head[4:8] == b'ftyp' and b'avis' in head[8 : max(16, min(size, 256))]


def _has_ogg_video(head: bytes, file: BinaryIO) -> bool:
  del file
  return any(mark in head for mark in _OGG_VIDEO)


def _is_program_stream(head: bytes, file: BinaryIO) -> bool:
  del file
  return head.startswith(b'\0\0\1\xba')


# Suffix -> whether a file that begins so is a film, and what else it is.
_FILMS: dict[str, tuple[Callable[[bytes, BinaryIO], bool], str]] = {
  '.png': (_is_animated_png, 'image'),
  '.apng': (_is_animated_png, 'image'),
  '.webp': (_is_animated_webp, 'image'),
  '.avif': (_is_animated_avif, 'image'),
  '.ogg': (_has_ogg_video, 'no_video_stream'),
  '.ogx': (_has_ogg_video, 'no_video_stream'),
  '.mod': (_is_program_stream, 'suffix_unknown'),
}
_SUFFIX = re.compile(r'\.[^./]+$')


def kind_of(path: str) -> str:
  """Returns what a file of a suffix that doesn't tell is.

  Returns:
    'video', 'image', a reason to leave it out, or '' where the suffix tells.
    A file that can't be read is what such files mostly are.
  """
  suffix = _SUFFIX.search(path.lower())
  if suffix is None or suffix[0] not in _FILMS:
    return ''
  is_film, else_it_is = _FILMS[suffix[0]]
  try:
    # Not open(): a pipe would wait for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, 'rb') as file:
      return 'video' if is_film(file.read(_HEAD), file) else else_it_is
  except OSError:
    return else_it_is
