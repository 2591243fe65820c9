"""What gin was given to read: each file's statements, and where it led.

gin itself keeps values alone. To tell a binding that nothing reads from one
that a later file replaced takes the configuration at the end of each file.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable
from typing import Any

import gin
from gin import config_parser

from vidlm.core import gin_text

MACRO = 'gin.macro'
_OURS = ('vidlm.', 'dualenc.')
# As gin writes a configuration; what is left over stands there as well.
_GENERATED = re.compile(r'^# Parameters for \S+:\n# =+$', re.MULTILINE)
# Scope, complete selector, argument.
Key = tuple[str, str, str]
State = dict[tuple[str, str], dict[str, Any]]


@dataclasses.dataclass(frozen=True)
class Statement:
  """One binding: what it binds, as it was written, in which line."""

  key: Key
  written: str
  line: int


@dataclasses.dataclass(eq=False)
class File:
  """A file that was read, or the bindings of a command line.

  Attributes:
    name: What messages call it.
    text: What it says.
    statements: Its bindings.
    includes: (line, file) of each include.
    state: gin's configuration at its end.
  """

  name: str
  text: str
  statements: list[Statement] = dataclasses.field(default_factory=list)
  includes: list[tuple[int, 'File']] = dataclasses.field(default_factory=list)
  state: State = dataclasses.field(default_factory=dict)

  @property
  def is_generated(self) -> bool:
    """Whether gin wrote it: a run's config.gin."""
    return bool(_GENERATED.search(self.text))

  def keys(self) -> set[Key]:
    """All that it binds, includes and all."""
    own = {statement.key for statement in self.statements}
    return own.union(*(file.keys() for _, file in self.includes))


class Record:
  """Files in the order in which they ended, then the command line's."""

  def __init__(self) -> None:
    self.files: list[File] = []
    self.command_line = File('', '')
    self._open: list[File] = []

  def begin(self, name: str, text: str) -> None:
    """A file is opened."""
    self._open.append(File(name, text))

  def end(self) -> None:
    """The file that was opened last has been read."""
    file = self._open.pop()
    self._read(file)
    self.files.append(file)
    if self._open:
      self._open[-1].includes.append((0, file))  # `_read` knows the line

  def add_command_line(self, bindings: Iterable[str]) -> None:
    """Bindings of the command line were read, after all files."""
    text = '\n'.join(bindings)
    self.command_line = File('', text)
    self._read(self.command_line)

  def binds(self, argument: str, but: Callable[[str], bool]) -> bool:
    """Whether an argument of that name is bound, some files apart."""
    return any(
      statement.key[2] == argument
      for file in (*self.files, self.command_line)
      if not (file.name and but(file.name))
      for statement in file.statements
    )

  def _read(self, file: File) -> None:
    lines = []
    # A context of its own: gin's is gone when a file has been read. All is
    # registered by now, so that nothing is changed by it.
    context = gin.config.ParseContext()
    for found in config_parser.ConfigParser(file.text, gin_text.Delegate()):
      if isinstance(found, config_parser.ImportStatement):
        context.process_import(found)
      elif isinstance(found, config_parser.IncludeStatement):
        lines.append(found.location.line_num)
      elif isinstance(found, config_parser.BindingStatement):
        file.statements.append(_statement(found, context))
    file.includes = [
      (line, inner)
      for line, (_, inner) in zip(lines, file.includes, strict=True)
    ]
    file.state = {key: dict(x) for key, x in gin.config._CONFIG.items()}


def _statement(
  found: config_parser.BindingStatement, context: Any
) -> Statement:
  path = '/'.join(filter(None, (found.scope, found.selector)))
  line = found.location.line_num
  if not found.arg_name:
    return Statement((path, MACRO, 'value'), path, line)
  selector = context.get_configurable(found.selector).selector
  key = found.scope, selector, found.arg_name
  return Statement(key, f'{path}.{found.arg_name}', line)


def is_decorated(selector: str) -> bool:
  """Whether a program may call it by itself: it carries gin's decorator."""
  if selector.startswith(_OURS):  # none does; what was called is known to gin
    return False
  found = gin.config._REGISTRY.get_match(selector)
  return found is not None and found.import_source is None
