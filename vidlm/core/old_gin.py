"""gin of earlier versions brought up to date, by the table in `moved`.

Where only modules have moved the text keeps its lines, so that gin's messages
name the right ones; else it is written anew.
"""

import importlib
import inspect
import re
import tokenize
from collections.abc import Callable
from typing import Any

from vidlm.core import gin_text, moved

_IMPORT = re.compile(
  r'^(?:from[ \t]+(?P<parent>[\w.]+)[ \t]+)?import[ \t]+(?P<name>[\w.]+)'
  r'(?P<alias>[ \t]+as[ \t]+\w+)?',
  re.MULTILINE,
)


def current(text: str) -> str:
  """A gin text with today's names.

  Args:
    text: A gin file's, of this version or an earlier one.
  """
  whole: dict[str, str] = {}
  text = _IMPORT.sub(lambda found: _move_import(text, found, whole), text)
  for old, new in whole.items():  # selectors say the whole name
    text = re.sub(rf'(?<![\w.\'"]){re.escape(old)}\b', new, text)
  names = [
    name.rpartition('.')[2] for name in (*moved.OBJECTS, *moved.ARGUMENTS)
  ]
  if not any(re.search(rf'\b{name}\b', text) for name in names):
    return text
  try:
    parsed = gin_text.parse(text)
  except (SyntaxError, tokenize.TokenError):  # gin says where
    return text
  renamed = _rename(parsed)
  return text if renamed == parsed else str(renamed)


def _move_import(text: str, found: re.Match[str], whole: dict[str, str]) -> str:
  """One import statement with today's module, under the same local name.

  Args:
    text: The file's.
    found: The statement.
    whole: Takes {old: new} where the module's whole name is the local one.
  """
  parent, name, alias = found['parent'], found['name'], found['alias'] or ''
  old = f'{parent}.{name}' if parent else name
  new = moved.MODULES.get(old)
  local = alias.split()[-1] if alias else name
  if new is None or _means_package(text, local, old, new):
    return found[0]
  if not parent and not alias:
    whole[old] = new
    return found[0]
  above, _, last = new.rpartition('.')
  statement = f'from {above} import {last}'
  return statement if local == last else f'{statement} as {local}'


def _means_package(text: str, local: str, old: str, new: str) -> bool:
  """Whether a name is meant as a package, which a module of that name became.

  Args:
    text: The file's.
    local: What the file calls it.
    old: The module's name then, the package's now.
    new: The module's name now.
  """
  if not new.startswith(f'{old}.'):
    return False
  inside = {
    name.removeprefix(f'{old}.')
    for name in moved.MODULES.values()
    if name.startswith(f'{old}.')
  }
  used = re.findall(rf'(?<![\w.]){re.escape(local)}\.(\w+)', text)
  return any(name in inside for name in used)


def _rename(text: gin_text.Text) -> gin_text.Text:
  """Functions, classes and arguments by their names of today."""
  imports = dict(text.imports)

  def selector(old: str) -> str:
    new = moved.OBJECTS.get(text.dotted(old))
    if new is None:
      return old
    module, _, last = new.rpartition('.')
    for name, known in imports.items():
      if known == module:
        return f'{name}.{last}'
    imports[module] = module
    return new

  statements = [
    _renamed(x, selector, text) if isinstance(x, gin_text.Binding) else x
    for x in text.statements
  ]
  return gin_text.Text(imports, statements)


def _renamed(
  binding: gin_text.Binding,
  selector: Callable[[str], str],
  text: gin_text.Text,
) -> gin_text.Binding:
  name = moved.dotted(text.dotted(binding.selector))
  argument = moved.ARGUMENTS.get(f'{name}.{binding.argument}')
  return gin_text.Binding(
    binding.scope,
    selector(binding.selector),
    argument or binding.argument,
    _replaced(binding.value, selector),
  )


def _replaced(value: Any, selector: Callable[[str], str]) -> Any:
  """A value with the selectors of its references replaced."""
  if isinstance(value, gin_text.Reference):
    return gin_text.Reference(
      value.kind, value.scope, selector(value.selector), value.call
    )
  if isinstance(value, dict):
    return {k: _replaced(v, selector) for k, v in value.items()}
  if isinstance(value, list | tuple):
    return type(value)(_replaced(v, selector) for v in value)
  return value


def without_gone(text: gin_text.Text) -> gin_text.Text:
  """Leaves out the arguments that are gone and were not missed."""
  return gin_text.Text(
    text.imports,
    [
      x
      for x in text.statements
      if not isinstance(x, gin_text.Binding)
      or moved.ARGUMENTS.get(f'{text.dotted(x.selector)}.{x.argument}') != ''
    ],
  )


def unknown_arguments(text: gin_text.Text) -> list[str]:
  """What a text binds and today's functions and classes don't take.

  Returns:
    A selector with its argument for each; those whose module isn't there too.
  """
  bound = {
    (x.selector, x.argument)
    for x in text.statements
    if isinstance(x, gin_text.Binding) and x.argument
  }
  return sorted(
    f'{selector}.{argument}'
    for selector, argument in bound
    if not _takes(text.dotted(selector), argument)
  )


def _takes(dotted: str, argument: str) -> bool:
  module, _, name = dotted.rpartition('.')
  try:
    found = getattr(importlib.import_module(module), name)
    parameters = inspect.signature(found).parameters
  except Exception:  # whatever is wrong there: nothing of it is needed
    return False
  kinds = [p.kind for p in parameters.values()]
  return argument in parameters or inspect.Parameter.VAR_KEYWORD in kinds
