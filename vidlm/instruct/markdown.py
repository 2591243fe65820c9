"""Decoration around the words of a completion, and what decoration is not."""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

import html

import regex

from vidlm.instruct import tags, verdicts

FENCE = regex.compile(r'(?m)^[ \t>]*(?:`{3,}|~{3,})[ \t]*[\w+#-]*[ \t]*$')
_FENCED_THOUGHT = regex.compile(
  r'(?ims)^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*(?:think|thought|reason|analysis|'
  r'scratch)\w*[ \t]*$.*?(?:^[ \t]*(?P=fence)[ \t]*$|(?P<open>\Z))'
)
RULE = regex.compile(r'^[\s>]*(?:([-*_=~—–─═•·])[ \t]*)(?:\1[ \t]*){2,}$')
# '... end of sentence', also with quotes, brackets or emphasis behind it.
TERMINAL = regex.compile(r'[.!?…。！？؟۔।]["\'”’»」』）)\]*_`]*$')
_WHOLE = tuple('.!?…。！？؟۔।"\'”’»」』)）')
BULLET = regex.compile(r'^\s*(?:[-*+•▪◦‣–—]\s+|\(?\p{N}{1,2}[.)、]\s+)')
_EMPHASIS = regex.compile(
  r'(?<![\p{L}\p{N}])(?P<mark>\*\*\*|\*\*|__|(?<!\*)\*(?!\*)|(?<!_)_(?!_)|`+)'
  r'(?=\S)(?P<body>(?:(?!(?P=mark)).)+?)(?<=\S)(?P=mark)(?![\p{L}\p{N}])'
)
_STRONG = regex.compile(r'\*\*(?=\S)(?P<body>[^*]+?)(?<=\S)\*\*')
_LINK = regex.compile(r'!?\[(?P<body>[^\[\]\n]+)\]\([^()\s]+\)')
_ESCAPE = regex.compile(r'\\([\\`*_{}\[\]()#+\-.!|"\'<>~])')
_QUOTES = (
  '""',
  "''",
  '“”',
  '‘’',
  '„“',
  '«»',
  '»«',
  '「」',
  '『』',
  '‹›',
  '〝〞',
)
# What no question and no answer holds once decoration is gone.
_FOREIGN = regex.compile(
  r'\*\*|```|~~|<\|?/?[\p{L}_][^<>]*>|\|>|\[/|\]\(|(?<=\s)\|(?=\s)|^\||\|$'
  r'|^\s*#{1,6}\s|\\[a-zA-Z]+\{|\{["\']|["\']\s*:\s*["\'\[{]|["\']\}|\}\s*$'
  r'|^\{|\uFFFD|[\p{Co}\p{Cn}\p{Cs}]|[^\P{Cc}\s]|^[<\[【{][^<>\[\]{}]*[>\]】}]$|={3,}'
)


_LEFT = regex.compile(
  r'^[*_`~]+(?=\s)|^#+(?=\s)|^(?:\*\*|__|`+|[*_](?=\p{L}[^*_]*$))'
)
_RIGHT = regex.compile(
  r'(?<=\s)[*_`~#]+$|(?:\*\*|__|`+|(?<=^[^*_]*[\p{L}\p{P}])[*_])$'
)
_ENTITY = regex.compile(r'&(?:\p{L}+|#\d+|#x[\da-fA-F]+);')
_INNER_APOSTROPHE = regex.compile(r"(?<!\p{L})'|'(?!\p{L})")
_MOST_MARKS = 100  # Of decoration in one text.
_MARKED = regex.compile(r'[*_`~#\[\]\\"“”„‘’\'«»‹›「」『』〝〞]')
_OPENING_QUOTE = regex.compile(r'["“„「«»”]')
_CLOSING_QUOTE = regex.compile(r'["”」»“]')


def unfenced(text: str) -> str:
  """Drops the lines that fence code, and fenced reasoning.

  Raises:
    UnreadError: If a fence of reasoning isn't closed.
  """
  found = _FENCED_THOUGHT.search(text)
  while found:
    if found['open'] is not None:
      raise verdicts.UnreadError(verdicts.Reject.TRUNCATED)
    text = text[: found.start()] + text[found.end() :]
    found = _FENCED_THOUGHT.search(text)
  fences = list(FENCE.finditer(text))
  if len(fences) % 2:
    # One alone may have been opened by nobody, or not closed any more.
    inner = (
      text[: fences[0].start()].strip() and text[fences[0].end() :].strip()
    )
    if len(fences) > 1 or inner:
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  return text


def ends_sentence(text: str) -> bool:
  """Whether a text ends where a sentence does."""
  return bool(TERMINAL.search(text.rstrip()))


def complete(text: str) -> bool:
  """Whether a text may be whole though a limit of tokens ended it."""
  return text.rstrip().endswith(_WHOLE)


def _plain(text: str) -> str:
  """Drops emphasis, links and escapes inside a text."""
  before = None
  while text != before:
    before = text
    text = _EMPHASIS.sub(lambda found: found['body'], text)
    text = _STRONG.sub(lambda found: found['body'], text)
  text = _LINK.sub(lambda found: found['body'], text)
  return _ESCAPE.sub(r'\1', text)


def _unquoted(text: str) -> str:
  """Drops quotes that enclose the whole of a text."""
  for quotes in _QUOTES:
    opens, closes = quotes[0], quotes[1]
    inside = text[1:-1]
    if (
      len(text) > 1
      and text[0] == opens
      and text[-1] == closes
      and opens not in inside.replace('\\' + opens, '')
      and closes not in inside.replace('\\' + closes, '')
    ):
      return inside
    # An apostrophe is no quote: 'It's Tom's.'
    if (
      len(text) > 1
      and opens == closes == "'" == text[0] == text[-1]
      and not _INNER_APOSTROPHE.search(inside)
    ):
      return inside
  return text


def clean(text: str) -> str:
  """Drops decoration in and around a text and joins its lines.

  Raises:
    UnreadError: If something is left that isn't text.
  """
  text = ' '.join(text.split())
  if len(_MARKED.findall(text)) > _MOST_MARKS:
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  before = None
  while text != before:
    before = text
    text = text.strip()
    if not _MARKED.search(text):
      break
    text = _RIGHT.sub('', _LEFT.sub('', text))
    text = _unquoted(_plain(text).strip())
  if _ENTITY.search(text):
    text = html.unescape(text)
  opened = text[:1] in ('"', '“', '「', '«') and not _CLOSING_QUOTE.search(
    text[1:]
  )
  closed = text[-1:] in ('”', '」', '»') and not _OPENING_QUOTE.search(
    text[:-1]
  )
  if (
    opened
    or closed
    or _FOREIGN.search(text)
    or any(mark in text for mark in tags.MARKS)
  ):
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  return text
