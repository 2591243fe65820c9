"""Caption sets as a table: what is kept, what is counted, what is shown."""

import io

import av
import numpy as np
import pandas as pd
import PIL.Image
import pytest

from vidlm.captions import statistics
from vidlm.captions import table as browse
from vidlm.data.store import caption_sets as captions_lib

A = {
  'c0': (['A red ring falls', 'a red ring'], [-2.0, -1.0], [5, 4]),
  'c1': (['a blue square', 'a blue square'], [-0.5, -0.5], [4, 4]),
  'c2': 'corrupt: no frames',
}
B = {
  'c0': (['the ring (red) falls', 'hired, not red'], [-3.0, -9.0], [5, 4]),
  'c1': (['a red ring', 'a blue square <now>'], [-1.0, -4.0], [4, 5]),
  'c2': (['a red-hot bar', ''], [-6.0, -0.1], [4, 1]),
}


def write_set(folder, clips, files=2):
  """A finished caption set, as the captioner leaves it."""
  folder.mkdir()
  rows = []
  for clip_id, said in clips.items():
    where = {'clip_id': clip_id, 'video': f'{clip_id}.mp4', 'end': 4.0}
    if isinstance(said, str):
      where |= {'status': captions_lib.FAILED, 'error': said}
    else:
      texts, logprobs, lengths = said
      where |= {'captions': texts, 'logprobs': logprobs, 'lengths': lengths}
    rows.append(captions_lib.CaptionRow(**where))
  info = captions_lib.FileInfo(captions_lib.config_hash({}), {}, 'd', 'm')
  entries = []
  for i, part in enumerate(np.array_split(np.arange(len(rows)), files)):
    path = folder / captions_lib.file_name(i, files)
    captions_lib.write_file(path, [rows[j] for j in part], info)
    entries.append(captions_lib.describe_file(path))
  (folder / captions_lib.MANIFEST).write_bytes(
    captions_lib.manifest_bytes({}, entries)
  )
  return folder


@pytest.fixture
def captions(tmp_path):
  sets = {'b': write_set(tmp_path / 'b', B), 'a': write_set(tmp_path / 'a', A)}
  return browse.read(sets)


def texts(captions):
  return list(captions['caption'])


def test_a_row_is_a_caption(captions):
  assert list(captions['model'].drop_duplicates()) == ['b', 'a']
  assert list(captions['sample']) == [0, 1] * 5 + [0]
  first = captions[captions['model'] == 'a'].iloc[0]
  assert (first['clip_id'], first['words'], first['tokens']) == ('c0', 4, 5)
  assert (first['logprob'], first['token_logprob']) == (-2.0, -0.4)
  failed = captions[captions['status'] == 'failed']
  assert list(failed['error']) == ['corrupt: no frames']
  assert texts(failed) == [''] and np.isnan(failed['token_logprob'].iloc[0])
  empty = captions[(captions['caption'] == '') & (captions['status'] == 'ok')]
  assert list(empty['words']) == [0]


def test_one_set_prints_its_captions(tmp_path):
  write_set(tmp_path / 'a', A)
  captions = browse.read_captions(tmp_path / 'a')
  assert captions.columns[0] == 'caption' and captions.index.name == 'clip_id'
  assert list(captions.loc['c0', 'caption']) == A['c0'][0]
  # In the narrowest terminal too.
  with pd.option_context('display.width', 40, 'display.max_columns', 2):
    shown = str(captions)
  for text in (*A['c0'][0], *A['c1'][0]):
    assert text in shown
  with pytest.raises(FileNotFoundError, match='no manifest'):
    browse.read_captions(tmp_path)


def test_read_refuses(tmp_path):
  with pytest.raises(ValueError, match='no caption set'):
    browse.read({})
  unfinished = write_set(tmp_path / 'u', A)
  (unfinished / captions_lib.MANIFEST).unlink()
  with pytest.raises(FileNotFoundError, match='no finished caption set'):
    browse.read({'u': unfinished})
  assert len(browse.read({'u': unfinished}, allow_unfinished=True)) == 5


def test_words_are_whole_words_in_any_case(captions):
  assert texts(browse.select(captions, browse.Filter('RED'))) == [
    'the ring (red) falls',
    'hired, not red',
    'a red ring',
    'a red-hot bar',
    'A red ring falls',
    'a red ring',
  ]
  two = browse.Filter('falls a')
  assert texts(browse.select(captions, two)) == ['A red ring falls']
  assert texts(browse.select(captions, browse.Filter(['(red)']))) == [
    'the ring (red) falls'
  ]


@pytest.mark.parametrize(
  ('conditions', 'count'),
  [
    ({}, 10),
    ({'status': None}, 11),
    ({'status': 'failed'}, 1),
    ({'models': ['a']}, 4),
    ({'min_words': 4}, 3),
    ({'max_words': 0}, 1),
    ({'min_words': 3, 'max_words': 3}, 6),
    ({'min_logprob': -1.0}, 5),
    ({'max_logprob': -4.0}, 3),
    ({'pattern': r'^a (red|blue) \w+$'}, 4),
    ({'pattern': '^A RED', 'words': 'ring', 'models': ['b']}, 1),
  ],
)
def test_conditions(captions, conditions, count):
  assert len(browse.select(captions, browse.Filter(**conditions))) == count


def test_a_bad_pattern_is_refused(captions):
  with pytest.raises(ValueError, match=r"'\(' is no regular expression"):
    browse.select(captions, browse.Filter(pattern='('))


def test_overview(captions):
  table = statistics.overview(captions)
  assert list(table.index) == ['b', 'a']
  a = table.loc['a']
  assert (a['clips'], a['failed'], a['captions']) == (3, 1, 4)
  assert a['words'] == pytest.approx((4 + 3 + 3 + 3) / 4)
  assert a['token_logprob'] == pytest.approx((-0.4 - 0.25 - 0.125 * 2) / 4)
  assert a['vocabulary'] == len({'a', 'red', 'ring', 'falls', 'blue', 'square'})
  assert (a['duplicates'], a['unanimous']) == (1 / 4, 1 / 2)
  assert tuple(table.loc['b', ['duplicates', 'unanimous']]) == (0, 0)


def test_repeated(captions):
  table = statistics.repeated(captions, top=2)
  assert list(table.columns) == ['b', 'a']
  assert table.loc['a red ring'].tolist() == [1, 1]
  assert table.loc['a blue square'].tolist() == [0, 2]


def test_frequent(captions):
  assert statistics.tokens("A red-hot bar's end.") == [
    'a',
    'red-hot',
    "bar's",
    'end',
  ]
  words = statistics.frequent(captions, top=3)
  assert list(words.index) == ['red', 'ring', 'blue']
  # Of a caption that says it twice, once; captions without words count too.
  assert words.loc['red'].tolist() == [3 / 6, 2 / 4]
  pairs = statistics.frequent(captions, n=2, top=99, skip=('a', 'red'))
  assert 'a red' not in pairs.index and 'red ring' in pairs.index
  assert pairs.loc['a blue'].tolist() == [1 / 6, 2 / 4]
  with pytest.raises(ValueError, match='n=0'):
    statistics.frequent(captions, n=0)


class Frames:
  """Every clip but the last has a frame."""

  clip_ids = ('c0', 'c1', 'c2')
  texts = labels = ((),) * 3

  def read(self, clip_ids):
    return iter([() if c == 'c2' else (c.encode(),) for c in clip_ids])


def test_gallery_rows(captions):
  rows = browse.gallery_rows(captions, Frames(), ['c2', 'c1', 'c2'])
  assert [row.title for row in rows] == ['c2', 'c1']
  assert [row.frames for row in rows] == [(), (b'c1',)]
  assert rows[1].texts == {
    'b': ['a red ring', 'a blue square <now>'],
    'a': ['a blue square (x 2)'],
  }
  assert rows[0].texts['a'] == ['(corrupt: no frames)']


def write_film(path, levels, fps=4):
  """A second of each grey level."""
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=fps)
    stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
    for level in np.repeat(levels, fps):
      image = np.full((48, 64, 3), level, np.uint8)
      out.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
    out.mux(stream.encode(None))


def grey(frames):
  return [np.asarray(PIL.Image.open(io.BytesIO(f))).mean() for f in frames]


def test_frames_of_a_captioned_folder(tmp_path):
  """Cut clips begin where their row says, whole ones at the start."""
  films = tmp_path / 'films'
  films.mkdir()
  write_film(films / 'film.mp4', [20, 220])
  captions = browse.read({'a': write_set(tmp_path / 'a', A)})
  captions['video'] = 'film.mp4'
  captions.loc[captions['clip_id'] == 'c1', 'start'] = 1.0
  captions.loc[captions['clip_id'] == 'c2', 'video'] = 'gone.mp4'
  frames = browse.open_frames(captions, str(films))
  assert frames.clip_ids == ['c0', 'c1', 'c2']
  whole, cut, gone = frames.read(frames.clip_ids)
  assert grey(whole) == pytest.approx([20] * 4 + [220] * 4, abs=5)
  assert grey(cut) == pytest.approx([220] * 4, abs=5) and gone == ()
