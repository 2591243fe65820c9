"""Templates that turn a class name into sentences; data files beside this one.

The paper names none. `kinetics_openai` is CLIP's list for Kinetics-700,
`kinetics_viclip` the one InternVid's numbers were made with.
"""

import importlib.resources
import os
from collections.abc import Sequence

from vidlm.data.tables import texts

_FOLDER = 'templates'


def presets() -> tuple[str, ...]:
  """Returns the names of the presets."""
  folder = importlib.resources.files(__package__).joinpath(_FOLDER)
  names = (entry.name for entry in folder.iterdir())
  return tuple(sorted(n[: -len('.txt')] for n in names if n.endswith('.txt')))


def load(name: str) -> tuple[str, ...]:
  """Reads a list of templates.

  Args:
    name: A preset, or the path of a file ending in `.txt`: one template a
      line, '{}' where the class goes, lines that begin with '#' are comments.

  Returns:
    The templates.

  Raises:
    ValueError: If there is no such preset, or a template has no '{}'.
  """
  if name.endswith('.txt') and os.path.exists(name):
    lines = texts.entries(name)
  elif name in presets():
    source = importlib.resources.files(__package__)
    path = source.joinpath(_FOLDER, f'{name}.txt')
    lines = [line.strip() for line in path.read_text('utf-8').splitlines()]
  else:
    raise ValueError(
      f'templates {name!r}: no such preset or file; choose one of '
      f'{", ".join(presets())} or name a .txt file.'
    )
  templates = tuple(ln for ln in lines if ln and not ln.startswith('#'))
  for template in templates:
    if '{}' not in template:
      raise ValueError(
        f'templates {name!r}: {template!r} has no {{}} for the class name.'
      )
  if not templates:
    raise ValueError(f'templates {name!r}: no template in the file.')
  return templates


def fill(templates: Sequence[str], class_name: str) -> list[str]:
  """Returns one sentence a template; braces in the name are left alone."""
  return [template.replace('{}', class_name) for template in templates]
