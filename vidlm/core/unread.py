"""Bindings that nothing reads: what was asked for and would not happen."""

import difflib
from collections.abc import (
  Callable,
  Collection,
  Iterable,
  Iterator,
  Sequence,
)
from typing import Any

import gin
from absl import logging

from vidlm.core import gin_meaning, gin_record

_SHOWN = 5
# So close are two names of which either may be meant.
_TIE = 0.05


class _Reads:
  """What a function, called with a configuration, reads of it.

  Attributes:
    keys: (scope, selector, argument) of what it reads.
    called: (scope, selector) of what is called.
    missing: Macros that are read and that nobody defines.
  """

  def __init__(self, state: gin_record.State, roots: Iterable[tuple[str, str]]):
    self._state = state
    self.keys: set[gin_record.Key] = set()
    self.called: set[tuple[str, str]] = set()
    self.missing: set[str] = set()
    waiting = list(roots)
    while waiting:
      call = waiting.pop()
      if call not in self.called:
        self.called.add(call)
        waiting += self._follow(*call)

  def _follow(self, scope: str, selector: str) -> Iterator[tuple[str, str]]:
    """Takes note of a call's arguments; what they refer to is called next."""
    bound: dict[str, tuple[str, Any]] = {}
    parts = scope.split('/') if scope else []
    for count in range(len(parts) + 1):  # the narrowest scope wins
      outer = '/'.join(parts[:count])
      for argument, value in self._state.get((outer, selector), {}).items():
        bound[argument] = outer, value
    for argument, (outer, value) in bound.items():
      self.keys.add((outer, selector, argument))
      for reference in gin.config.iterate_references([value]):
        inner = '/'.join(reference.scopes) or scope
        called = reference.configurable.selector
        if called == gin_record.MACRO and not self._state.get((inner, called)):
          self.missing.add(inner)
        yield inner, called

  @property
  def macros(self) -> set[str]:
    """Those that are read."""
    return {x for x, selector, _ in self.keys if selector == gin_record.MACRO}

  def scopes(self, selector: str) -> set[str]:
    """In which scopes something is called."""
    return {scope for scope, name in self.called if name == selector}


def check(
  record: gin_record.Record,
  functions: Collection[str],
  macros: Sequence[str] = (),
  whole: bool = True,
  is_ours: Callable[[str], bool] = lambda name: False,
) -> None:
  """Refuses bindings that nothing reads.

  What a file binds counts as read if it was so at the end of that file or
  later: another file may take its place. What gin can't tell is a warning: a
  function with gin's decorator may be called by any program, and a run's
  config.gin holds what was left over.

  Args:
    record: What gin was given.
    functions: What is called with it, by module and name.
    macros: Those that the program reads besides.
    whole: Whether a macro that nobody defines is refused too.
    is_ours: Whether a file, by its name, is one of those that come with us; if
      it was included, its left-over bindings are nobody's mistake.

  Raises:
    ValueError: If there is one, with the nearest name that is read.
  """
  state = {key: dict(x) for key, x in gin.config._CONFIG.items()}
  made = {gin_meaning.canonical(name) for name in functions} if state else set()
  called = {name for _, name in state if _dotted(name) in made}
  roots = [
    *(('', name) for name in sorted(called)),
    *((name, gin_record.MACRO) for name in macros),
  ]
  reads = _Reads(state, roots)
  faults = []
  defined = reads.macros - reads.missing
  defined |= {scope for scope, name in state if name == gin_record.MACRO}
  if whole:
    faults = [
      f'%{name}: no gin file defines this macro'
      f'{_hint(name, defined, "define it")}'
      for name in sorted(reads.missing)
    ]
  later: list[_Reads] = []
  files = [record.command_line, *reversed(record.files)]
  included = [inner for file in files for _, inner in file.includes]
  for file in files:
    if file is not record.command_line:
      kept = [(name, gin_record.MACRO) for name in reads.macros]
      later.append(_Reads(file.state, [*roots, *kept]))
    if file not in included or not is_ours(file.name):
      _warn_of_order(file)
      faults += _faults(file, reads, later)
  if faults:
    more = len(faults) - _SHOWN
    raise ValueError(
      '; '.join(faults[:_SHOWN]) + (f'; and {more} more' if more > 0 else '')
    )


def _faults(
  file: gin_record.File, reads: _Reads, later: Sequence[_Reads]
) -> list[str]:
  faults = []
  for statement in file.statements:
    scope, selector, _ = statement.key
    if statement.key in reads.keys or any(
      statement.key in other.keys for other in later
    ):
      continue
    where = f'{file.name}:{statement.line}: ' if file.name else '--gin.'
    said = f'{where}{statement.written}: {_why(statement, reads)}'
    if file.is_generated:
      near = difflib.get_close_matches(scope, reads.macros, 1, 0.8)
      if selector == gin_record.MACRO and near:
        logging.warning('%s', said)
    elif selector != gin_record.MACRO and gin_record.is_decorated(selector):
      logging.warning('%s, unless the program calls it by itself', said)
    elif said not in faults:
      faults.append(said)
  return faults


def _why(statement: gin_record.Statement, reads: _Reads) -> str:
  """Why nothing reads a binding, and what was meant perhaps."""
  scope, selector, argument = statement.key
  if selector == gin_record.MACRO:
    return f'nothing reads this macro{_hint(scope, reads.macros)}'
  name = _name(selector)
  scopes = reads.scopes(selector)
  if not scopes:
    others = {_name(x) for _, x in reads.called if x != gin_record.MACRO}
    return f'nothing here uses {name}{_hint(name, others)}'
  inside = [x for x in scopes if f'{x}/'.startswith(f'{scope}/') or not scope]
  if inside:
    narrow = sorted(
      f'{x}/{name}.{argument}'
      for x, other, what in reads.keys
      if (other, what) == (selector, argument)
    )
    return f'{", ".join(narrow[:3])} is bound too, and wins'
  near = difflib.get_close_matches(scope, scopes, 1, 0.0)
  meant = '/'.join(filter(None, (near[0] if near else '', name)))
  return f'nothing uses {name} in scope {scope}; did you mean {meant}?'


def _dotted(selector: str) -> str:
  """Module and name of what a selector stands for, where it is defined."""
  found = gin.config._REGISTRY.get_match(selector)
  made = found.wrapped if found is not None else None
  return f'{made.__module__}.{made.__qualname__}' if made is not None else ''


def _name(selector: str) -> str:
  return '.'.join(selector.split('.')[-2:])


def _hint(
  name: str, known: Iterable[str], otherwise: str = 'take it out'
) -> str:
  by_case = {other.upper(): other for other in sorted(known)}
  near = difflib.get_close_matches(name.upper(), by_case, n=2)
  if len(near) == 2:
    first, second = (_alike(name.upper(), other) for other in near)
    near = near if first - second < _TIE else near[:1]
  if not near:
    return f'; {otherwise}'
  return f'; did you mean {" or ".join(by_case[other] for other in near)}?'


def _alike(a: str, b: str) -> float:
  return difflib.SequenceMatcher(None, b, a).ratio()


def _warn_of_order(file: gin_record.File) -> None:
  """A binding before an include that binds the same is undone by it."""
  last = {statement.key: statement for statement in file.statements}
  for line, inner in file.includes:
    keys = inner.keys()
    for key, statement in last.items():
      if statement.line < line and key in keys:
        logging.warning(
          '%s:%d: %s is undone by the include in line %d; put includes first',
          file.name,
          statement.line,
          statement.written,
          line,
        )
