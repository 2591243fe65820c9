"""What is said of a name that nobody knows."""

import difflib
import re
from collections.abc import Iterable


def unknown(what: str, name: str, known: Iterable[str], more: str = '') -> str:
  """Returns the message: all names there are, and the one that was meant.

  Args:
    what: Kind of the name.
    name: As given.
    known: The names there are.
    more: What else to say.
  """
  known = list(known)
  folded = {_folded(own): own for own in known}
  near = difflib.get_close_matches(_folded(name), folded, n=1)
  parts = [f'{what} {name!r}: choose one of {", ".join(known)}']
  parts += [more] if more else []
  parts += [f'did you mean {folded[own]!r}?' for own in near]
  return '; '.join(parts)


def _folded(name: str) -> str:
  return re.sub(r'[\W_]', '', name).lower()
