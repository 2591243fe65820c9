"""Parameter trees by slash-joined names, and ordered rules over the names.

A name such as `img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel` is how
configurations, logs and checkpoints speak about a leaf.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

X = TypeVar('X')


def flatten(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Flattens nested mappings to slash-joined names, sorted.

  Args:
    tree: Nested dicts (or Flax's FrozenDict); anything else is a leaf. Empty
      dicts disappear.
    prefix: Put before every name, with a slash.

  Returns:
    {name: leaf}, in sorted order, so that it doesn't depend on insertion.
  """
  flat = {}
  for key, value in tree.items():
    name = f'{prefix}/{key}' if prefix else str(key)
    if isinstance(value, Mapping):
      flat.update(flatten(value, name))
    else:
      flat[name] = value
  return dict(sorted(flat.items()))


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Builds the nested dicts back; the inverse of `flatten`.

  Args:
    flat: {slash-joined name: leaf}.

  Returns:
    Nested dicts.

  Raises:
    ValueError: If one name is a leaf and also a folder of another.
  """
  tree: dict[str, Any] = {}
  folders = {''}
  for name in flat:
    parts = name.split('/')
    folders.update('/'.join(parts[:i]) for i in range(1, len(parts)))
  for name, leaf in flat.items():
    if name in folders:
      raise ValueError(
        f'tree: {name!r} is a leaf and also holds other leaves; rename one.'
      )
    *parents, last = name.split('/')
    node = tree
    for parent in parents:
      node = node.setdefault(parent, {})
    node[last] = leaf
  return tree


def match_rules(
  rules: Sequence[tuple[str, X]],
  names: Iterable[str],
  *,
  what: str = 'rules',
) -> dict[str, X]:
  """Gives every name the value of the first rule that matches it in full.

  As big_vision's schedules: ordered, `re.fullmatch`, and total. A name without
  a rule and a rule without a name are both mistakes worth stopping for.

  Args:
    rules: (pattern, value) pairs.
    names: Slash-joined names.
    what: What to call the rules in errors, such as 'SCHEDULE'.

  Returns:
    {name: value}, in the order of `names`.

  Raises:
    ValueError: A name is covered by no pattern, or a pattern decides no name.
  """
  names = list(names)
  compiled = [(_compile(pattern, what), value) for pattern, value in rules]
  used: set[int] = set()
  matched: dict[str, X] = {}
  for name in names:
    for i, (pattern, value) in enumerate(compiled):
      if pattern.fullmatch(name):
        used.add(i)
        matched[name] = value
        break
  uncovered = [name for name in names if name not in matched]
  unused = [pattern for i, (pattern, _) in enumerate(rules) if i not in used]
  if uncovered or unused:
    raise ValueError(_coverage_error(what, rules, names, uncovered, unused))
  return matched


def _compile(pattern: str, what: str) -> re.Pattern[str]:
  try:
    return re.compile(pattern)
  except re.error as e:
    raise ValueError(f'{what}: {pattern!r} is no pattern: {e}.') from e


def _coverage_error(
  what: str,
  rules: Sequence[tuple[str, Any]],
  names: Sequence[str],
  uncovered: Sequence[str],
  unused: Sequence[str],
) -> str:
  parts = []
  if uncovered:
    parts.append(
      f'no pattern covers {_some(uncovered)}; add one'
      f' (patterns: {[p for p, _ in rules]})'
    )
  for pattern in unused:
    hidden = sum(bool(re.fullmatch(pattern, name)) for name in names)
    if hidden:
      why = f'earlier patterns already took its {hidden} parameters'
    else:
      why = f'it matches no parameter{_suggest(pattern, names)}'
    parts.append(f'pattern {pattern!r} is unused: {why}')
  return f'{what}: ' + '; '.join(parts) + '.'


def _suggest(pattern: str, names: Sequence[str]) -> str:
  """Names what the pattern was probably meant to match."""
  candidates = set(names)
  for name in names:  # Folders as well: most patterns end in /.*.
    parts = name.split('/')
    candidates.update('/'.join(parts[:i]) + '/.*' for i in range(1, len(parts)))
  close = difflib.get_close_matches(pattern, sorted(candidates), 1, 0.4)
  return f'; did you mean {close[0]!r}?' if close else ''


def _some(names: Sequence[str], count: int = 5) -> str:
  shown = ', '.join(repr(name) for name in names[:count])
  more = len(names) - count
  return shown + (f' and {more} more' if more > 0 else '')
