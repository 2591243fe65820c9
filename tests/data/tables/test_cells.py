"""Lists in cells, names of columns, names that are another's."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlm.data.tables import aliases, cells, columns

_TEXT = st.text(st.characters(blacklist_categories=['Cs']), max_size=8)


@given(st.lists(_TEXT, min_size=1, max_size=4))
def test_any_list_written_out(items: list[str]):
  assert cells.unlisted(json.dumps(items)) == items
  assert cells.unlisted(json.dumps(items, ensure_ascii=False)) == items
  assert cells.unlisted(repr(items)) == items
  assert cells.unlisted(f' {items!r}\n') == items
  if all(item.isalnum() for item in items):
    assert cells.unlisted(str(np.array(items, dtype=object))) == items


@pytest.mark.parametrize(
  ('cell', 'expected'),
  [
    ("[u'a', u'b']", ['a', 'b']),
    ("['a', None, nan]", ['a']),
    ('["a", null]', ['a']),
    ('[]', []),
    ("['a'\n 'b c']", ['a', 'b c']),
    ("['it''s']", "['it''s']"),
    ('[sic] a "dog"', '[sic] a "dog"'),
    ('[music]', '[music]'),
    ("['t was night]", "['t was night]"),
    ('[1, 2]', '[1, 2]'),
    ('a', 'a'),
    (['a'], ['a']),
    (None, None),
    ('[' * 9999 + ']', '[' * 9999 + ']'),
  ],
)
def test_lists_and_texts(cell: object, expected: object):
  assert cells.unlisted(cell) == expected


def test_texts():
  assert cells.texts(' a ') == ('a',)
  assert cells.texts("[' a', '']") == ('a',)
  assert cells.texts(float('nan')) == cells.texts(None) == ()
  assert cells.texts(b'caf\xc3\xa9') == ('café',)
  with pytest.raises(ValueError, match='neither a text nor a list'):
    cells.texts([['a']])
  with pytest.raises(ValueError, match='bytes, not a text'):
    cells.texts(b'\xff\xd8\xff')


def test_columns_are_known_or_asked_for():
  rows = [{'Predicted Answer': 'a', 'answer': 'b', 'x': ''}]
  found = columns.find(rows[0], (*columns.PREDICTED, *columns.ANSWERS))
  assert found == ['Predicted Answer', 'answer']
  with pytest.raises(ValueError) as caught:
    columns.only(rows, found, 'the predictions', '--prediction_column')
  for name in ("'Predicted Answer'", "'answer'", '--prediction_column='):
    assert name in str(caught.value)
  assert columns.only(rows * 2, found[:1], 'x', '--f') == found[:1]
  same = [{'text': 'a', 'caption': 'a'}]
  assert columns.only(same, list(same[0]), 'x', '--f') == ['text', 'caption']
  assert columns.named(rows, 'predicted_answer', '--f') == 'Predicted Answer'
  with pytest.raises(ValueError, match=r"no column 'y'; it has .*--f=NAME"):
    columns.named(rows, 'y', '--f')


def test_a_second_column_of_the_name_could_be_meant():
  rows = [{'caption': 'a', 'caption (2)': 'b'}]
  found = columns.find(rows[0], columns.CAPTIONS)
  assert found == ['caption', 'caption (2)']


@pytest.mark.parametrize(
  ('found', 'wanted', 'expected'),
  [
    (['clip.MP4'], ['clip.mp4', 'b.mp4'], {'clip.MP4': 'clip.mp4'}),
    (['Clip'], ['clip.mp4'], {'Clip': 'clip.mp4'}),
    (['clip.mp4 '], ['clip'], {'clip.mp4 ': 'clip'}),
    (['cafe\u0301.mp4'], ['caf\xe9.mp4'], {'cafe\u0301.mp4': 'caf\xe9.mp4'}),
    (['clip.mp4'], ['clip.mp4', 'CLIP.mp4'], {}),
    # Two could be meant, two mean one, one is there itself, another suffix.
    (['Clip.mp4'], ['clip.mp4', 'CLIP.mp4'], {}),
    (['clip'], ['clip.mp4', 'clip.mkv'], {}),
    (['Clip.mp4', 'CLIP.mp4'], ['clip.mp4'], {}),
    (['clip.mp4', 'CLIP.mp4'], ['clip.mp4'], {}),
    (['clip.avi'], ['clip.mp4'], {}),
    (['other'], ['clip.mp4'], {}),
  ],
)
def test_aliases(found, wanted, expected):
  assert aliases.match(found, wanted) == expected


@given(st.sets(_TEXT, max_size=8), st.sets(_TEXT, max_size=8))
def test_no_name_stands_for_two(found: set[str], wanted: set[str]):
  renamed = aliases.match(found, wanted)
  assert not renamed.keys() & wanted and renamed.keys() <= found
  targets = [*renamed.values(), *(found & wanted)]
  assert len(set(targets)) == len(targets) and set(targets) <= wanted
