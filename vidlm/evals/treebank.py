"""Treebank tokens as the NExT-OE evaluation sees them (pywsd 1.2.4's).

Robert MacIntyre's sed script for the Penn Treebank with the additions of NLTK
3.3 and pywsd: an ordered list of substitutions that put spaces where tokens
end. NLTK's later tokenizers split other words, and so give another WUPS.
"""

import re

# Guillemets and curly quotes.
_OPEN, _CLOSE = '\u00ab\u201c\u2018\u201e', '\u00bb\u201d\u2019'
# What a full stop at the end may have behind it.
_BEHIND = r'\]\)}>"\''
_RULES = tuple(
  (re.compile(pattern), text)
  for pattern, text in (
    # Quotes that open.
    (rf'([{_OPEN}]|`+)', r' \1 '),
    (r'^"', '``'),
    ('(``)', r' \1 '),
    (r'([ (\[{<])("|\'\')', r'\1 `` '),
    # Punctuation; only the last full stop of a sentence is a token.
    (rf'([^.])(\.)([{_BEHIND}{_CLOSE} ]*)\s*$', r'\1 \2 \3 '),
    (r'([:,])(\D)', r' \1 \2'),
    ('([:,])$', r' \1 '),
    (r'\.\.\.', ' ... '),
    ('([;@#$%&])', r' \1 '),
    (rf'([^.])(\.)([{_BEHIND}]*)\s*$', r'\1 \2\3 '),
    ('([?!])', r' \1 '),
    (r"([^'])' ", r"\1 ' "),
    (r'([\]\[(){}<>])', r' \1 '),
    ('--', ' -- '),
    # Quotes that close, and contractions.
    (r'(?s)\A(.*)\Z', r' \1 '),
    (f'([{_CLOSE}]+)', r' \1 '),
    ('"', " '' "),
    (r"(\S)('')", r'\1 \2 '),
    (r"([^' ])('[sSmMdD]|') ", r'\1 \2 '),
    (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r'\1 \2 '),
    *(
      (rf'(?i)\b({first})({second})\b', r' \1 \2 ')
      for first, second in (
        ('can', 'not'),
        ('d', "'ye"),
        ('gim', 'me'),
        ('gon', 'na'),
        ('got', 'ta'),
        ('lem', 'me'),
        ('mor', "'n"),
      )
    ),
    (r'(?i)\b(wan)(na)\s', r' \1 \2 '),
    (r"(?i) ('t)(is)\b", r' \1 \2 '),
    (r"(?i) ('t)(was)\b", r' \1 \2 '),
  )
)
# Punkt's English model splits after these, unless what is before is a title or
# an initial; it is 10 MB to download, for answers of a few words.
_SENTENCE = re.compile(
  r'(?<=[.?!])(?<!\b[A-Za-z]\.)(?<!\b(?:mr|ms|dr|st)\.)(?<!\bmrs\.)\s+', re.I
)


def sentences(text: str) -> list[str]:
  """Splits a text into sentences; NExT-OE's answers have only one."""
  return [part for part in _SENTENCE.split(text) if part.strip()]


def tokenize(text: str) -> list[str]:
  """Returns the tokens of a text.

  Args:
    text: One or more sentences.
  """
  tokens = []
  for line in sentences(text):
    for pattern, replacement in _RULES:
      line = pattern.sub(replacement, line)
    tokens += line.split()
  return tokens
