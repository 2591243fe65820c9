"""What is allowed is counted; all else is refused."""

import pytest

from vidlm.evals import ids

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
