"""Whether a pair that was read is one to learn from: by its words.

A word counts as what it is in its sentence. 'Egg' is no copy where the caption
tells of eggs; 'the captions on the screen' are things of the video; who asks
what a man says may be told that he is sorry.
"""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

import functools

import regex

from vidlm.instruct import markdown, prompts, words
from vidlm.instruct.verdicts import Pair, Reject

SHORT_WORDS = 3  # Table 7 says less than three, section 5.4 one to three.
_COPIED_SHARE = 0.9  # Of the caption's words, in order, in the answer.
_COPIED_WORDS = 6  # A shorter caption may well be the answer.

_ABLE = (
  r"(?:can(?:no|')t|can ?not|could(?: not|n't)|won't|will not|"
  r"(?:am|'m) (?:unable|not able|not allowed|not permitted) to|"
  r"do(?: not|n't) have|must decline to|have to decline to|"
  r'(?:do|am) not (?:feel )?(?:comfortable|going to))'
)
_SEEN = (
  r'(?:videos?|images?|clips?|pictures?|footage|frames?|files?|links?|urls?|'
  r'media|contents?|captions?|descriptions?)'
)
_ASSISTANT = words.search_for('assistant', able=_ABLE, seen=_SEEN)
_REFUSAL = words.search_for('refusal', able=_ABLE)
_SPEECH = words.search_for('speech', r'\b{}\b')
# 'The captions on the screen' are no source.
_THERE = (
  r'(?!\s+(?:\w+\s+){0,2}?(?:on|at|under|below|above|beneath|over|across|inside|'
  rf'near|around|in|of|for|to)\s+(?:\w+\s+){{0,3}}?{words.any_of("there")}\b)'
)
_TELLS = (
  r'(?:says?|said|mentions?|mentioned|states?|stated|describes?|described|tells?|'
  r'told|notes?|indicates?|suggests?|provides?|gives?|implies|imply|specif(?:y|'
  r'ies)|reads?)'
)
_LEAK = words.search_for(
  'leak',
  source=r'(?:captions?|descriptions?|narrations?|narratives?)',
  tells=_TELLS,
  there=_THERE,
)
_LEAK_WORDS = regex.compile(
  r'(?i)\b(?:captions?|descriptions?|narrations?|narratives?|texts?|sentences?|'
  r'passages?|paragraphs?|statements?)\b'
)
_TO_USER = words.search_for('chatter', r'^\W*{}')
_SECOND_THOUGHT = words.search_for('second_thoughts', r'^\W*{}')
_OPEN_END = regex.compile(r'(?:[:：;,]|->|=>|→|---?)\s*$')
_OF_TASK = words.search_for('task', r'\b{}\b')
_TASK = regex.compile(
  r'(?i)\b(?:questions?|pairs?|qas?|examples?|captions?|prompts?|another one)\b'
)
_SENTENCES = regex.compile(
  r'(?<=[.!?。！？…]["\'”’)]{0,3})\s+|(?<=[。！？])|\s+(?=\()'
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
_NOTHING = regex.compile(
  r'(?i)(?:n ?a|null|undefined|tbd|todo|question|answer|(?:insert |your |the )'
  r'(?:your |the )?(?:question|answer)(?: goes| text)?(?: here)?)'
)
_WORD = regex.compile(r'[\p{L}\p{M}\p{N}]+')
_QUOTED = regex.compile(r'"[^"]*"|“[^”]*”|«[^»]*»|「[^」]*」')
_FUNCTION_WORDS = frozenset(' '.join(words.lines('function_words')).split())


def bare(text: str) -> str:
  """Keeps lower case letters and digits only: for comparing."""
  return ' '.join(_WORD.findall(text.lower()))


@functools.lru_cache(100_000)
def _stem(word: str) -> str:
  """Drops the endings that grammar asks for: eggs, egg's, carried, throwing."""
  for ending, instead in (
    ('ies', 'y'), ('sses', 'ss'), ('shes', 'sh'), ('ches', 'ch'), ('xes', 'x'),
    ('ied', 'y'), ('ing', ''), ('ed', ''), ('es', ''), ('s', ''), ('e', ''),
  ):  # fmt: skip
    if word.endswith(ending) and len(word) - len(ending) >= 3:
      if ending in ('s', 'es') and word.endswith('ss'):
        continue
      word = word[: len(word) - len(ending)] + instead
      if len(word) > 3 and word[-1] == word[-2] and ending in ('ing', 'ed'):
        word = word[:-1]
      return word[:-1] if len(word) > 3 and word[-1] == 'e' else word
  return word


def stems(text: str) -> list[str]:
  """Returns the stems of a text's words in order."""
  return [_stem(word) for word in bare(text).split()]


def _content(text: str) -> set[str]:
  return {
    _stem(word) for word in bare(text).split() if word not in _FUNCTION_WORDS
  }


def goes_on(before: str, line: str, caption: str) -> bool:
  """Whether a line tells more of what a text and the caption tell of."""
  if _OF_TASK.search(line):
    return False
  return bool(_content(line) & _content(f'{caption} {before}'))


def _common_in_order(one: list[str], other: list[str]) -> int:
  """Returns how many words of one are, in order, in the other."""
  row = [0] * (len(other) + 1)
  for word in one:
    last = 0
    for j, there in enumerate(other, 1):
      last, row[j] = (
        row[j],
        last + 1 if word == there else max(row[j], row[j - 1]),
      )
  return row[-1]


def copied_caption(text: str, caption: str) -> bool:
  """Whether a text is the whole caption, given back."""
  if bare(text) == bare(caption) and len(caption.split()) >= _COPIED_WORDS:
    return True
  told, source = (
    [_stem(word) for word in bare(one).split() if word not in _FUNCTION_WORDS]
    for one in (text[:10000], caption[:10000])
  )
  if len(source) < _COPIED_WORDS or len(told) < _COPIED_SHARE * len(source):
    return False
  return _common_in_order(source, told) >= _COPIED_SHARE * len(source)


def _within(thing: list[str], told: list[str]) -> bool:
  size = len(thing)
  return any(told[i : i + size] == thing for i in range(len(told) - size + 1))


@functools.cache
def _examples(kind: str) -> list[tuple[set[str], str]]:
  return [
    (_content(shot.caption), bare(shot.question))
    for shot in prompts.few_shots(kind)
  ]


@functools.cache
def _things() -> list[list[str]]:
  return [stems(thing) for thing in _EXAMPLE_THINGS]


def _copied_example(pair: Pair, kind: str, caption: str) -> bool:
  """Whether a pair is about an example of the prompt, not about the caption."""
  known = set(stems(caption))
  question = bare(pair.question)
  for scene, asked in _examples(kind):
    if len(scene & known) >= 0.5 * len(scene):
      return False  # It is that video.
    if question == asked:
      return True
  told = [*stems(pair.question), *stems(pair.answer)]
  return any(
    _within(thing, told) and not known.issuperset(thing) for thing in _things()
  )


def leaks(text: str, caption: str = '') -> bool:
  """Whether a text speaks of the caption; a caption may speak of captions."""
  found = _LEAK.search(text)
  known = set(stems(caption)) if found else set()
  while found:
    named = _LEAK_WORDS.findall(found[0])
    if not named or any(_stem(word.lower()) not in known for word in named):
      return True
    found = _LEAK.search(text, found.end())
  return False


def refuses(pair: Pair) -> bool:
  """Whether an answer, or a question, is an assistant's refusal."""
  if refused(pair.question) or _ASSISTANT.search(pair.answer):
    return True
  return not _SPEECH.search(pair.question) and refused(pair.answer)


def refused(text: str) -> bool:
  """Whether a text is a refusal, whatever it was asked."""
  text = text.strip().replace('\u2019', "'")
  return bool(_ASSISTANT.search(text) or _REFUSAL.search(text))


def _chats(text: str, of_speech: bool) -> bool:
  """Whether a text holds words to whoever asked; speech only of the task."""
  parts = _SENTENCES.split(_QUOTED.sub('', text))
  found = [part for part in parts if part and _TO_USER.search(part)]
  if any(not of_speech or _TASK.search(part) for part in found):
    return True
  # Behind its first sentence, and what leads on to nothing.
  later = () if of_speech else parts[1:]
  return bool(_OPEN_END.search(text)) or any(
    _SECOND_THOUGHT.search(part) for part in later if part
  )


def judge(pair: Pair, kind: str, caption: str, cut: bool) -> Reject | None:
  """Returns why a pair is rejected, None if it isn't.

  Args:
    pair: As read.
    kind: One of `prompts.KINDS`.
    caption: What it is about.
    cut: Whether a limit of tokens ended the completion.
  """
  cut = cut and pair.ends_text
  question, answer = bare(pair.question), bare(pair.answer)
  if not pair.answer:
    if not pair.question:
      return Reject.EMPTY
    return Reject.TRUNCATED if cut else Reject.NO_ANSWER
  if not question or _NOTHING.fullmatch(question) or question == 'none':
    return Reject.NO_QUESTION
  if not answer or _NOTHING.fullmatch(answer):
    return Reject.NO_ANSWER
  if refuses(pair):
    return Reject.REFUSAL
  if cut and not markdown.complete(pair.answer):
    return Reject.TRUNCATED
  if question == answer:
    return Reject.SAME
  if leaks(pair.question, caption) or leaks(pair.answer, caption):
    return Reject.LEAK
  of_speech = bool(_SPEECH.search(pair.question))
  if any(_chats(text, of_speech) for text in (pair.question, pair.answer)):
    return Reject.CHATTER
  return _copied(pair, kind, caption)


def _copied(pair: Pair, kind: str, caption: str) -> Reject | None:
  if _copied_example(pair, kind, caption):
    return Reject.COPIED_FEWSHOT
  if kind == 'short' and len(pair.answer.split()) > SHORT_WORDS:
    return Reject.TOO_LONG_SHORT_ANSWER
  if copied_caption(pair.answer, caption) or (
    bare(pair.question) == bare(caption)
  ):
    return Reject.COPIED_CAPTION
  return None
