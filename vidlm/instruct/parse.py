"""Reads a question and an answer from a completion, or says why not.

The grammar is that of the paper's examples: 'Question: ...' and 'Answer: ...'
on lines of their own. Language models also write markdown, JSON, tables, tags,
several pairs, labels of other languages, their reasoning. A completion gives a
pair only if every character of it is understood; the rest is rejected with a
reason, and its text is kept by the caller.
"""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

import dataclasses
import functools

import regex

from vidlm.instruct import (
  fields,
  judge,
  markdown,
  objects,
  tables,
  tags,
  verdicts,
  words,
)

Reject = verdicts.Reject
SHORT_WORDS = judge.SHORT_WORDS
_NEW_LINE = regex.compile(r'\r\n?|[\u2028\u2029\x85]')
_WIDE = regex.compile(r'([ \t])[ \t]{3,}')
_INVISIBLE = regex.compile(r'[\ufeff\u200b\u200e\u200f\u2060]')
_LONGEST = 20_000  # Characters of what is no reasoning.
_DEPTH = 3  # A text that is JSON of a text that is JSON.
# As OpenAI's servers, Anthropic's, Google's, Mistral's and gateways call it.
_CUT = frozenset(words.lines('finish_cut'))
_FILTERED = frozenset(words.lines('finish_filtered'))


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


def was_cut(finish_reason: str | None) -> bool:
  """Whether a completion ended before its model ended it."""
  return (finish_reason or '').lower() in _CUT


def was_filtered(finish_reason: str | None) -> bool:
  """Whether a server withheld a completion for what it says."""
  return (finish_reason or '').lower() in _FILTERED


def _oops_style(pair: verdicts.Pair) -> verdicts.Pair:
  """Lowers case, drops '?' and full stop, as in Oops-QA's processed pairs."""
  return verdicts.Pair(
    pair.question.lower().rstrip(' ?.？。؟'),
    pair.answer.lower().rstrip(' .!。！'),
    pair.ends_text,
  )


def _read(text: str, caption: str, depth: int = 0) -> list[verdicts.Pair]:
  """Returns the pairs of a completion, whatever they are written in."""
  string = objects.string(text) if depth < _DEPTH else None
  if string is not None:
    return _read(string, caption, depth + 1)
  text = _INVISIBLE.sub('', _NEW_LINE.sub('\n', text))
  if '\\n' in text and '\n' not in text.strip():
    text = text.replace('\\n', '\n')  # Escaped once too often.
  text = _WIDE.sub(r'\1\1\1', tags.without_reasoning(text))
  if len(text) > _LONGEST:
    raise verdicts.UnreadError(Reject.NOT_UNDERSTOOD)
  text = markdown.unfenced(tags.without_tags(tables.from_html(text)))
  for read in (objects.read, tables.read):
    pairs = read(text)
    if pairs is not None:
      return pairs
  return fields.read(text, functools.partial(judge.goes_on, caption=caption))


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
  if was_filtered(finish_reason):
    return Parsed(reject_reason=Reject.REFUSAL)
  cut = was_cut(finish_reason)
  try:
    pairs = _read(text, caption)
  except verdicts.UnreadError as error:
    return Parsed(reject_reason=_unread(text, error.reason, cut))
  if not pairs:
    reason = _unread(text, Reject.NO_QUESTION, cut)
    if not text.strip():
      reason = Reject.TRUNCATED if cut else Reject.EMPTY
    return Parsed(reject_reason=reason)
  parsed = [_judged(pair, kind, caption, cut, len(pairs)) for pair in pairs]
  valid = [one for one in parsed if one.reject_reason is None]
  return (valid or parsed)[0]


def _unread(text: str, reason: Reject, cut: bool) -> Reject:
  """Returns why a completion that can't be read gives no pair."""
  if judge.refused(text):
    return Reject.REFUSAL
  return Reject.TRUNCATED if cut else reason


def _judged(
  pair: verdicts.Pair, kind: str, caption: str, cut: bool, num_pairs: int
) -> Parsed:
  reason = judge.judge(pair, kind, caption, cut)
  shown = _oops_style(pair) if kind == 'short' else pair
  flags: tuple[str, ...] = ()
  if (
    kind == 'short'
    and reason is None
    and len(shown.answer.split()) == SHORT_WORDS
  ):
    flags = ('three_words',)
  return Parsed(shown.question, shown.answer, reason, flags, num_pairs)
