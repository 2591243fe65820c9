"""Tags of all kinds in a completion: reasoning goes, roles become labels.

`<think>`, `[THINK]`, `<|begin_of_thought|>`, `◁think▷` and what the next model
invents are one thing: a name in brackets, opened and closed. What is closed and
no part of a pair is dropped; what is opened and never closed is not understood.
"""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

import dataclasses
import html

import regex

from vidlm.instruct import labels, verdicts, words

# Put where a tag said 'question', 'answer' or the end of either.
QUESTION_MARK, ANSWER_MARK, END_MARK = '\ue000', '\ue001', '\ue002'
MARKS = QUESTION_MARK + ANSWER_MARK + END_MARK

_MOST = 200  # Tags in one completion.
_ANY = regex.compile(r'[<◁]|[\[【{]/|\[\|')
_TOKEN = regex.compile(
  r'<(?P<left>[|｜]?)(?P<slash>/?)(?P<name>[\p{L}_][\p{L}\p{N}_:.▁-]{0,60})'
  r'(?:\s+[\p{L}:_-]+\s*=\s*(?:"[^"<>]*"|\'[^\'<>]*\'|[^\s<>"\']+))*'
  r'\s*(?P<empty>/?)(?P<right>[|｜]?)>'
  r'|\[(?P<slash>/?)(?P<square>[\p{L}_][\p{L}\p{N}_ -]{0,40})\]'
  r'|【(?P<slash>/?)(?P<square>[\p{L}_][\p{L}\p{N}_ -]{0,40})】'
  r'|\[\|(?P<slash>/?)(?P<name>[\p{L}_]{1,40})\|\]'
  r'|◁(?P<slash>/?)(?P<name>[\p{L}_ ]{1,40})▷'
  r'|\{(?P<slash>/?)(?P<square>[\p{L}_][\p{L}_ -]{0,40})\}'
)
_REASONING = words.search_for('reasoning_tags')
_INLINE = frozenset(words.lines('inline_tags'))
_BLOCK = frozenset(words.lines('block_tags'))
_WRAPPER = words.search_for('wrapping_tags', r'\b{}\b')
# Of chat templates: nothing stands before a first or behind a last one.
_CONTROL = words.search_for('template_tags', '^{}$')
_HARMONY = regex.compile(
  r'(?s)(?:<\|start\|>\s*\w+\s*)?<\|channel\|>\s*(?P<channel>\w+)[^<]*'
  r'<\|message\|>(?P<body>.*?)(?P<end><\|(?:end|return|call)\|>|(?=<\|start\|>)'
  r'|(?=<\|channel\|>)|\Z)'
)
# Reasoning that words alone open and close.
_SPOKEN = tuple(
  (regex.compile(rf'(?i)\A\s*{opens}'), regex.compile(rf'(?i){closes}'))
  for opens, closes in (
    (r'thinking\s*(?:\.\.\.|…)', r'(?:\.\.\.|…)\s*done thinking\.?'),
    (
      r"\**here(?:'s| is) my (?:thought process|thinking|reasoning)\s*[:.]\**",
      r"\**here(?:'s| is) my (?:final )?(?:response|answer|output)\s*[:.]\**",
    ),
    (r'analysis(?=[A-Z])', r'assistant(?:commentary.*?assistant)?final'),
  )
)
_REMARK = regex.compile(r'(?s)<!--.*?-->')
_UNUSED = {'unused94': (True, 'thought'), 'unused95': (False, 'thought')}


@dataclasses.dataclass(frozen=True)
class _Tag:
  start: int
  end: int
  stem: str
  opens: bool
  closes: bool
  square: bool
  letters: bool = False  # 'q' and 'a' are roles only beside each other.

  @property
  def reasoning(self) -> bool:
    return bool(_REASONING.search(self.stem))

  @property
  def role(self) -> tuple[str, str] | None:
    if len(self.stem) == 1 and not (self.letters and self.stem in 'qa'):
      return None
    return labels.named(self.stem)


def _tag(found: regex.Match) -> _Tag:
  square = found['square'] is not None
  name = (found['square'] if square else found['name']).lower()
  parts = [word for word in regex.split(r'[\s_:.▁-]+', name) if word] or ['_']
  opens, closes = not found['slash'], bool(found['slash'])
  left, right = bool(found['left']), bool(found['right'])
  if name in _UNUSED:
    opens, parts = _UNUSED[name][0], [_UNUSED[name][1]]
    closes = not opens
  elif parts[0] in ('begin', 'start', 'end', 'stop') and len(parts) > 1:
    closes = parts[0] in ('end', 'stop')
    opens, parts = not closes, parts[1 + (parts[1] == 'of') :] or parts
  elif parts[-1] in ('begin', 'start', 'end', 'stop') and len(parts) > 1:
    if parts != ['im', 'start'] and parts != ['im', 'end']:
      closes = parts[-1] in ('end', 'stop')
      opens, parts = not closes, parts[:-1]
  elif right and not left:  # as in <|channel>thought ... <channel|>
    opens, closes = False, True
  if found['empty']:
    opens = closes = True
  stem = ' '.join(parts)
  return _Tag(found.start(), found.end(), stem, opens, closes, square)


def _tags(text: str) -> list[_Tag]:
  """Returns the tags; a word in square brackets needs a partner to be one."""
  if not any(mark in text for mark in '<[【◁{'):
    return []
  tags = [_tag(found) for found in _TOKEN.finditer(text)]
  closed = {tag.stem for tag in tags if tag.closes}
  letters = {'q', 'a'} <= closed
  return [
    dataclasses.replace(tag, letters=letters)
    for tag in tags
    if not tag.square
    or tag.stem in closed
    or (tag.reasoning and regex.match(r'\[[A-Z]+\]', text[tag.start : tag.end]))
    or tag.stem == 'inst'
  ]


def _match(tags: list[_Tag]) -> dict[int, int]:
  """Returns the index of the closing tag of each that is closed."""
  partner: dict[int, int] = {}
  waiting: dict[str, list[int]] = {}
  for i, tag in enumerate(tags):
    if tag.opens and tag.closes:
      partner[i] = i
    elif tag.opens:
      waiting.setdefault(tag.stem, []).append(i)
    elif waiting.get(tag.stem):
      partner[waiting[tag.stem].pop()] = i
  return partner


def _without_remarks(text: str) -> str:
  text = _REMARK.sub('', text)
  if '<!--' in text:
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  return text


def _without_spoken(text: str) -> str:
  for opens, closes in _SPOKEN:
    if opens.match(text):
      ends = [found.end() for found in closes.finditer(text)]
      if not ends:
        raise verdicts.UnreadError(verdicts.Reject.TRUNCATED)
      text = text[ends[-1] :]  # Reasoning may cite what closes it.
  return text


def _without_channels(text: str) -> str:
  """Keeps the final channel of a reply in OpenAI's harmony format."""
  if '<|channel|>' not in text:
    return text
  kept, position = [], 0
  for found in _HARMONY.finditer(text):
    kept.append(text[position : found.start()])
    position = found.end()
    if found['channel'] == 'final':
      kept.append(found['body'])
    elif not found['end']:
      raise verdicts.UnreadError(verdicts.Reject.TRUNCATED)
  kept.append(text[position:])
  return '\n\n'.join(part for part in kept if part.strip())


def _without_elements(text: str) -> str:
  """Drops closed reasoning, and all before a closing tag without opening."""
  tags = _tags(text)
  partner = _match(tags)
  closing = set(partner.values())
  pieces, position = [], 0
  for i, tag in enumerate(tags):
    if tag.start < position or not tag.reasoning:
      continue
    if i in partner:
      pieces.append(text[position : tag.start])
      position = tags[partner[i]].end
    elif tag.opens:
      raise verdicts.UnreadError(verdicts.Reject.TRUNCATED)
    elif i not in closing:
      pieces, position = [], tag.end
  return '\n'.join([*pieces, text[position:]]) if position else text


def _control(tag: _Tag) -> bool:
  return bool(_CONTROL.match(tag.stem))


def _without_strangers(text: str) -> str:
  """Drops closed elements of unknown name that stand before any pair."""
  tags = _tags(text)
  partner = _match(tags)
  closing = set(partner.values())
  kept, position = '', 0
  for i, tag in enumerate(tags):
    if tag.start < position or _known(tag):
      continue
    if i not in partner and i not in closing:
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
    if i in closing:
      continue
    before = kept + text[position : tag.start]
    end = tags[partner[i]].end
    if has_labels(before):
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
    inside = text[tag.end : tags[partner[i]].start]
    if text[end:].strip() or not any(t.role for t in _tags(inside)):
      kept, position = before + '\n', end
  return kept + text[position:]


def _known(tag: _Tag) -> bool:
  return bool(
    tag.stem in _INLINE
    or tag.stem in _BLOCK
    or tag.role
    or _control(tag)
    or _WRAPPER.search(tag.stem)
  )


def has_labels(text: str) -> bool:
  """Whether any line is labelled, or a tag names a role."""
  return any(labels.at_start(line) for line in text.splitlines()) or any(
    tag.role for tag in _tags(text)
  )


def _as_labels(text: str) -> str:
  """Puts marks in the place of tags that name roles, drops the other tags."""
  tags = _tags(text)
  partner = _match(tags)
  wraps = {
    i
    for i, end in partner.items()
    if _wraps(text[tags[i].end : tags[end].start])
  }
  ends = {partner[i] for i in wraps}
  out, position = [], 0
  for i, tag in enumerate(tags):
    out.append(text[position : tag.start])
    position = tag.end
    if tag.role and i not in wraps and i not in ends:
      out.append(_mark(tag))
    elif _control(tag) or tag.stem == 'hr':
      out.append('\n\n')
    elif tag.stem not in _INLINE:
      out.append('\n')
  return ''.join([*out, text[position:]])


def _mark(tag: _Tag) -> str:
  if tag.closes:
    return f'\n{END_MARK}\n'
  role, number = tag.role or ('', '')
  mark = QUESTION_MARK if role == labels.QUESTION else ANSWER_MARK
  return f'\n{mark}{number}\n'


def _wraps(inside: str) -> bool:
  """Whether an element holds whole pairs, and not a question or an answer."""
  return has_labels(inside) or bool(
    regex.match(r'\s*(?:```\w*\s*)?[\[{]\s*["\'{\[]', inside)
  )


def without_reasoning(text: str) -> str:
  """Drops what a model thought before, or after, it answered.

  Raises:
    UnreadError: If reasoning isn't closed.
  """
  if any(mark in text for mark in MARKS):
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  text = _without_channels(_without_spoken(_without_remarks(text)))
  return _without_elements(text)


def without_tags(text: str) -> str:
  """Returns a text with marks where tags named a role, and no tags.

  Raises:
    UnreadError: If a tag that is no decoration isn't closed, or stands behind
      a label.
  """
  if not _ANY.search(text):
    return text
  if len(_tags(text)) > _MOST:
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  return html.unescape(_as_labels(_without_strangers(text)))
