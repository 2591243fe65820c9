"""gin files as gin gets to read them: up to date, with errors of one line."""

import contextlib
import io
import os
import pathlib
import tokenize
from collections.abc import Iterator
from typing import Any

import gin

from vidlm.core import gin_record, moved, old_gin


class NamedText(io.StringIO):
  """A text that gin's messages call by a name."""

  def __init__(self, text: str, name: str):
    super().__init__(old_gin.current(text))
    self.name = name


class _RecordedText(NamedText):
  """A text that tells a record when gin begins and ends to read it."""

  def __init__(self, path: str, record: gin_record.Record):
    super().__init__(pathlib.Path(path).read_text(encoding='utf-8'), path)
    self._record = record

  def __enter__(self) -> '_RecordedText':
    self._record.begin(self.name, self.getvalue())
    return self

  def __exit__(self, kind: Any, *_: Any) -> None:
    if kind is None:
      self._record.end()


@contextlib.contextmanager
def reading(
  name: str, record: gin_record.Record | None = None
) -> Iterator[None]:
  """Lets gin read files as of today; its errors are told in one line.

  Args:
    name: What messages call it.
    record: Takes what was read.
  """
  record = record or gin_record.Record()
  # gin's own second reader takes folders for Python packages. With a checkout
  # on sys.path `configs` is one, of no file, and breaks it.
  gin.config._FILE_READERS[:] = [
    (lambda path: _RecordedText(path, record), os.path.isfile)
  ]
  try:
    yield
  except (
    SyntaxError,
    tokenize.TokenError,
    NameError,
    ImportError,
    AttributeError,
  ) as error:
    raise ValueError(f'{name}: {error}') from error
  except ValueError as error:
    if "doesn't have a parameter named" not in str(error):
      raise
    raise ValueError(
      f'{error}: misspelt, or of an earlier version; take that line out'
    ) from error


def current_binding(binding: str) -> str:
  """`module.Class.argument=value` with today's module, where it has moved."""
  key, equals, value = binding.partition('=')
  scope, slash, key = key.strip().rpartition('/')
  *module, name, argument = ['', *key.split('.')]
  for old, new in moved.MODULES.items() if any(module) else ():
    today = f'{new.rpartition(".")[2]}.{name}'
    meant = f'.{old}'.endswith('.'.join(module)) and _is_configurable(today)
    if meant and not _is_configurable('.'.join([*module[1:], name])):
      return f'{scope}{slash}{today}.{argument}{equals}{value}'
  return binding


def _is_configurable(selector: str) -> bool:
  # gin has no public look-up of what dynamic registration found.
  return bool(gin.config._REGISTRY.matching_selectors(selector))
