"""VATEX, and the list of ids behind its 1.5K test."""

import pytest

from vidlm.data.sets import build, rows, vatex

CLIPS = [
  {'videoID': '5-x_skb-BgI_000055_000065', 'enCap': [' a ', 'b'], 'chCap': []},
  {'videoID': '__________-_000000_000010', 'enCap': ['c']},
]


def test_clips(write, by_id, names) -> None:
  found = by_id(vatex.read([write('vatex_validation_v1.0.json', CLIPS)]))
  row = found['5-x_skb-BgI_000055_000065']
  assert (row.texts, row.source, row.split) == (
    ('a', 'b'),
    '5-x_skb-BgI',
    'val',
  )
  assert names(row)[0] == row.clip_id
  assert rows.VideoName('5-x_skb-BgI', 55.0, 65.0) in row.names
  # `_` belongs to ids: the span is what stands last.
  assert found['__________-_000000_000010'].source == '__________-'


def test_split_names(write) -> None:
  def split(name: str) -> str:
    return next(iter(vatex.read([write(name, CLIPS)]))).split

  assert split('vatex_training_v1.0.json') == 'train'
  assert split('vatex_public_test_english_v1.1.json') == 'test'
  assert split('vatex_private_test_without_annotations.json') == 'private_test'


def test_a_list_makes_the_test_split(write, make_videos) -> None:
  folder = make_videos('5-x_skb-BgI_000055_000065.mp4')
  ids = write('test_list.txt', '5-x_skb-BgI_000055_000065\n')
  path = write('vatex_validation_v1.0.json', CLIPS)
  entries, kept, _ = build.collect(
    'vatex', folder, [path], build.Selection(ids=ids, split='test')
  )
  assert [(r.clip_id[:5], r.split) for r in kept] == [('5-x_s', 'test')]
  assert entries[0].path and entries[0].start is None  # cut already


def test_whole_videos_are_cut(write, make_videos) -> None:
  folder = make_videos('v_5-x_skb-BgI.mp4')
  path = write('vatex_validation_v1.0.json', CLIPS)
  entries, _, _ = build.collect('vatex', folder, [path])
  assert (entries[0].start, entries[0].end) == (55.0, 65.0)
  assert entries[1].reason == 'not_found'


def test_other_ids_are_refused(write) -> None:
  path = write('a.json', [{'videoID': 'video7'}])
  with pytest.raises(ValueError, match="clip 0: 'video7' is not <id>_<start>"):
    list(vatex.read([path]))
