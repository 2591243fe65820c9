"""Names of leaves and rules over them."""

import flax
import pytest

from vidlm.core import trees

NAMES = ['img/head/kernel', 'img/pos_embedding', 'llm/decoder/kernel']


def test_flatten_and_back():
  tree = {'b': {'y': 2, 'x': {'z': 1}}, 'a': 0, 'empty': {}}
  flat = trees.flatten(tree)
  assert flat == {'a': 0, 'b/x/z': 1, 'b/y': 2}
  assert list(flat) == sorted(flat)
  assert trees.unflatten(flat) == {'a': 0, 'b': {'x': {'z': 1}, 'y': 2}}
  assert trees.flatten(flax.core.freeze(tree)) == flat


def test_unflatten_refuses_a_leaf_that_is_a_folder():
  with pytest.raises(ValueError, match="'a' is a leaf and also holds"):
    trees.unflatten({'a/b': 1, 'a': 2})


def test_first_full_match_wins():
  rules = [('img/head/.*', 1), ('img/.*', 2), ('.*', 3)]
  assert trees.match_rules(rules, NAMES) == dict(
    zip(NAMES, (1, 2, 3), strict=True)
  )
  with pytest.raises(ValueError, match='covers'):  # no partial match
    trees.match_rules([('img', 1), ('llm/.*', 2)], NAMES)


def test_uncovered_and_unused_are_named_and_corrected():
  with pytest.raises(ValueError) as error:
    trees.match_rules([('igm/.*', 1), ('llm/.*', 2)], NAMES, what='SCHEDULE')
  message = str(error.value)
  assert message.startswith('SCHEDULE: ')
  assert "no pattern covers 'img/head/kernel', 'img/pos_embedding'" in message
  assert "'igm/.*' is unused" in message
  assert "did you mean 'img/.*'" in message
  assert '\n' not in message


def test_a_pattern_behind_a_wider_one_says_so():
  with pytest.raises(ValueError, match='already took its 1 parameters'):
    trees.match_rules([('.*', 1), ('llm/.*', 2)], NAMES)


def test_a_broken_pattern_says_so():
  with pytest.raises(ValueError, match=r"lr_mults: '\(' is no pattern"):
    trees.match_rules([('(', 1)], NAMES, what='lr_mults')
