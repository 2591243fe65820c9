"""A text-to-video dual encoder, and its zero-shot scores.

  load(checkpoint).embed_video(path)   unit vectors of clips
  load(checkpoint).embed_text(text)    unit vectors of texts

Nothing is imported before it is asked for: `import dualenc` takes no time.
"""

import importlib
from typing import TYPE_CHECKING, Any

from vidlm.core import old_imports

if TYPE_CHECKING:
  from dualenc.towers import Towers, load

__all__ = ['Towers', 'load']

old_imports.install()


def __getattr__(name: str) -> Any:
  if name not in __all__:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module('dualenc.towers'), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
