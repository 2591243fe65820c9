"""Clips as an HTML table: keyframes beside texts, complete in itself."""

import base64
import dataclasses
import html
import io
import re
from collections.abc import Mapping, Sequence

from vidlm.data.video import sampling

_STYLE = 'text-align: left; vertical-align: top; padding: 4px 12px 4px 0'
# Notebooks would squeeze the column of images, and the images in it.
_FRAMES = 'min-width: 17em'
_IMAGE = 'max-width: none; display: inline; margin: 0 2px 2px 0'


@dataclasses.dataclass(frozen=True)
class Row:
  """A clip.

  Attributes:
    title: Such as its id.
    frames: JPEG.
    texts: Column -> what stands there, one text a line.
  """

  title: str
  frames: Sequence[bytes]
  texts: Mapping[str, str | Sequence[str]]


def table(
  rows: Sequence[Row],
  *,
  keyframes: int = 4,
  height: int = 64,
  mark: str = '',
) -> str:
  """Renders clips, a table row each.

  Args:
    rows: The clips; columns come in the order in which rows name them.
    keyframes: At most so many of each clip, spread over it.
    height: Height of a keyframe, in pixels.
    mark: A regular expression; what it matches is highlighted, whatever its
      case.

  Returns:
    HTML, with the images in it.

  Raises:
    ValueError: If `mark` is no regular expression, or a frame no image.
  """
  try:
    marked = re.compile(mark, re.IGNORECASE) if mark else None
  except re.error as error:
    raise ValueError(f'{mark!r} is no regular expression: {error}') from None
  columns = list(dict.fromkeys(name for row in rows for name in row.texts))
  head = ''.join(f'<th style="{_STYLE}">{html.escape(c)}</th>' for c in columns)
  body = []
  for row in rows:
    images = ''.join(_image(f, height) for f in spread(row.frames, keyframes))
    cells = [
      f'<div style="{_FRAMES}">{images or "(no frames)"}</div>'
      f'<small>{html.escape(row.title)}</small>'
    ]
    cells += [_lines(row.texts.get(name, ()), marked) for name in columns]
    body.append(''.join(f'<td style="{_STYLE}">{cell}</td>' for cell in cells))
  lines = '\n'.join(f'<tr>{cells}</tr>' for cells in body)
  return (
    f'<table><thead><tr><th></th>{head}</tr></thead>\n'
    f'<tbody>\n{lines}\n</tbody></table>'
  )


def spread(frames: Sequence[bytes], count: int) -> list[bytes]:
  """Returns at most `count` frames, spread evenly over all."""
  if len(frames) <= count:
    return list(frames)
  return [frames[i] for i in sampling.select_frames(len(frames), count)]


def _lines(texts: str | Sequence[str], marked: re.Pattern[str] | None) -> str:
  lines = [texts] if isinstance(texts, str) else texts
  return '<br>'.join(_marked(line, marked) for line in lines)


def _marked(text: str, marked: re.Pattern[str] | None) -> str:
  """Escapes a text, with <mark> around what matches."""
  out, end = [], 0
  for match in marked.finditer(text) if marked else ():
    if match[0]:
      out.append(html.escape(text[end : match.start()]))
      out.append(f'<mark>{html.escape(match[0])}</mark>')
      end = match.end()
  return ''.join(out) + html.escape(text[end:])


def _image(frame: bytes, height: int) -> str:
  data = base64.b64encode(_shrink(frame, 2 * height)).decode()
  return (
    f'<img src="data:image/jpeg;base64,{data}" alt="" '
    f'style="height: {height}px; {_IMAGE}">'
  )


def _shrink(frame: bytes, height: int) -> bytes:
  """Returns a JPEG no taller than `height`, so that a page stays small."""
  import PIL.Image

  try:
    with PIL.Image.open(io.BytesIO(frame), formats=['JPEG']) as image:
      if image.height <= height:
        return frame
      small = image.convert('RGB')
      small.thumbnail((8 * height, height))
  except OSError as error:
    raise ValueError(f'a frame is no JPEG image: {error}') from None
  buffer = io.BytesIO()
  small.save(buffer, 'JPEG', quality=85)
  return buffer.getvalue()
