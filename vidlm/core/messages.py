"""Errors of one line; what doesn't fit into a line is kept in a file."""

import tempfile
from collections.abc import Iterable, Mapping
from typing import TypeVar

SHOWN = 5
LIMIT = 1000  # Characters; a terminal shows some twelve lines of it.
_END = 300  # Of those, for the end of a message: there it says what to do.
_WHOLE = 'vidlm_whole'
_Error = TypeVar('_Error', bound=Exception)


def some(items: Iterable[object], shown: int = SHOWN) -> str:
  """Returns the first few items in their order, and how many more there are."""
  listed = [str(item) for item in items]
  rest = len(listed) - shown
  return ', '.join(listed[:shown]) + (f' and {rest} more' if rest > 0 else '')


def with_whole(error: _Error, lists: Mapping[str, Iterable[object]]) -> _Error:
  """Returns the error, which keeps lists of which its message shows a part.

  Args:
    error: With a message of one line.
    lists: What each list is -> its items.
  """
  kept = {name: list(items) for name, items in lists.items()}
  if any(len(items) > SHOWN for items in kept.values()):
    setattr(error, _WHOLE, kept)
  return error


def one_line(error: Exception, room: int = LIMIT) -> str:
  """Returns an error's message as one line.

  What was cut, and lists that came `with_whole`, are written to a file, which
  the line names.

  Args:
    error: Any.
    room: Characters the line may have.
  """
  # gin appends where in the configuration a call came from.
  text = str(error).split('In call to configurable')[0]
  line = ' '.join(text.split())
  whole: Mapping[str, list[object]] = getattr(error, _WHOLE, {})
  if len(line) <= room and not whole:
    return line
  path = _write(text.strip(), whole)
  end = f' [the whole: {path}]' if path else ''
  return _cut(line, room - len(end)) + end


def _cut(line: str, room: int) -> str:
  """Cuts the middle: a line begins with where, and ends with what to do."""
  if len(line) <= room:
    return line
  gap = ' ... '
  return line[: room - _END - len(gap)] + gap + line[-_END:]


def _write(text: str, lists: Mapping[str, Iterable[object]]) -> str:
  """Writes a message and its lists to a new file; '' where none can be."""
  parts = [text]
  for name, items in lists.items():
    parts += ['', f'{name}:', *map(str, items)]
  try:
    with tempfile.NamedTemporaryFile(
      'w',
      encoding='utf-8',
      errors='backslashreplace',  # Names may be no text at all.
      prefix='vidlm-error-',
      suffix='.txt',
      delete=False,
    ) as file:
      file.write('\n'.join(parts) + '\n')
  except OSError:  # The error itself matters more.
    return ''
  return file.name
