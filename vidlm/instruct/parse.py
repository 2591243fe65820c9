"""Reads a question and an answer from a completion, or says why not.

The grammar is that of the paper's examples: 'Question: ...' and 'Answer: ...'
on lines of their own. Language models also write markdown, JSON, several
pairs, a fourth caption, an apology. What can be read without guessing is read;
the rest is rejected with a reason, and its text is kept by the caller.
"""

import dataclasses
import enum
import json
from typing import Any

import regex

from vidlm.instruct import prompts

SHORT_WORDS = 3  # Table 7 says less than three, section 5.4 one to three.


class Reject(enum.StrEnum):
  """Why a completion gives no pair."""

  EMPTY = 'empty'
  REFUSAL = 'refusal'
  TRUNCATED = 'truncated'
  NO_QUESTION = 'no_question'
  NO_ANSWER = 'no_answer'
  SAME = 'same'
  LEAK = 'leak'
  COPIED_FEWSHOT = 'copied_fewshot'
  TOO_LONG_SHORT_ANSWER = 'too_long_short_answer'
  DUPLICATE = 'duplicate'


@dataclasses.dataclass(frozen=True)
class Parsed:
  """What was read from a completion.

  Attributes:
    question: The first valid pair's, or the first pair's if none is; '' if
      there is no pair.
    answer: That of the same pair.
    reject_reason: None for a valid pair.
    flags: 'three_words' for a short answer at the limit.
    num_pairs: How many pairs the completion holds.
  """

  question: str = ''
  answer: str = ''
  reject_reason: Reject | None = None
  flags: tuple[str, ...] = ()
  num_pairs: int = 0


@dataclasses.dataclass(frozen=True)
class _Pair:
  question: str
  answer: str
  ends_text: bool = False  # A limit of tokens may have cut its answer.


_CONTINUATION = regex.compile(
  r'(?im)\(\d+\)\s*captions?\s*:|^\s*captions?\s*:|^\s*\(\d+\)\s*$'
  r'|^\s*generated qa\b|^={3,}'
)
_LABEL = regex.compile(
  r'(?im)(?:^[ \t>*_#.()\d-]*(?P<label>questions?|answers?|q|a)'
  r'|(?<=\s)[*_]*(?P<label>question|answer))'
  r'[ \t]*\d*[ \t]*[*_]*[ \t]*[:\uFF1A][ \t]*[*_]*'
)
THOUGHT = regex.compile(
  r'(?is)<think(?:ing)?>.*?(?:</think(?:ing)?>|(?P<open>\Z))'
)
FENCE = regex.compile(r'(?m)^\s*```\w*\s*$')
REFUSAL = regex.compile(
  r"(?i)\bas an? (?:ai|artificial|language)\b|^(?:i'?m|i am) (?:very )?sorry\b"
  r"|^sorry\b|\bi (?:can(?:no|')t|am (?:unable|not able) to|do(?: not|n't) have"
  r') (?:help|assist|answer|create|generate|provide|comply|determine|see|view'
  r'|watch|access|enough|any|the)\b'
  r'|\bnot enough (?:information|context)\b|\bcan(?: ?not|\'t) be determined\b'
)
LEAK = regex.compile(
  r'(?i)\b(?:captions?|descriptions?|narrations?|narratives?)\b'
  r'(?=\s+(?:\w+\s+){0,2}(?:say|mention|state|describe|tell|note|indicate'
  r'|suggest|provide|give)\w*)'
  r'|\b(?:the|this|that|these|given|provided|above|your) '
  r'(?:(?:given|provided|above|video) )?(?:caption|description|narration)s?\b'
  r'|\b(?:according to|based on|as (?:described|stated|mentioned) in|from|in) '
  r'the (?:given |provided |above )?'
  r'(?:text|sentences?|passage|paragraph|statement|information provided)\b'
)
# Things only the examples speak of; with none of them in the caption, a pair
# about them was copied.
_EXAMPLE_THINGS = (
  'baby girl',
  'egg',
  'backflip',
  'bicycle',
  'swimming pool',
  'small rocks',
  'loses control',
)
TERMINAL = ('.', '!', '?', '"', "'", '\u201d', '\u2019', ')')


def _bare(text: str) -> str:
  """Keeps lower case letters and digits only: for comparing."""
  return ' '.join(regex.findall(r'[\p{L}\p{N}]+', text.lower()))


def _clean(text: str) -> str:
  """Drops markdown and quotes around a text and joins its lines."""
  text = ' '.join(FENCE.sub('', text).split())
  before = None
  while text != before:
    before = text
    text = text.strip(' \t*_`#')
    if len(text) > 1 and (text[0], text[-1]) in (
      ('"', '"'),
      ("'", "'"),
      ('\u201c', '\u201d'),
      ('\u2018', '\u2019'),
    ):
      text = text[1:-1]
  return text


def _from_json(text: str) -> list[_Pair]:
  """Reads {'question': ..., 'answer': ...}, alone or in a list."""
  start = regex.search(r'[\[{]', text)
  if start is None:
    return []
  try:
    value, _ = json.JSONDecoder().raw_decode(text, start.start())
  except ValueError:
    return []
  rows: list[Any] = value if isinstance(value, list) else [value]
  pairs = []
  for row in rows:
    if isinstance(row, dict):
      row = {str(key).lower(): item for key, item in row.items()}
      question, answer = row.get('question'), row.get('answer')
      if isinstance(question, str) and isinstance(answer, str):
        pairs.append(_Pair(_clean(question), _clean(answer)))
  return pairs


def _split(body: str, label: str) -> tuple[str, str]:
  """Splits 'What is it?' and the unlabelled line after it."""
  question, _, rest = body.strip().partition('\n')
  if label == 'q' and rest.strip() and _clean(question).endswith('?'):
    return question, rest
  return body, ''


def _pairs(text: str, one_line: bool) -> list[_Pair]:
  """Returns the pairs of a text in order, unfinished ones included."""
  labels = list(_LABEL.finditer(text))
  if not labels:
    return []
  pairs: list[_Pair] = []
  question = None
  lead = text[: labels[0].start()].strip()
  if labels[0]['label'][0] in 'aA' and lead.endswith('?'):
    question = lead.splitlines()[-1]
  for found, following in zip(labels, [*labels[1:], None], strict=True):
    end = following.start() if following else len(text)
    body = text[found.end() : end]
    if found['label'][0] in 'qQ':
      if question is not None:
        pairs.append(_Pair(_clean(question), ''))
      question, rest = _split(body, 'q')
      if not rest or (following and following['label'][0] in 'aA'):
        question = body
        continue
      body = rest
    stripped = body.strip()
    first = stripped.splitlines()[0] if one_line and stripped else body
    whole = following is None and body == body.rstrip('\n')
    pairs.append(
      _Pair(
        _clean(question or ''),
        _clean(first),
        whole and len(stripped) == len(first.strip()),
      )
    )
    question = None
  if question is not None:
    pairs.append(_Pair(_clean(question), '', True))
  return pairs


def _copied(pair: _Pair, kind: str, caption: str) -> bool:
  question = _bare(pair.question)
  if any(question == _bare(shot.question) for shot in prompts.few_shots(kind)):
    return True
  text = f' {question} {_bare(pair.answer)} '
  source = f' {_bare(caption)} '
  return any(
    f' {thing} ' in text and f' {thing} ' not in source
    for thing in _EXAMPLE_THINGS
  )


def _reject(pair: _Pair, kind: str, caption: str, cut: bool) -> Reject | None:
  cut = cut and pair.ends_text
  if not pair.answer:
    if not pair.question:
      return Reject.EMPTY
    return Reject.TRUNCATED if cut else Reject.NO_ANSWER
  if not _bare(pair.question):
    return Reject.NO_QUESTION
  if not _bare(pair.answer):
    return Reject.NO_ANSWER
  if REFUSAL.search(pair.answer) or REFUSAL.search(pair.question):
    return Reject.REFUSAL
  if cut and not pair.answer.endswith(TERMINAL):
    return Reject.TRUNCATED
  if _bare(pair.question) == _bare(pair.answer):
    return Reject.SAME
  if LEAK.search(pair.question) or LEAK.search(pair.answer):
    return Reject.LEAK
  if _copied(pair, kind, caption):
    return Reject.COPIED_FEWSHOT
  if kind == 'short' and len(pair.answer.split()) > SHORT_WORDS:
    return Reject.TOO_LONG_SHORT_ANSWER
  return None


def _oops_style(pair: _Pair) -> _Pair:
  """Lowers case, drops '?' and full stop, as in Oops-QA's processed pairs."""
  return _Pair(
    pair.question.lower().rstrip(' ?.'),
    pair.answer.lower().rstrip(' .!'),
    pair.ends_text,
  )


def parse(
  text: str, *, kind: str, caption: str = '', finish_reason: str | None = None
) -> Parsed:
  """Reads the first valid pair of a completion.

  Short pairs are given the style of the paper's examples (Table 10): lower
  case, no question mark, no full stop.

  Args:
    text: The completion as it came.
    kind: One of `prompts.KINDS`.
    caption: What it is about; pairs about the examples' things that the
      caption does not name count as copied.
    finish_reason: 'length' if the limit of tokens ended it.

  Returns:
    The pair, or the reason why the first pair was rejected.
  """
  cut = finish_reason == 'length'
  if finish_reason == 'content_filter':
    return Parsed(reject_reason=Reject.REFUSAL)
  thought = THOUGHT.search(text)
  cut = cut or bool(thought and thought['open'] is not None)
  text = THOUGHT.sub('', text)
  if not text.strip():
    return Parsed(reject_reason=Reject.TRUNCATED if cut else Reject.EMPTY)
  # Behind the first letter: what the whole text begins with continues nothing.
  continuation = _CONTINUATION.search(text, len(text) - len(text.lstrip()) + 1)
  if continuation:
    # The end of line says that the last pair is whole: see `_pairs`.
    text = text[: continuation.start()] + '\n'
  pairs = _from_json(text) or _pairs(text, one_line=kind == 'short')
  if not pairs:
    if REFUSAL.search(text.strip()):
      return Parsed(reject_reason=Reject.REFUSAL)
    return Parsed(reject_reason=Reject.TRUNCATED if cut else Reject.NO_QUESTION)
  rejected = []
  for pair in pairs:
    reason = _reject(pair, kind, caption, cut)
    shown = _oops_style(pair) if kind == 'short' else pair
    flags: tuple[str, ...] = ()
    if kind == 'short' and len(shown.answer.split()) == SHORT_WORDS:
      flags = ('three_words',)
    parsed = Parsed(
      shown.question, shown.answer, reason, () if reason else flags, len(pairs)
    )
    if reason is None:
      return parsed
    rejected.append(parsed)
  return rejected[0]
