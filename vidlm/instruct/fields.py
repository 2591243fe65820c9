"""From labelled sections to pairs: every line is part of one, or refused."""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

from collections.abc import Callable, Sequence

import regex

from vidlm.instruct import labels, markdown, sections, verdicts
from vidlm.instruct.sections import Section

# 'Explanation:', 'Note (1):' at the start of a line: another label.
_OTHER_LABEL = regex.compile(
  r'^[\s>*_#`\-•(\[【]*'
  r'\p{L}[\p{L}\p{N} /&-]{0,40}(?:\([^)]*\))?[*_`\])】]*\s*[:：]'
)
_LEFT_COLON = ':： '  # Behind '<question>', which is no tag but a label.
_MOST_LINES = 40  # Of one question or answer.
_SMALL = regex.compile(r'^["“«„\'(]?[\p{Ll}\p{Lo}\p{N}]')
_OPTION = regex.compile(r'^\s*\(?[A-Za-z][.)]\s')
Same = Callable[[str, str], bool]


def _unread(reason: verdicts.Reject = verdicts.Reject.NOT_UNDERSTOOD):
  return verdicts.UnreadError(reason)


def _paragraphs(lines: Sequence[str]) -> list[list[str]]:
  """Returns the lines between blank ones; lines that only fence are blank."""
  found: list[list[str]] = [[]]
  for line in lines:
    bare = line.strip()
    if bare and not markdown.FENCE.match(line):
      found[-1].append(bare)
    elif found[-1]:
      found.append([])
  return [part for part in found if part]


def _quoted(lines: Sequence[str]) -> bool:
  return all(line.lstrip().startswith('>') for line in lines if line.strip())


def _continues(line: str, before: str, same: Same) -> bool:
  """Whether a line goes on with the text before it.

  A line that was merely wrapped does: what is before it ends no sentence, and
  it begins with a small letter. Another one must speak of the same things.
  """
  if _OTHER_LABEL.match(line) or _OPTION.match(line):
    return False
  if regex.match(r'[(\[{<|#=*_~-]', line) or markdown.BULLET.match(line):
    return False
  wrapped = not markdown.ends_sentence(before) and bool(_SMALL.match(line))
  return wrapped or same(before, line)


def _listed(lines: Sequence[str], same: Same) -> list[str] | None:
  """Returns the items if all lines, a first one that ends in ':' apart, are."""
  lead = list(lines[:1]) if lines[0].endswith((':', '：')) else []
  items = lines[len(lead) :]
  if len(items) < 2 or not all(markdown.BULLET.match(line) for line in items):
    return None
  if len({line.lstrip('( ')[0].isdigit() for line in items}) > 1:
    return None
  bare = [regex.sub(r'^\s*[-*+•▪◦‣–—]\s+', '', line) for line in items]
  whole = ' '.join(bare)
  if any(_OTHER_LABEL.match(line) or not same(whole, line) for line in bare):
    return None
  return lead + bare


def _joined(lines: Sequence[str], role: str, same: Same) -> str:
  """Joins the lines of one text.

  Raises:
    UnreadError: If a line is no part of it.
  """
  listed = _listed(lines, same) if role == labels.ANSWER else None
  if listed is not None:
    return ' '.join(listed)
  if len(lines) > _MOST_LINES:
    raise _unread()
  text = lines[0]
  if len(lines) > 1 and markdown.BULLET.match(text):
    raise _unread()
  for line in lines[1:]:
    ends = markdown.ends_sentence(text)
    if not _continues(line, text, same) or (ends and not same('', text)):
      raise _unread(verdicts.Reject.CHATTER)
    text = f'{text} {line}'
  return text


def _text(section: Section, same: Same) -> str:
  """Returns the text of a section, all of it, or refuses it."""
  lines = section.lines
  if _quoted(lines):
    lines = [line.lstrip(' \t>') for line in lines]
  # YAML's signs for texts of several lines.
  if lines and lines[0].strip() in ('>', '|', '>-', '|-'):
    lines = lines[1:]
  parts = _paragraphs(lines)
  if not parts:
    return ''
  if section.tagged:
    parts = [[line for part in parts for line in part]]
  if len(parts) > 1:
    raise _unread(verdicts.Reject.CHATTER)
  text = _joined(parts[0], section.role, same).lstrip(_LEFT_COLON)
  if section.alone and len(parts[0]) == 1:
    text = markdown.BULLET.sub('', text)
  return markdown.clean(_unlisted(text))


def _unlisted(text: str) -> str:
  """Drops what JSON and YAML write around a text without braces."""
  found = regex.fullmatch(r'\s*"((?:[^"\\]|\\.)*)"\s*,?\s*', text)
  return found[1] if found else text


def _without_label(section: Section) -> tuple[Section, Section] | None:
  """Splits 'Question: What is it?' from the answer on the line below."""
  parts = _paragraphs(section.lines)
  lines = [line for part in parts for line in part]
  if len(lines) < 2 or section.tagged:
    return None
  first = lines[0].rstrip(' *_`"”')
  if not first.endswith(('?', '？', '؟')):
    return None
  rest = [line for line in section.lines if line.strip()]
  position = section.lines.index(rest[0])
  question = Section(section.role, section.number, [rest[0]], True)
  answer = Section(
    labels.ANSWER, section.number, section.lines[position + 1 :], section.closed
  )
  return question, answer


def _check_letters(question: Section, answer: Section) -> None:
  """One letter is a label beside the other letter of a language only."""
  ours, theirs = question.letter, answer.letter
  if ours and theirs and (ours, theirs) not in labels.LETTER_PAIRS:
    raise _unread()
  if bool(ours) != bool(theirs) and (ours or 'q', theirs or 'a') != ('q', 'a'):
    raise _unread()


def _order(found: Sequence[Section]) -> list[tuple[Section, Section | None]]:
  """Lays each answer beside its question.

  Raises:
    UnreadError: If there is more than one way to.
  """
  pairs: list[tuple[Section, Section | None]] = []
  waiting: list[Section] = []
  for section in found:
    if section.role == labels.QUESTION:
      split = _without_label(section) if len(found) == 1 else None
      if split:
        pairs.append(split)
      else:
        waiting.append(section)
    elif len(waiting) == 1:
      pairs.append((waiting.pop(), section))
    elif waiting:
      match = [q for q in waiting if q.number and q.number == section.number]
      if len(match) != 1:
        raise _unread()
      waiting.remove(match[0])
      pairs.append((match[0], section))
    elif not any(line.strip() for line in section.lines):
      continue  # 'Answer:' above a whole pair
    elif pairs:
      raise _unread()
    else:
      pairs.append((Section(labels.QUESTION), section))
  if len(waiting) > 1 or (waiting and waiting[0] is not found[-1]):
    raise _unread()
  return pairs + [(question, None) for question in waiting]


def read(text: str, same: Same) -> list[verdicts.Pair]:
  """Returns the pairs of labelled lines in order.

  Args:
    text: A completion without tags.
    same: Whether the second text speaks of what the first is about.

  Returns:
    The pairs, a last one without an answer included; none without a label.

  Raises:
    UnreadError: If anything behind the first label is no part of a pair.
  """
  lead, *found = sections.cut(text)
  if not found:
    return []
  if any(line.rstrip().endswith(('{', '[')) for line in lead.lines[-1:]):
    raise _unread()
  pairs: list[verdicts.Pair] = []
  for question, answer in _order(found):
    if answer is None:
      # A limit of tokens, or a base model that goes on: nobody's answer.
      told = '' if pairs else _text(question, same)
      if told or not pairs:
        pairs.append(verdicts.Pair(told, '', True))
      continue
    _check_letters(question, answer)
    pairs.append(
      verdicts.Pair(
        _text(question, same),
        _text(answer, same),
        not answer.closed,
      )
    )
  return pairs
