"""Words that announce a question or an answer, and where they may stand.

A label stands at the start of a line, behind list marks, numbers, headings or
emphasis, or behind the end of a sentence; and something parts it from its text:
a colon, an arrow, brackets, emphasis, the end of the line. Anywhere else the
same word is a word.
"""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

import dataclasses
import functools

import regex

from vidlm.instruct import words

QUESTION, ANSWER = 'question', 'answer'

# One letter each, which only a colon or a full stop makes a label.
_LETTERS = 'q|a f|a v|a q|r p|r d|r f|s t|j в|о п|о ε|α 问|答 問|答 문|답 س|ج'

_PAIRS = [line.split('|') for line in words.lines('labels')]


def _side(side: int) -> str:
  found = {word for pair in _PAIRS for word in pair[side].split()}
  longest_first = sorted(found, key=lambda word: (-len(word), word))
  return '|'.join(word.replace('_', r'\s') for word in longest_first)


_WORDS = {QUESTION: _side(0), ANSWER: _side(1)}
LETTER_PAIRS = {tuple(pair.split('|')) for pair in _LETTERS.split()}
_LETTER = {
  role: '|'.join(sorted({pair[side] for pair in LETTER_PAIRS}))
  for side, role in enumerate((QUESTION, ANSWER))
}
# What may stand before the word: 'Temporal reasoning question:'.
_ADJECTIVES = (
  r'(?:(?:the|my|your|a|an|one|new|next|first|second|third|final|generated|'
  r'created|sample|example|possible|plausible|suggested|proposed|resulting|'
  r'correct|expected|short|brief|long|detailed|full|complete|challenging|'
  r'temporal|causal|reasoning|video|visual|open-?ended|follow-?up|la|le|el|il|'
  r'die|der|das|de|het|o|a)[\s-]+){0,4}'
)
# Atomic and possessive: a line of ten thousand stars must not be tried twice.
_DECOR = (
  r'[\s>]*+(?>(?:[-*+=]{1,6}(?=\s)|#{1,6}|\[[ xX]\](?=\s)'
  r'|[•▪▫■□●○◆◇◦‣⁃∙·–—➤►▶▸→✦✓✔]'
  r'|[(\[]?\p{N}{1,3}[.):、\]．）](?!\p{N})'
  r'|[a-dA-D][.)]\s+(?=[*_]*\p{L}{3,16}\s*[:：])'
  r'|[\p{So}\p{Sk}\p{Emoji_Presentation}][\uFE0F\u200D]*+)\s*+)*+'
)
_OPENERS = r'(?P<opened>[\[【〔「『（(<《"“„\'`*_=\s]*+)'
_CLOSERS = r'(?P<closed>(?>[\]】〕」』）)>》}"”“\'`*_~=]|\s(?=[\]】*_`]))*+)'
_COLON = r'[:：︰﹕꞉፡։؛]'
_NUMBER = r'(?:\s*(?:no\.?\s*|nr\.?\s*|[#№_-]\s*)?(?P<number>\p{N}{1,3}))?'
_QUALIFIED = (
  r'(?:\s*(?:\([^()\n]{1,40}\)|\[[^\[\]\n]{1,40}\]|（[^（）\n]{1,40}）'
  r'|\p{N}{1,3}(?=\s*[:：])))?'
)
_COPULA = r'(?:\s+(?:is|would be|could be|ist|est|es|è|é|is als volgt)|是|は)?'
_BOTH = {
  role: f'(?:{_ADJECTIVES}(?:{_WORDS[role]})|{_LETTER[role]})'
  for role in (QUESTION, ANSWER)
}
_NAME = (
  rf'(?:(?P<question>{_BOTH[QUESTION]})|(?P<answer>{_BOTH[ANSWER]}))'
  r"(?!(?!是|は)[\p{L}\p{M}]|['’]\p{L})"
)
_LINE = regex.compile(
  rf'(?i)^(?P<decor>{_DECOR}){_OPENERS}{_DECOR}{_NAME}{_NUMBER}{_QUALIFIED}'
  rf'{_COPULA}{_CLOSERS}(?:\s*(?P<sep>{_COLON}{{1,2}}-?|=>?|:=|[-=]+>|[→⇒➜]|'
  rf'\s[-–—](?=\s)|[.)．](?=\s)))?(?P<after>[*_`~]*)(?P<rest>.*)$',
  regex.DOTALL,
)
_MIDDLE = regex.compile(
  r'(?i)(?:(?<=[.?!。？！؟…۔।]["”’\'»)」』）*_`]{0,6})\s*(?:[|‖/;；–—-]\s*)?'
  r'|\s[|‖/–—]\s+|[;；]\s*|\t\s*|[ ]{3,})'
  r'(?P<open>[*_`\[【(「"]*)'
  rf'{_NAME}{_NUMBER}{_QUALIFIED}'
  rf'(?:[*_`\])」"]*[ \t]*{_COLON}|】[:：]?)[*_`]*'
)
_INTRODUCED = regex.compile(
  r'(?i)^(?:[\p{L}\s]{0,20}[,!.:–-]\s*)?(?:here|this|below|following|one|'
  r'my|voici|hier|aquí|ecco)\b[^.?!\n]{0,60}?\b'
  rf'(?P<question>{_WORDS[QUESTION]})(?:\s+(?:is|would be))?\s*{_COLON}[*_]*'
)


_ANYWHERE = regex.compile(rf'(?i)(?<!\p{{L}}){_NAME}{_NUMBER}\s*{_COLON}')


@dataclasses.dataclass(frozen=True)
class Label:
  """A label that was found.

  Attributes:
    role: QUESTION or ANSWER.
    number: '2' of 'Question 2:', else ''.
    letter: The label in lower case if it is one letter only, else ''.
    start: Where it begins.
    end: Where its text begins.
    capital: Whether it begins with a capital letter.
    alone: Whether nothing but the end of the line parts it from its text.
  """

  role: str
  number: str
  letter: str
  start: int
  end: int
  capital: bool
  alone: bool = False


def _label(found: regex.Match, end: int, alone: bool = False) -> Label:
  role = QUESTION if found['question'] else ANSWER
  word = found[role]
  letter = (
    word.lower()
    if regex.fullmatch(r'[\p{Latin}\p{Greek}\p{Cyrillic}]', word)
    else ''
  )
  number = found['number'] or ''
  return Label(
    role, number, letter, found.start(), end, word[0].isupper(), alone
  )


def at_start(line: str) -> Label | None:
  """Returns the label a line begins with."""
  found = _LINE.match(line[:4000])
  if not found:
    return None
  role = QUESTION if found['question'] else ANSWER
  single = len(found[role]) == 1
  marks = found['opened'].strip() and found['closed'].strip()
  sep, end = (found['sep'] or '').strip(), found.start('rest')
  if sep[:1] in ('.', ')', '．'):
    if not (single or found['number']):
      return None
  elif not sep:
    empty = not found['rest'].strip()
    if not marks and (single or not empty):
      return None
    if not empty and not _parted(found):
      return None
    return _label(found, end, alone=empty)
  elif sep in '-–—' and single and found[role].lower() not in 'qa':
    return None
  return _label(found, end, alone=not found['rest'].strip())


def _parted(found: regex.Match) -> bool:
  """Whether brackets or emphasis part a label from its text."""
  close = found['closed'].strip()[:1]
  return close in tuple(']】〕」』）)') or (
    close in tuple('*_`~=') and found['rest'][0] in ' \t'
  )


def in_middle(text: str, start: int = 0) -> Label | None:
  """Returns the first label behind the end of a sentence."""
  found = _MIDDLE.search(text, start)
  return _label(found, found.end()) if found else None


def mentioned(line: str) -> bool:
  """Whether a line holds what would be a label in another place."""
  return bool(_ANYWHERE.search(line))


def introduced(line: str) -> int | None:
  """Returns where the question of 'Here is a question: ...' begins."""
  found = _INTRODUCED.match(line)
  return found.end() if found else None


@functools.cache
def _whole(role: str) -> regex.Pattern:
  return regex.compile(
    rf'(?i)(?:{_ADJECTIVES}(?:{_WORDS[role]})|{_LETTER[role]})(?:\s?(?:text|content))?'
    rf'{_NUMBER}{_QUALIFIED}'
  )


def named(name: str) -> tuple[str, str] | None:
  """Returns role and number of a JSON key, a table's head, a tag's name."""
  name = regex.sub(r'(?<=[a-z])(?=[A-Z])', ' ', name)
  name = regex.sub(r'[\s_*`#"“”:：.-]+', ' ', name).strip()
  for role in (QUESTION, ANSWER):
    if found := _whole(role).fullmatch(name):
      return role, found['number'] or ''
  return None
