"""Lists of words and patterns of words, in `wordlists/`, one a line."""

import functools
import importlib.resources

import regex


@functools.cache
def lines(name: str) -> tuple[str, ...]:
  """Returns the lines of `wordlists/NAME.txt`, remarks apart."""
  folder = importlib.resources.files('vidlm.instruct') / 'wordlists'
  text = (folder / f'{name}.txt').read_text('utf-8')
  return tuple(
    line for line in text.splitlines() if line and not line.startswith('#')
  )


def any_of(name: str, **slots: str) -> str:
  """Returns a pattern that matches what any line does.

  Args:
    name: Of the file.
    **slots: What stands in it for '{NAME}'.
  """
  pattern = '|'.join(lines(name))
  for slot, meant in slots.items():
    pattern = pattern.replace(f'{{{slot}}}', meant)
  return f'(?:{pattern})'


def search_for(name: str, frame: str = '{}', **slots: str) -> regex.Pattern:
  """Compiles `any_of`, put into a frame such as '\\b{}\\b'."""
  return regex.compile('(?i)' + frame.replace('{}', any_of(name, **slots)))
