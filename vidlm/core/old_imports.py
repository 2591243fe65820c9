"""Python imports from where a module was before: they work, with a warning.

`import vidlm.data.captions` gives the very module that is called
`vidlm.data.store.caption_sets` now. It is asked for here only after an ordinary
import has failed.
"""

import importlib
import importlib.machinery
import sys
import warnings
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from vidlm.core import moved


class _Loader:
  """Loads a module under an old name."""

  def __init__(self, name: str):
    self._name = name
    self._spec: importlib.machinery.ModuleSpec | None = None

  def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
    """The module of today."""
    module = importlib.import_module(self._name)
    self._spec = module.__spec__
    return module

  def exec_module(self, module: ModuleType) -> None:
    """It has run already; the import system gave it the old name's spec."""
    module.__spec__ = self._spec


class _Finder:
  """Knows where the modules of `moved` are now."""

  def find_spec(
    self,
    name: str,
    path: Iterable[str] | None = None,
    target: ModuleType | None = None,
  ) -> importlib.machinery.ModuleSpec | None:
    """See `importlib.abc.MetaPathFinder`."""
    del path, target
    new = moved.MODULES.get(name)
    if new is None:
      return None
    _warn(name, new)
    loader: Any = _Loader(new)  # importlib.abc would be slow to import
    return importlib.machinery.ModuleSpec(name, loader)


def install() -> None:
  """Asks for moved modules, behind all other finders."""
  if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
    sys.meta_path.append(_Finder())


def attributes(here: str) -> Callable[[str], Any]:
  """The `__getattr__` of a module that something has moved away from.

  A package that has the name of a moved module is one.

  Args:
    here: Its name, `__name__`.
  """

  def getattr_(name: str) -> Any:
    full = f'{here}.{name}'
    new = moved.dotted(full)
    if new != full and name[0] != '_' and not _is_submodule(here, name):
      module, _, attribute = new.rpartition('.')
      holder = importlib.import_module(module)
      if hasattr(holder, attribute):
        _warn(full, new)
        return getattr(holder, attribute)
    raise AttributeError(f'module {here!r} has no attribute {name!r}')

  return getattr_


def _is_submodule(package: str, name: str) -> bool:
  """Whether the import system is about to look for a module of a package."""
  path = getattr(sys.modules[package], '__path__', None)
  if path is None:
    return False
  find = importlib.machinery.PathFinder.find_spec
  return find(f'{package}.{name}', path) is not None


def _warn(old: str, new: str) -> None:
  # Level 3: who imports; frames of the import system don't count.
  warnings.warn(
    f'{old} is {new} now; the old name goes with the next version',
    FutureWarning,
    stacklevel=3,
  )
