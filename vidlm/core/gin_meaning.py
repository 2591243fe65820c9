"""What a gin text asks of a function, as plain values that can be compared.

References are followed, and what nothing binds has its default, so that two
texts that ask for the same mean the same, however their files are cut. Nothing
is called.
"""

import dataclasses
import importlib
import inspect
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vidlm.core import gin_text

# Of a made object: the key of its class or function.
MADE = '@'
_ABSENT = object()


@dataclasses.dataclass(frozen=True)
class Named:
  """A value that a macro stands for."""

  macro: str
  value: Any


@dataclasses.dataclass(frozen=True)
class Difference:
  """One place where two meanings differ.

  Attributes:
    path: From the function on, 'optimizer.b2'.
    label: As a user says it, by the macro: 'OPTIMIZER.b2'.
    old: Value there.
    new: Likewise.
  """

  path: str
  label: str
  old: Any
  new: Any

  def __str__(self) -> str:
    return f'{self.label}: {_short(self.old)} -> {_short(self.new)}'


def of(
  text: gin_text.Text, function: str, symbols: Iterable[str] = ()
) -> dict[str, Any] | None:
  """What a text asks of a function.

  Args:
    text: A whole configuration, without includes.
    function: Module and name, 'vidlm.train.train'.
    symbols: Macros whose name stands for their value.

  Returns:
    {argument: value}; objects are dictionaries, under `MADE` what makes them.
    None if the text binds nothing of the function.
  """
  meaning = _Meaning(text, frozenset(symbols))
  found = canonical(function)
  if not any(selector == found for _, selector in meaning.bound):
    return None
  return meaning.made(found, '')


def differences(
  old: Any, new: Any, path: str = '', label: str = ''
) -> Iterator[Difference]:
  """Where two meanings differ, from the outside in."""
  names = [x.macro for x in (old, new) if isinstance(x, Named)]
  if len(names) == 2 and names[0] == names[1]:
    label = names[0]
  old, new = _bare(old), _bare(new)
  if _is_alike(old, new):
    for name in sorted(old.keys() | new.keys()):
      dot = '.' if path else ''
      yield from differences(
        old.get(name, _ABSENT),
        new.get(name, _ABSENT),
        f'{path}{dot}{name}',
        f'{label}{"." if label else ""}{name}',
      )
  elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
    for i, parts in enumerate(zip(old, new, strict=True)):
      yield from differences(*parts, f'{path}[{i}]', f'{label}[{i}]')
  elif plain(old) != plain(new):
    yield Difference(path, label, plain(old), plain(new))


def plain(value: Any) -> Any:
  """A meaning without the names of its macros."""
  value = _bare(value)
  if isinstance(value, Mapping):
    return {name: plain(part) for name, part in value.items()}
  if isinstance(value, list | tuple):
    return [plain(part) for part in value]
  return value


def _bare(value: Any) -> Any:
  while isinstance(value, Named):
    value = value.value
  return value


def _is_alike(old: Any, new: Any) -> bool:
  """Whether to look into two values, rather than to tell them whole."""
  both = isinstance(old, Mapping) and isinstance(new, Mapping)
  return both and old.get(MADE) == new.get(MADE)


def _short(value: Any) -> str:
  if value is _ABSENT:
    return 'none'
  text = _said(value)
  return text if len(text) <= 60 else f'{text[:57]}...'


def _said(value: Any) -> str:
  if isinstance(value, Mapping) and MADE in value:
    parts = [f'{k}={_said(v)}' for k, v in value.items() if k != MADE]
    return f'{value[MADE].rpartition(".")[2]}({", ".join(parts)})'
  if isinstance(value, list):
    return f'[{", ".join(map(_said, value))}]'
  return repr(value)


class _Meaning:
  """Follows the references of a text."""

  def __init__(self, text: gin_text.Text, symbols: frozenset[str]):
    self._text = text
    self._symbols = symbols
    self._macros: dict[str, Any] = {}
    self.bound: dict[tuple[str, str], dict[str, Any]] = {}
    for binding in text.statements:
      if not isinstance(binding, gin_text.Binding):
        continue
      if not binding.argument:
        self._macros[binding.path] = binding.value
        continue
      key = binding.scope, canonical(text.dotted(binding.selector))
      self.bound.setdefault(key, {})[binding.argument] = binding.value

  def made(self, name: str, scope: str) -> dict[str, Any]:
    """The arguments of a function or class, evaluated in a scope."""
    values = dict(_defaults(name))
    scopes = itertools.accumulate(
      filter(None, scope.split('/')), lambda a, b: f'{a}/{b}'
    )
    for outer in ('', *scopes):
      for argument, value in self.bound.get((outer, name), {}).items():
        values[argument] = self._of(value, scope)
    return {MADE: name, **values}

  def _of(self, value: Any, scope: str) -> Any:
    if isinstance(value, gin_text.Reference):
      return self._follow(value, scope)
    if isinstance(value, dict):
      return {str(k): self._of(part, scope) for k, part in value.items()}
    if isinstance(value, list | tuple):
      return [self._of(part, scope) for part in value]
    return value

  def _follow(self, reference: gin_text.Reference, scope: str) -> Any:
    if reference.kind == '@':
      name = canonical(self._text.dotted(reference.selector))
      return self.made(name, reference.scope or scope)
    macro = reference.path
    if macro in self._symbols or macro not in self._macros:
      return f'%{macro}'
    return Named(macro, self._of(self._macros[macro], macro))


def _object(name: str) -> Any:
  """What a dotted name stands for; None if it is gone."""
  parts = name.split('.')
  for count in range(len(parts) - 1, 0, -1):
    try:
      found: Any = importlib.import_module('.'.join(parts[:count]))
    except ImportError:
      continue
    for part in parts[count:]:
      found = getattr(found, part, None)
    return found
  return None


def canonical(name: str) -> str:
  """The name where an object is defined: it may be imported from elsewhere."""
  found = _object(name)
  try:
    return f'{found.__module__}.{found.__qualname__}'
  except AttributeError:
    return name


def _defaults(name: str) -> Iterator[tuple[str, Any]]:
  """Arguments that need not be bound, with their values."""
  found = _object(name)
  factories: dict[str, Any] = {}
  if dataclasses.is_dataclass(found):
    factories = {
      field.name: field.default_factory
      for field in dataclasses.fields(found)
      if field.default_factory is not dataclasses.MISSING
    }
  try:
    parameters = inspect.signature(found).parameters.values()
  except (TypeError, ValueError):  # gone, or not of Python
    return
  for parameter in parameters:
    if parameter.name in _places(found):
      continue
    if parameter.name in factories:
      yield parameter.name, _of_object(factories[parameter.name]())
    elif parameter.default is not inspect.Parameter.empty:
      yield parameter.name, _of_object(parameter.default)


def _places(kind: Any) -> tuple[str, ...]:
  """Fields that say where a linen module is, not what it is."""
  is_module = hasattr(kind, 'init') and hasattr(kind, 'apply')
  return ('parent', 'name') if is_module else ()


def _of_object(value: Any) -> Any:
  """A default as it would be read of a text."""
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    name = f'{type(value).__module__}.{type(value).__qualname__}'
    fields = {
      field.name: _of_object(getattr(value, field.name))
      for field in dataclasses.fields(value)
      if field.name not in _places(type(value))
    }
    return {MADE: name, **fields}
  if isinstance(value, Mapping):
    return {str(k): _of_object(part) for k, part in value.items()}
  if isinstance(value, list | tuple | frozenset | set):
    parts = sorted(value) if isinstance(value, frozenset | set) else value
    return [_of_object(part) for part in parts]
  if value is None or isinstance(value, bool | int | float | str):
    return value
  return getattr(value, '__qualname__', type(value).__qualname__)
