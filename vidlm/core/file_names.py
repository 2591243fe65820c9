r"""Names of files as text, whatever bytes they are made of, and back.

Linux takes any bytes but '/' and NUL for a name; Python shows those that are
no UTF-8 as lone surrogates, which neither Parquet nor JSON nor a terminal
takes. As text each such byte is written `\udcXX`, as Python prints it; no two
names are one text, and a text is the same on every machine, whatever its
locale.
"""

import os
import re

_SURROGATE = re.compile('[\ud800-\udfff]')
_ESCAPE = re.compile(r'\\udc[89a-f][0-9a-f]')
_ESCAPED = re.compile(rf'\\\\|{_ESCAPE.pattern}')


def as_text(name: str) -> str:
  r"""Returns the text of a name.

  Args:
    name: As `os.listdir` gives it. What is UTF-8 stays as it is; in what
      isn't, and in what looks like such a text, a backslash is written twice.
  """
  text = os.fsencode(name).decode('utf-8', 'surrogateescape')
  if _SURROGATE.search(text) or _ESCAPE.search(text):
    text = printable(text.replace('\\', '\\\\'))
  return text


def as_name(text: str) -> str:
  """Returns the name of an `as_text`, as the system takes it."""
  if _ESCAPE.search(text):
    text = _ESCAPED.sub(_unescape, text)
  return os.fsdecode(text.encode('utf-8', 'surrogateescape'))


def _unescape(match: re.Match[str]) -> str:
  return '\\' if match[0] == r'\\' else chr(int(match[0][2:], 16))


def printable(message: str) -> str:
  """Returns a text that may hold names without what is no UTF-8."""
  return message.encode('utf-8', 'backslashreplace').decode()


def in_message(message: str, path: str, name: str) -> str:
  """Names a file in a message by its place in a folder.

  Where the folder lies on this machine is nobody else's business.

  Args:
    message: One line. It may hold the path as `repr` writes it, as errors of
      the system do, and with its blanks joined.
    path: Of the file on this machine; '' for none.
    name: What to call it instead.

  Returns:
    The message as printable text.
  """
  for written in (path, repr(path)[1:-1]) if path else ():
    for shown in (written, ' '.join(written.split())):
      message = message.replace(shown, name)
  return printable(message)
