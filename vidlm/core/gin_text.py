"""gin as text, before gin reads it: what it binds, what a model needs of it.

Nothing that a text names is imported here. Comments are lost; `old_gin` brings
texts up to date and keeps them.
"""

import dataclasses
import pprint
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gin import config_parser


@dataclasses.dataclass(frozen=True)
class Reference:
  """A macro, a function or class, or the result of calling it.

  Attributes:
    kind: '%' for a macro, or else '@'.
    scope: 'a/b', or ''.
    selector: The name.
    call: '()' for the result.
  """

  kind: str
  scope: str
  selector: str
  call: str = ''

  @property
  def path(self) -> str:
    """Scope and selector."""
    return '/'.join(filter(None, (self.scope, self.selector)))

  def __repr__(self) -> str:
    return f'{self.kind}{self.path}{self.call}'


@dataclasses.dataclass(frozen=True)
class Binding:
  """One `scope/selector.argument = value`; of a macro without argument."""

  scope: str
  selector: str
  argument: str
  value: Any

  @property
  def path(self) -> str:
    """Scope and selector."""
    return '/'.join(filter(None, (self.scope, self.selector)))

  def __str__(self) -> str:
    name = f'{self.path}.{self.argument}' if self.argument else self.path
    value = pprint.pformat(self.value, width=76, sort_dicts=False)
    if '\n' not in value and len(name) + len(value) <= 77:
      return f'{name} = {value}'
    return '\n'.join([f'{name} = \\', *(f'    {x}' for x in value.split('\n'))])


@dataclasses.dataclass(frozen=True)
class Include:
  """One `include 'file'`."""

  file: str

  def __str__(self) -> str:
    return f'include {self.file!r}'


@dataclasses.dataclass(frozen=True)
class Text:
  """The statements of a file.

  Attributes:
    imports: {what selectors begin with: module}.
    statements: All others, in order.
  """

  imports: dict[str, str]
  statements: Sequence[Binding | Include]

  def dotted(self, selector: str) -> str:
    """The module and name that a selector stands for."""
    for name, module in self.imports.items():
      if selector.startswith(f'{name}.'):
        return module + selector[len(name) :]
    return selector

  def __str__(self) -> str:
    lines = ['from __gin__ import dynamic_registration']
    for name, module in sorted(self.imports.items(), key=lambda x: x[1]):
      parent, _, last = module.rpartition('.')
      if name == module:
        lines.append(f'import {module}')
      elif parent:
        alias = '' if name == last else f' as {name}'
        lines.append(f'from {parent} import {last}{alias}')
      else:
        lines.append(f'import {module} as {name}')
    return '\n'.join([*lines, '', *map(str, self.statements), ''])


class Delegate(config_parser.ParserDelegate):
  """Keeps references as they are written."""

  def configurable_reference(
    self, scoped_configurable_name: str, evaluate: bool
  ) -> Reference:
    scope, name = config_parser.parse_scoped_selector(scoped_configurable_name)
    return Reference('@', scope, name, '()' if evaluate else '')

  def macro(self, macro_name: str) -> Reference:
    return Reference('%', *config_parser.parse_scoped_selector(macro_name))


def parse(text: str) -> Text:
  """Parses a text.

  Raises:
    SyntaxError: If it is no gin.
  """
  imports: dict[str, str] = {}
  statements: list[Binding | Include] = []
  for found in config_parser.ConfigParser(text, Delegate()):
    if isinstance(found, config_parser.ImportStatement):
      if found.module != '__gin__.dynamic_registration':
        whole = not (found.is_from or found.alias)
        imports[found.module if whole else found.bound_name()] = found.module
    elif isinstance(found, config_parser.IncludeStatement):
      statements.append(Include(found.filename))
    elif isinstance(found, config_parser.BindingStatement):
      statements.append(Binding(*found[:4]))
  return Text(imports, statements)


def references(value: Any) -> Iterator[Reference]:
  """All references in a value."""
  if isinstance(value, Reference):
    yield value
  elif isinstance(value, dict):
    for pair in value.items():
      yield from references(pair)
  elif isinstance(value, list | tuple):
    for inner in value:
      yield from references(inner)


def part(text: Text, macros: Iterable[str]) -> Text:
  """What some macros need: all that they reach, and nothing else.

  Args:
    text: A whole configuration, without includes.
    macros: Names to begin at; those that it doesn't define are left out.
  """
  waiting = [('', Reference('%', '', name)) for name in macros]
  reached = set()
  kept = set()
  while waiting:
    scope, reference = waiting.pop()
    # As in gin, a scope replaces the one around it, and a macro is one.
    scope = (
      reference.path if reference.kind == '%' else reference.scope or scope
    )
    if (scope, reference.kind, reference.selector) in reached:
      continue
    reached.add((scope, reference.kind, reference.selector))
    for index, binding in enumerate(text.statements):
      if isinstance(binding, Binding) and _reads(reference, scope, binding):
        kept.add(index)
        waiting += [(scope, inner) for inner in references(binding.value)]
  selectors = {selector for _, _, selector in reached}
  return Text(
    {
      name: module
      for name, module in text.imports.items()
      if any(selector.startswith(f'{name}.') for selector in selectors)
    },
    [text.statements[index] for index in sorted(kept)],
  )


def _reads(reference: Reference, scope: str, binding: Binding) -> bool:
  """Whether a reference, evaluated in a scope, reads a binding."""
  if reference.kind == '%':
    return not binding.argument and binding.path == reference.path
  if not binding.argument or binding.selector != reference.selector:
    return False
  return not binding.scope or f'{scope}/'.startswith(f'{binding.scope}/')
