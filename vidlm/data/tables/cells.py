"""What is in a cell: a text, or a list of them written as one."""

import ast
import json
import math
import re
from typing import Any

_STRING = r"""u?'(?:[^'\\\n]|\\.)*'|u?"(?:[^"\\\n]|\\.)*\""""
_ITEM = re.compile(rf'\s*({_STRING}|None|null|nan)(?:\s*,|\s+|\s*$)')


def unlisted(value: Any) -> Any:
  """Returns the list of texts that a cell writes out; else the cell itself.

  Lists are JSON's ["a", "b"], Python's ['a', 'b'], also of Python 2, and
  numpy's ['a' 'b']; what stands for no text in them is left out. A text that
  merely begins with a bracket stays a text.

  Args:
    value: A cell of any kind.
  """
  if not isinstance(value, str):
    return value
  text = value.strip()
  if not (text.startswith('[') and text.endswith(']')):
    return value
  try:
    found = json.loads(text)
  except (ValueError, RecursionError):
    return _python_list(text, value)
  if isinstance(found, list) and all(
    item is None or isinstance(item, str) for item in found
  ):
    return [item for item in found if item is not None]
  return value


def _python_list(text: str, value: str) -> Any:
  inner, at = text[1:-1], 0
  items: list[str] = []
  while at < len(inner.rstrip()):
    match = _ITEM.match(inner, at)
    if not match:
      return value
    if match[1].lstrip('u')[0] in '\'"':
      try:
        items.append(ast.literal_eval(match[1]))
      except (ValueError, SyntaxError):  # A half escape, such as '\x'.
        return value
    at = match.end()
  return items


def is_missing(value: Any) -> bool:
  """Returns whether a cell says that there is nothing: None, NaN, ''."""
  if isinstance(value, float):
    return math.isnan(value)
  return value is None or value == ''


def texts(value: Any) -> tuple[str, ...]:
  """Returns one text or a list of them, stripped, without the empty ones.

  Args:
    value: A cell, also a list written as one text; see `unlisted`.

  Raises:
    ValueError: If it is something else, such as a list of lists.
  """
  value = unlisted(value)
  if is_missing(value):
    return ()
  if not isinstance(value, list | tuple):
    value = [value]
  if any(isinstance(text, list | tuple | dict) for text in value):
    raise ValueError(f'{str(value)[:200]}: neither a text nor a list of texts')
  found = (as_text(text).strip() for text in value if not is_missing(text))
  return tuple(text for text in found if text)


def as_text(value: Any) -> str:
  """Returns a cell as a text; older writers of Parquet keep texts as bytes.

  Raises:
    ValueError: For bytes that are no text.
  """
  if not isinstance(value, bytes):
    return str(value)
  try:
    return value.decode()
  except UnicodeDecodeError:
    raise ValueError(f'{value[:8]!r}...: bytes, not a text') from None
