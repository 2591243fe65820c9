"""Penn Treebank tokens as CIDEr's reference implementation sees them, no Java.

`pycocoevalcap` calls Stanford's PTBTokenizer (CoreNLP 3.4.1) with
`-preserveLines -lowerCase` and then drops a list of punctuation tokens. This
gives the same tokens: the token shapes are in `ptb_rules`, the longest match
wins as in a generated lexer. `tests/evals/test_ptb.py` compares the two.
"""

import functools
from collections.abc import Iterator, Sequence

import regex

from vidlm.evals import ptb_rules

# The list is compared after lower-casing, so '-lrb-' and its kin survive, as
# they do in the reference implementation.
PUNCTUATION = {
  *("''", "'", '``', '`', '-LRB-', '-RRB-', '-LCB-', '-RCB-'),
  *('.', '?', '!', ',', ':', '-', '--', '...', ';'),
}
NAME = 'ptb-3.4.1 (vidlm.evals.ptb)'

# Most of a caption needs no rules: letters before a space are a word, whatever
# follows. The rules decide on these, and on 'etc.' and its like.
_PLAIN = regex.compile(r'[A-Za-z]+(?=,? |\n)|[A-Za-z]{2,}(?=\.[ \n])')
_SPLIT = frozenset(('cannot', 'gonna', 'gotta', 'lemme', 'gimme', 'wanna'))
_NEXT_LINE = 64
_SPACES = regex.compile(ptb_rules.SPACE + '+')
# What the Java program takes for the end of a line inside a caption: kept, it
# would move every later caption to another clip.
_LINE_BREAKS = str.maketrans(dict.fromkeys('\n\r\x0b\x0c\u2028\u2029', ' '))


@functools.cache
def _compiled() -> tuple[tuple[ptb_rules.Rule, regex.Pattern], ...]:
  return tuple(
    (
      rule,
      regex.compile(
        f'(?P<token>{rule.token})(?:{rule.follow})',
        regex.VERSION1 | regex.POSIX,
      ),
    )
    for rule in ptb_rules.RULES
  )


@functools.lru_cache(maxsize=4096)
def _candidates(
  first: str,
) -> tuple[tuple[ptb_rules.Rule, regex.Pattern], ...]:
  """Returns the rules that some text starting with `first` can match."""
  return tuple(
    (rule, pattern)
    for rule, pattern in _compiled()
    if pattern.fullmatch(first, partial=True)
  )


def _longest(text: str, start: int) -> tuple[str, int]:
  """Returns the token at `start` ('' for none) and where the next begins."""
  best: tuple[ptb_rules.Rule, regex.Match] | None = None
  # No shape needs more than the line and the first words of the next; without
  # an end, patterns that need an '@' search the whole text for one.
  newline = text.find('\n', start)
  stop = len(text) if newline < 0 else newline + _NEXT_LINE
  for rule, pattern in _candidates(text[start]):
    found = pattern.match(text, start, stop)
    if found and (best is None or found.end() > best[1].end()):
      best = rule, found
  if best is None:  # Emoji and control characters are dropped.
    return '', start + 1
  rule, match = best
  end = match.end('token') - rule.unread
  if rule.lone_unread and end - start == 2:
    end -= 1
  return rule.write(text[start:end]), end


@functools.lru_cache(maxsize=65536)
def _is_plain(word: str, dotted: bool) -> bool:
  """Returns whether rules would read `word` as itself, its dot as a stop."""
  if word.lower() in _SPLIT:
    return False
  return not dotted or _longest(f'{word}. 1 ', 0)[0] == word


def _lex(text: str) -> Iterator[str]:
  """Yields the tokens of `text`, and a newline for each newline."""
  position = 0
  while position < len(text):
    character = text[position]
    if character == ' ':
      position = _SPACES.match(text, position).end()
      continue
    if character == '\n':
      position += 1
      yield character
      continue
    plain = _PLAIN.match(text, position)
    if plain and _is_plain(plain[0], text[plain.end()] == '.'):
      token, position = plain[0], plain.end()
    else:
      token, position = _longest(text, position)
    if token:
      yield token


def tokenize(captions: Sequence[str]) -> list[str]:
  """Tokenizes captions as `pycocoevalcap.tokenizer.ptbtokenizer` does.

  The captions are read as lines of one text, as there: whether the dot of a
  last 'A.' is a token of its own depends on how the next line begins.

  Args:
    captions: One text each. Line breaks inside a caption count as spaces (the
      reference implementation would shift all later captions by a line).

  Returns:
    For each caption its lower-case tokens without punctuation, joined by
    spaces.
  """
  if not captions:
    return []
  lines: list[list[str]] = [[]]
  text = '\n'.join(caption.translate(_LINE_BREAKS) for caption in captions)
  for token in _lex(text):
    if token == '\n':
      lines.append([])
    else:
      lines[-1].append(token.lower())
  return [
    # A last e-mail address may end in a wide space; it goes with the line's.
    ' '.join(
      token
      for token in ' '.join(line).rstrip().split(' ')
      if token not in PUNCTUATION
    )
    for line in lines
  ]
