"""What is allowed is counted; all else is refused."""

import pytest

from vidlm.core import ids

_ROWS = [('a', '1'), ('b', '2'), ('b', '3'), ('z', '4')]


def test_allowances_are_counted():
  matched = ids.match(
    _ROWS, ['b', 'a', 'c'], allow=['missing', 'extra', 'duplicates']
  )
  assert matched.ids == ['b', 'a', 'c']
  assert matched.texts == ['2', '1', '']
  assert matched.coverage == {
    'n_scored': 3,
    'n_annotated': 3,
    'unavailable_ids': [],
    'n_duplicate': 1,
    'n_missing_scored_as_empty': 1,
    'n_extra_left_out': 1,
  }


@pytest.mark.parametrize(
  'allow, message',
  [
    ((), "1 ids occur more than once .*'b'"),
    (('duplicates',), r"1 are missing \('c'\); 1 are not to be scored \('z'\)"),
    (('duplicates', 'missing'), r"1 are not to be scored \('z'\)"),
    (('duplicates', 'extra'), r"1 are missing \('c'\)"),
    (('anything',), "'anything' is not one of missing"),
    (('missing', 'unavailable'), 'choose one'),
  ],
)
def test_the_rest_is_refused(allow, message):
  with pytest.raises(ValueError, match=message):
    ids.match(_ROWS, ['a', 'b', 'c'], allow=allow)


def test_ids_of_another_set_are_not_all_missing():
  with pytest.raises(ValueError, match='none of the 2 annotated ids'):
    ids.match({'x': '1'}, ['a', 'b'], allow=['missing', 'extra'])


def test_unavailable_ids_are_left_out_and_listed():
  rows = {'a': '1', 'b': '2'}
  matched = ids.match(rows, ['a', 'b', 'c'], allow=['unavailable'])
  assert matched.ids == ['a', 'b']
  assert matched.coverage == {
    'n_scored': 2,
    'n_annotated': 3,
    'unavailable_ids': ['c'],
  }


def test_ids_twice_are_named_a_few_of_them():
  numbers = [str(n) for n in range(8)]
  assert ids.check_distinct(iter(numbers), 'clips') == 8
  with pytest.raises(ValueError) as told:
    ids.check_distinct(numbers * 2, 'clips of train', 'prepare them again')
  assert str(told.value) == (
    "8 ids occur more than once in the clips of train: '0', '1', '2', '3', "
    "'4' and 3 more; prepare them again."
  )


@pytest.mark.parametrize(
  'scored, annotated, unavailable, message',
  [
    (['a', 'a'], ['a'], (), "once in the scored clips: 'a'"),
    (['a'], ['a', 'a'], (), "once in the annotations: 'a'"),
    (['a'], ['a', 'b'], (), r"^scored clips do not .*1 are missing \('b'\)"),
    (['a', 'b'], ['a'], (), r"1 are not to be scored \('b'\)"),
    (['a', 'b'], ['a', 'b'], ['b'], r"1 are not to be scored \('b'\)"),
    (['a'], ['a'], ['b'], "1 unavailable ids are not annotated: 'b'"),
    ([], [], (), 'nothing to score'),
  ],
)
def test_what_is_scored_is_what_is_annotated(
  scored, annotated, unavailable, message
):
  with pytest.raises(ValueError, match=message):
    ids.require_same(scored, annotated, unavailable, 'scored clips')


def test_ids_come_in_the_order_of_the_annotations():
  assert ids.require_same(['a', 'c'], ['c', 'b', 'a'], ['b']) == ['c', 'a']
