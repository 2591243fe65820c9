"""Pairs in JSON and what language models take for it.

A parser reads it, not a pattern: JSON itself, Python's literals, and JSON with
commas too many, typographic quotes or names without quotes. What it holds
besides pairs must be known: numbers, kinds, ids, reasoning.
"""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

import ast
import json
from collections.abc import Iterator
from typing import Any

import regex

from vidlm.instruct import labels, markdown, verdicts

_STARTS = 32  # Brackets that are tried as the beginning.
_DEPTH = 12
_ABOUT = regex.compile(
  r'(?i)\b(?:ids?|index|idx|no|number|type|kind|category|categories|class|'
  r'difficulty|level|lang|language|locale|source|video|clip|model|version|'
  r'date|time|timestamp|start|end|duration|confidence|score|tags?|topic|task|'
  r'format|name|title|count|total|status|success|length|skills?|'
  r'captions?|description|metadata|meta|created|finish)\b'
)
_REASONING = regex.compile(
  r'(?i)think|thought|reason|rationale|analysis|explanation|justification|'
  r'scratch|chain|evidence|comment|notes?$'
)
_SPEAKERS = {
  'user': labels.QUESTION,
  'human': labels.QUESTION,
  'assistant': labels.ANSWER,
  'gpt': labels.ANSWER,
  'model': labels.ANSWER,
  'bot': labels.ANSWER,
}
_BARE_KEY = regex.compile(r'(?<=[{,]\s*)([\p{L}_][\p{L}\p{N}_ ]*)(?=\s*:)')
_START = regex.compile(r'(?<=^|[\s:：=`])[\[{(](?=\s*[\p{L}\[{("\'“}_/#\\])')
_SPARE_COMMA = regex.compile(r',(?=\s*[}\]])')
_REMARK = regex.compile(
  r'(?m)(?:^|(?<=[,{}\[\]]))\s*(?://[^\n"]*$|/\*[^"]*?\*/)'
)


def _unread(reason: verdicts.Reject = verdicts.Reject.NOT_UNDERSTOOD):
  return verdicts.UnreadError(reason)


def _variants(text: str) -> Iterator[Any]:
  """Yields what a whole text is by each reader that takes it."""
  plain = text.translate(str.maketrans('“”„', '"""'))
  spared = _SPARE_COMMA.sub('', _REMARK.sub('', text))
  for variant in (spared, _SPARE_COMMA.sub('', plain)):
    yield lambda variant=variant: json.loads(variant, strict=False)
  yield lambda: ast.literal_eval(text)
  yield lambda: json.loads(spared.replace('\\"', '"'), strict=False)
  yield lambda: json.loads(_BARE_KEY.sub(r'"\1"', spared), strict=False)
  yield lambda: ast.literal_eval(_BARE_KEY.sub(r"'\1'", text))


def _loose(text: str) -> Any:
  """Reads a whole text that is JSON to people; None if it isn't."""
  for read in _variants(text):
    try:
      return read()
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
      continue
  return None


def string(text: str) -> str | None:
  """Returns the text of a completion that is one JSON string, named or not."""
  bare = text.strip()
  if bare[:1] + bare[-1:] not in ('""', '{}'):
    return None
  try:
    value = json.loads(bare, strict=False)
  except (ValueError, RecursionError):
    return None
  if isinstance(value, dict) and len(value) == 1:
    name, value = next(iter(value.items()))
    if labels.named(name) or name.rstrip().endswith(('?', '？')):
      return None
  return value if isinstance(value, str) else None


def _parse(text: str, start: int) -> tuple[Any, int] | None:
  """Returns the value that begins there, and where it ends."""
  try:
    return json.JSONDecoder(strict=False).raw_decode(text, start)
  except (ValueError, RecursionError):
    pass
  ends = ')' if text[start] == '(' else '}]'
  end = max(text.rfind(mark) for mark in ends) + 1
  if end <= start or end - start > 20000:
    return None
  value = _loose(text[start:end])
  return None if value is None else (value, end)


def _plain(value: Any) -> str | None:
  """Returns the text of a value that can be a question or an answer."""
  if isinstance(value, bool):
    return None
  if isinstance(value, list | tuple) and len(value) == 1:
    return _plain(value[0])
  if isinstance(value, int | float):
    return str(value)
  if isinstance(value, str):
    return markdown.clean(value)
  if isinstance(value, dict) and len(value) == 1:
    key, inside = next(iter(value.items()))
    if str(key).lower() in ('text', 'content', 'value'):
      return _plain(inside)
  return None


def _texts(value: Any) -> list[str]:
  many = value if isinstance(value, list | tuple) else [value]
  texts = [_plain(one) for one in many]
  return [text for text in texts if text is not None]


def _about(key: str, value: Any) -> bool:
  """Whether a member tells of the pair and is no part of it."""
  words = regex.sub(r'(?<=[a-z])(?=[A-Z])|[_\s-]+', ' ', key)
  if value is None or isinstance(value, bool | int | float):
    return True
  if _REASONING.search(words):
    return True
  return bool(_ABOUT.search(words)) and not isinstance(value, dict)


def _of_dict(value: dict[Any, Any], depth: int) -> Iterator[verdicts.Pair]:
  told: dict[tuple[str, str], list[str]] = {}
  rest = {}
  for key, inside in value.items():
    role = labels.named(str(key))
    if role and not _holds_pairs(inside):
      told[role] = _texts(inside)
      if not told[role] or (role[0] == labels.QUESTION and _number(inside)):
        raise _unread(verdicts.Reject.NO_QUESTION)
    else:
      rest[str(key)] = inside
  numbers = dict.fromkeys(number for _, number in told)
  for number in numbers:
    questions = told.get((labels.QUESTION, number), [])
    answers = told.get((labels.ANSWER, number), [])
    if not questions or len(questions) != len(answers):
      missing = questions and not answers
      raise _unread(
        verdicts.Reject.NO_ANSWER if missing else verdicts.Reject.NO_QUESTION
      )
    yield from map(verdicts.Pair, questions, answers)
  for key, inside in rest.items():
    if isinstance(inside, str) and key.rstrip().endswith(('?', '？')):
      yield verdicts.Pair(markdown.clean(key), markdown.clean(inside))
    elif not told and isinstance(inside, dict | list | tuple):
      if not _REASONING.search(key):
        yield from _of(inside, depth + 1)
    elif not _about(key, inside):
      raise _unread()


def _number(value: Any) -> bool:
  return isinstance(value, int | float)


def _holds_pairs(value: Any) -> bool:
  """Whether a member named 'answer' is a box of pairs."""
  many = value if isinstance(value, list | tuple) else [value]
  return any(
    isinstance(one, dict) and any(labels.named(str(key)) for key in one)
    for one in many
  )


def _turn(row: Any) -> tuple[str, str] | None:
  """Returns role and text of a turn of a conversation, or of half a pair."""
  if not isinstance(row, dict):
    return None
  row = {str(key).lower(): item for key, item in row.items()}
  speaker = str(
    row.get('role', row.get('from', row.get('speaker', '')))
  ).lower()
  text = _plain(row.get('content', row.get('value', row.get('text'))))
  if speaker in _SPEAKERS and text:
    return _SPEAKERS[speaker], text
  named = [(labels.named(key), item) for key, item in row.items()]
  (role, item), *more = named if named else [(None, None)]
  if role and not more and _plain(item):
    return role[0], _plain(item) or ''
  return None


def _of_list(rows: Any, depth: int) -> Iterator[verdicts.Pair]:
  turns = [_turn(row) for row in rows]
  told = [turn for turn in turns if turn]
  if told and len(told) == len(turns):
    if [role for role, _ in told] != [labels.QUESTION, labels.ANSWER] * (
      len(told) // 2
    ):
      raise _unread()
    texts = [text for _, text in told]
    yield from map(verdicts.Pair, texts[::2], texts[1::2])
    return
  if [type(row) for row in rows] == [str, str] and rows[0].rstrip().endswith(
    ('?', '？')
  ):
    yield verdicts.Pair(markdown.clean(rows[0]), markdown.clean(rows[1]))
    return
  for row in rows:
    if not isinstance(row, dict | list | tuple):
      raise _unread()
    yield from _of(row, depth + 1)


def _of(value: Any, depth: int) -> Iterator[verdicts.Pair]:
  if depth > _DEPTH:
    raise _unread()
  if isinstance(value, dict):
    yield from _of_dict(value, depth)
  else:
    yield from _of_list(value, depth)


def _scalars(value: Any) -> bool:
  """Whether a value is a list without anything to read, such as '[1]'."""
  return isinstance(value, list | tuple | set) and not any(
    isinstance(one, dict | list | tuple) for one in value
  )


def read(text: str) -> list[verdicts.Pair] | None:
  """Returns the pairs of a completion that is JSON, chatter before it apart.

  Args:
    text: A completion without tags.

  Returns:
    The pairs; None if it is no JSON.

  Raises:
    UnreadError: If the JSON holds more than pairs, or something follows it.
  """
  for tried, found in enumerate(_START.finditer(text)):
    if tried >= _STARTS:
      return None
    parsed = _parse(text, found.start())
    if parsed is None or not isinstance(parsed[0], dict | list | tuple):
      continue
    if _scalars(parsed[0]) and len(parsed[0]) != 2:
      continue
    if any(labels.at_start(line) for line in text[: found.start()].split('\n')):
      only = [
        line for line in text[: found.start()].split('\n') if line.strip()
      ]
      if not all(label_alone(line) for line in only):
        return None
    return _all(text, parsed)
  return None


def label_alone(line: str) -> bool:
  """Whether a line is a label and no more, such as 'Answer:'."""
  label = labels.at_start(line)
  return label is None or not line[label.end :].strip(' *_`')


def _all(text: str, parsed: tuple[Any, int]) -> list[verdicts.Pair]:
  value, end = parsed
  pairs = list(_of(value, 0))
  rest = markdown.FENCE.sub('', text[end:])
  rest = regex.sub(r'^[`;,\s]+', '', rest)
  while rest:
    following = _parse(rest, 0) if rest[0] in '[{' else None
    if following is None:
      raise _unread(verdicts.Reject.CHATTER)
    pairs += _of(following[0], 0)
    rest = regex.sub(r'^[`;,\s]+', '', rest[following[1] :])
  if not pairs:
    raise _unread(verdicts.Reject.NO_QUESTION)
  return pairs
