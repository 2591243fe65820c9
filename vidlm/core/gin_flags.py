"""`--gin.NAME=VALUE`: what is wrong with one, and which file would help.

gin knows on the command line only what a file has named: a function that none
mentions can't be bound there, and a macro that none defines is a mistake.
"""

import difflib
import functools
import importlib
import pathlib
import re
import tokenize
from collections.abc import Iterator, Sequence
from typing import Any

import gin

from vidlm.core import gin_text

# What a macro of a recipe may be replaced by, from the narrowest on.
# INITIAL_CHECKPOINT_PATH is a path, or one for every part.
_KINDS = {
  bool: 'True or False',
  int | float: 'a number',
  list | tuple: 'a list',
  str | dict: 'a text in quotes or a dictionary',
}
_LITERALS = (bool, int, float, list, tuple, str, dict)


def check_kind(name: str, recipe: Any, given: Any) -> None:
  """Raises ValueError if a macro was given a literal of another kind."""
  for kind, wanted in _KINDS.items():
    # None stands for no value at all, a reference for a value of any kind.
    if isinstance(recipe, kind) and isinstance(given, _LITERALS):
      if not isinstance(given, kind):
        raise ValueError(
          f'--gin.{name}={given!r}: need {wanted}, such as {recipe!r}'
        )
      return


def malformed(bindings: Sequence[str]) -> str:
  """The first binding that is no NAME=VALUE."""
  for binding in bindings:
    try:
      gin.config.parse_value(binding.partition('=')[2])
    except (SyntaxError, tokenize.TokenError):
      return binding
    except Exception:  # well-formed; what it refers to is another matter
      continue
  return bindings[0]


def hint_of_macro(
  name: str, known: Sequence[str], roots: Sequence[pathlib.Path]
) -> str:
  """What to do about a macro that no file defines.

  Args:
    name: The macro.
    known: Those that are defined.
    roots: Folders of gin files to look into.
  """
  near = difflib.get_close_matches(name.upper(), known, n=1)
  if near:
    return f'; did you mean {near[0]}?'
  for path, text in _texts(tuple(roots)):
    if any(_binds(x, name) for x in text.statements):
      return f'; {path} does: --gin_file={path}'
  return ''


def unnamed(error: ValueError, roots: Sequence[pathlib.Path]) -> ValueError:
  """An error of gin's, with the file to add where it misses a name."""
  found = re.search(r"No configurable matching.*?'@?([\w./]+)", str(error))
  if not found:
    return error
  name = found[1].rpartition('/')[2]
  advice = _advice(name, roots)
  return ValueError(f'--gin: no gin file that was given names {name}; {advice}')


def _advice(name: str, roots: Sequence[pathlib.Path]) -> str:
  """Which file names a function, or how one of the user's own would."""
  for path, text in _texts(tuple(roots)):
    if any(_same(x, name) for x in _selectors(text)):
      own = [
        x.path
        for x in text.statements
        if isinstance(x, gin_text.Binding) and not x.argument
      ]
      binds = f', and binds {", ".join(own[:3])}' if own else ''
      return f'add --gin_file={path}, which does{binds}'
  local, _, attribute = name.rpartition('.')
  for module in _modules(local.rpartition('.')[2], tuple(roots)):
    made = importlib.import_module(module)
    if callable(getattr(made, attribute, None)):
      parent, _, last = module.rpartition('.')
      return (
        'add a --gin_file of your own that says `from __gin__ import '
        f'dynamic_registration`, `from {parent} import {last}` and binds '
        f'something to @{last}.{attribute}() or of it'
      )
    public = [
      x for x in vars(made) if callable(getattr(made, x)) and x[0] != '_'
    ]
    by_case = {x.lower(): x for x in public}
    near = difflib.get_close_matches(attribute.lower(), by_case, n=1)
    if near:
      right = f'{local}.{by_case[near[0]]}'
      return f'did you mean {right}? If so, {_advice(right, roots)}'
  return 'write it as a gin file does, such as optim.AdamW, and add that file'


def _is_macro(statement: Any) -> bool:
  return isinstance(statement, gin_text.Binding) and not statement.argument


def _binds(statement: Any, name: str) -> bool:
  return _is_macro(statement) and statement.path == name


def _same(selector: str, name: str) -> bool:
  """Whether one is the other, with less of its module."""
  return f'.{selector}'.endswith(f'.{name}')


def _selectors(text: gin_text.Text) -> Iterator[str]:
  for x in text.statements:
    if isinstance(x, gin_text.Binding):
      if x.argument:
        yield x.selector
      for reference in gin_text.references(x.value):
        if reference.kind == '@':
          yield reference.selector


def _modules(local: str, roots: tuple[pathlib.Path, ...]) -> list[str]:
  """What a local name such as `optim` stands for in those files."""
  found = {
    text.imports[local]: None
    for _, text in _texts(roots)
    if local in text.imports
  }
  return list(found)


@functools.cache
def _texts(
  roots: tuple[pathlib.Path, ...],
) -> list[tuple[str, gin_text.Text]]:
  """(name, text) of the gin files there, those that bind least first."""
  found = []
  for root in roots:
    for path in sorted(root.rglob('*.gin')):
      name = f'{root.name}/{path.relative_to(root)}'
      found.append((name, gin_text.parse(path.read_text(encoding='utf-8'))))
  return sorted(found, key=lambda one: len(one[1].statements))
