"""The gallery's HTML: complete, escaped, small."""

import base64
import html.parser
import io
import re

import PIL.Image
import pytest

from vidlm.captions import gallery


def jpeg(height, width):
  buffer = io.BytesIO()
  PIL.Image.effect_noise((width, height), 90).convert('RGB').save(
    buffer, 'JPEG'
  )
  return buffer.getvalue()


def images(page):
  found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
  return [PIL.Image.open(io.BytesIO(base64.b64decode(d))) for d in found]


class Cells(html.parser.HTMLParser):
  """Texts of the cells, row by row."""

  def __init__(self, page):
    super().__init__()
    self.rows = []
    self.feed(page)

  def handle_starttag(self, tag, attrs):
    if tag == 'tr':
      self.rows.append([])
    elif tag in ('td', 'th'):
      self.rows[-1].append('')
    elif tag == 'br':
      self.rows[-1][-1] += '\n'

  def handle_data(self, data):
    if self.rows and self.rows[-1] and data.strip():
      self.rows[-1][-1] += data


def test_rows_and_columns():
  page = gallery.table(
    [
      gallery.Row('c0', [jpeg(40, 60)] * 2, {'a': ['x', 'y'], 'b': 'z'}),
      gallery.Row('c1', [], {'c': '<script>', 'a': 'A & B'}),
    ]
  )
  assert Cells(page).rows == [
    ['', 'a', 'b', 'c'],
    ['c0', 'x\ny', 'z', ''],
    ['(no frames)c1', 'A & B', '', '<script>'],
  ]
  assert '<script>' not in page and len(images(page)) == 2


def test_keyframes_are_spread_and_shrunk():
  frames = [jpeg(180, 320) for _ in range(9)]
  page = gallery.table([gallery.Row('c', frames, {})], keyframes=3, height=30)
  assert [image.size for image in images(page)] == [(107, 60)] * 3
  assert len(page) < sum(map(len, frames)) / 4
  assert gallery.spread(frames, 3) == [frames[1], frames[4], frames[7]]
  assert gallery.spread(frames[:2], 3) == frames[:2]


def test_marks():
  page = gallery.table(
    [gallery.Row('c', [], {'a': 'Red & <red> hired'})], mark=r'<?\bred\b>?'
  )
  assert '<mark>Red</mark> &amp; <mark>&lt;red&gt;</mark> hired</td>' in page
  nothing = gallery.table([gallery.Row('c', [], {'a': 'b'})], mark='x*')
  assert '<mark>' not in nothing


def test_refusals():
  with pytest.raises(ValueError, match='no regular expression'):
    gallery.table([], mark='[')
  with pytest.raises(ValueError, match='no JPEG'):
    gallery.table([gallery.Row('c', [b'no image'], {})])
