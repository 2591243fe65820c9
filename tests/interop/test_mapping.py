"""Tables work in both directions, whatever the shape of a row."""

import numpy as np
import pytest

from vidlm.interop import leaves, mapping


def table(*rows, **options):
  return mapping.Table(tuple(rows), **options)


def both_ways(rows, theirs):
  made = table(*rows)
  held = {n: leaves.from_array(x) for n, x in theirs.items()}
  ours, left = made.to_ours(held, 'here')
  assert left == []
  back = made.to_theirs(ours)
  assert back.keys() == theirs.keys()
  for name, value in theirs.items():
    got = np.asarray(back[name])
    assert back[name].shape == got.shape == value.shape
    np.testing.assert_array_equal(got, value)
  for leaf in ours.values():
    assert leaf.shape == np.asarray(leaf).shape
  return {n: np.asarray(x) for n, x in ours.items()}


def test_one_of_ours_is_one_of_theirs():
  x = np.arange(24.0).reshape(6, 4)
  rows = mapping.rows([('q', 'w', '(k d) c -> c k d')], k=2, c=4, unused=9)
  assert rows[0].sizes == (('c', 4), ('k', 2))
  got = both_ways(rows, {'w': x})['q']
  np.testing.assert_array_equal(got, x.T.reshape(4, 2, 3))


def test_fused_theirs():
  x = np.arange(24.0).reshape(6, 4)
  rows = mapping.rows([(f'o{i}', 'w', 'a b -> b a', (i, 3)) for i in range(3)])
  got = both_ways(rows, {'w': x})
  np.testing.assert_array_equal(got['o1'], x[2:4].T)


def test_stacked_ours():
  """Two of theirs in front of one of ours, as Gemma's gate and up."""
  gate, up = np.arange(6.0).reshape(2, 3), np.arange(6.0, 12).reshape(2, 3)
  row = mapping.Entry('gating', ('gate', 'up'), 'two m c -> two c m')
  got = both_ways([row], {'gate': gate, 'up': up})['gating']
  np.testing.assert_array_equal(got, np.stack([gate.T, up.T]))


def test_scalars():
  rows = mapping.rows([('t', 'scale', '-> 1')])
  assert both_ways(rows, {'scale': np.asarray(2.0)})['t'].tolist() == [2.0]


def test_what_is_not_in_the_table():
  rows = mapping.rows([('a', 'x', 'n -> n')], n=3)
  made = table(*rows, ignored=('buffer',), dropped=('text.*',))
  x = leaves.from_array(np.ones(3))
  ours, left = made.to_ours({'x': x, 'buffer': x, 'text.w': x}, 'here')
  assert list(ours) == ['a'] and left == ['text.w']
  with pytest.raises(ValueError, match='here: 1 of 1 tensors are missing: x'):
    made.to_ours({'buffer': x}, 'here')
  with pytest.raises(ValueError, match='no place in this architecture: y'):
    made.to_ours({'x': x, 'y': x}, 'here')
  with pytest.raises(ValueError, match=r'x has shape \[2\].*n=3'):
    made.to_ours({'x': leaves.from_array(np.ones(2))}, 'here')
  with pytest.raises(ValueError, match='the model lacks a'):
    made.to_theirs({})


def test_nothing_is_read_before_it_is_needed():
  def load():
    raise AssertionError('read')

  held = {'w': leaves.Leaf((6, 4), np.dtype('float32'), load)}
  made = table(*mapping.rows([('q', 'w', '(k d) c -> c k d')], k=2))
  ours, _ = made.to_ours(held, 'here')
  stacked = leaves.join([ours['q'], ours['q']])
  assert stacked.shape == (2, 4, 2, 3) and stacked[0].shape == (4, 2, 3)
  with pytest.raises(AssertionError, match='read'):
    np.asarray(stacked)
