"""Image vision-language models turned into video ones, and their captions.

  load(checkpoint).caption(path)   texts of a video, an image, or frames
  read_captions(folder)            a caption set as a table

Nothing is imported before it is asked for: `import vidlm` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vidlm.core import old_imports

if TYPE_CHECKING:
  from vidlm.captions.model import CaptionModel, load
  from vidlm.captions.table import read_captions

__all__ = ['CaptionModel', 'load', 'read_captions']

_HOMES = {
  'CaptionModel': 'vidlm.captions.model',
  'load': 'vidlm.captions.model',
  'read_captions': 'vidlm.captions.table',
}

old_imports.install()


def __getattr__(name: str) -> Any:
  if name not in _HOMES:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
