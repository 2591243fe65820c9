"""Cuts a completion of labelled lines into sections: lead, questions, answers.

A section begins at a label and ends at the next one, at a rule, at a heading of
pairs, or where a base model goes on with the prompt's own template.
"""
# ruff: noqa: RUF001 (marks of other scripts are read, too)

import dataclasses
from collections.abc import Iterator

import regex

from vidlm.instruct import labels, markdown, tags, verdicts

# What the prompts' template goes on with behind a pair.
_TEMPLATE = regex.compile(
  r'(?i)^\s*(?:\(\d+\)\s*(?:captions?\s*[:：].*)?|captions?\s*[:：].*'
  r'|generated qa\b.*)$'
)
_QA_PAIR = (
  r'(?:q\s*(?:&|/|and|\+|-)?\s*as?|question\s*(?:&|/|and|\+|[-–])?\s*answers?)'
  r'(?:\s+pairs?)?'
)
# 'QA pair 2:', '**Example 1**', '2.'
_HEADING = regex.compile(
  r'(?i)^[\s>*_#`\[(]*(?:(?:the|a|one|generated|temporal|causal|short|reasoning|'
  r'first|second|third|next|another)\s+){0,4}(?:'
  rf'{_QA_PAIR}|pair|example|item|set|sample|option|alternative|version)?'
  r'\s*[#№]?\s*(?:\d{1,3}|[a-c](?=\W*$))?[\s*_`:：.)\]#]*$'
)
_THOUGHTS = regex.compile(
  r'(?i)^[\s>*_#`\[(【]*(?:(?:my|the|initial|step-by-step|internal|first)\s+){0,2}'
  r'(?:thinking|thoughts?|reasoning|thought process|chain[- ]of[- ]thought|'
  r'analysis|scratch ?pad|drafts?|brainstorm(?:ing)?|planning|rationale|'
  r'thinking process|reasoning process|思考|推理|分析|überlegung|gedanken|'
  r'réflexion|razonamiento|рассуждени[ея]|размышлени[ея])'
  r'(?:\s*\([^)]*\))?[\]】)*_`\s]*(?:[:：]|$)'
)
_FINAL = regex.compile(
  r'(?i)^[\s>*_#`\[(【]*(?:(?:my|the|here is (?:my|the)|so,?)\s+){0,2}'
  r'(?:final(?:\s+(?:answer|output|response|pair|qa|qa pair|version|result|'
  r'question and answer|question-answer pair))?|response|output|result|'
  r'最终答案|最终回答)[\]】)*_`\s]*[:：]?[\s*_`]*$'
)


# '=== Question ==='
_BANNER = regex.compile(
  r'^\s*(?P<mark>[=+-])(?P=mark)+\s*(?P<name>[^\s=+-].*?)\s*(?P=mark){2,}\s*$'
)
_FINAL_QUESTION = regex.compile(
  r'(?i)^\W*(?:\d+\W+)?(?:final|new|next)\s+question'
)
_ASKS = ('?', '？', '؟')


@dataclasses.dataclass
class Section:
  """A label and the lines behind it.

  Attributes:
    role: `labels.QUESTION`, `labels.ANSWER`, or '' for what stands before any
      label.
    number: As in 'Question 2:'.
    lines: The lines, blank ones too.
    closed: Whether something other than the end of the text ended it.
    tagged: Whether a closing tag ended it, so that all of it belongs to it.
    alone: Whether the label had a line of its own.
    letter: The label if it is one letter only.
    capital: Whether the label begins with a capital letter; None without one.
  """

  role: str = ''
  number: str = ''
  lines: list[str] = dataclasses.field(default_factory=list)
  closed: bool = False
  tagged: bool = False
  alone: bool = False
  letter: str = ''
  capital: bool | None = None


def _labelled(label: labels.Label, lines: list[str], closed: bool) -> Section:
  return Section(
    label.role,
    label.number,
    lines,
    closed,
    alone=label.alone,
    letter=label.letter,
    capital=label.capital,
  )


def cut(text: str) -> list[Section]:
  """Returns the sections of a completion, the lead first.

  Raises:
    UnreadError: If text stands where no section is, or reasoning in words
      alone can't be told from pairs.
  """
  lines = [_BANNER.sub(r'# \g<name>', line) for line in text.splitlines()]
  lines = lines[_behind_thoughts(lines) :]
  _check_quotes(lines)
  sections = [Section()]
  inside = True
  for line in lines:
    bare = line.strip()
    opened = _opened(bare)
    if opened:
      sections[-1].closed = True
      sections.append(opened)
      inside = True
    elif bare.startswith(tags.END_MARK):
      sections[-1].closed = sections[-1].tagged = True
      inside = False
    elif len(sections) > 1 and _TEMPLATE.match(line):
      sections[-1].closed = True
      break
    elif markdown.RULE.match(line) and _underlines(sections[-1]):
      continue
    elif markdown.RULE.match(line) or (len(sections) > 1 and _heading(bare)):
      sections[-1].closed = True
      inside = inside and len(sections) == 1
    elif inside:
      sections[-1].lines.append(line)
    elif bare and not markdown.FENCE.match(line):
      raise verdicts.UnreadError(verdicts.Reject.CHATTER)
  if text.endswith('\n'):
    sections[-1].closed = True
  return _split_all(sections)


def _check_quotes(lines: list[str]) -> None:
  """Refuses pairs of which some are cited and some are not: drafts, perhaps."""
  if any(line.lstrip().startswith('>') for line in lines):
    labelled = [line.strip() for line in lines if _opened(line.strip())]
    if len({line.startswith('>') for line in labelled}) > 1:
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)


def _underlines(section: Section) -> bool:
  """Whether a rule belongs to a label that stands as a heading above it."""
  return section.alone and not any(line.strip() for line in section.lines)


def _heading(bare: str) -> bool:
  return bool(bare) and bool(_HEADING.match(bare))


def _opened(bare: str) -> Section | None:
  """Returns the section that a line opens."""
  if bare[:1] in (tags.QUESTION_MARK, tags.ANSWER_MARK):
    role = labels.QUESTION if bare[0] == tags.QUESTION_MARK else labels.ANSWER
    return Section(role, bare[1:])
  label = labels.at_start(bare)
  if not label or (label.alone and _heading(bare)):
    return None
  return _labelled(label, [bare[label.end :]], False)


def _behind_thoughts(lines: list[str]) -> int:
  """Returns where the lines begin that are no reasoning in words.

  A heading such as 'Reasoning:' before the first label opens reasoning; one
  such as 'Final answer:' above a pair ends it, and drafts. Without the latter
  the reasoning ends at the first label, if no other pair follows: the first may
  be a draft.
  """
  asked = [
    i
    for i, line in enumerate(lines)
    if (section := _opened(line.strip())) and section.role == labels.QUESTION
  ]
  final = [i for i, line in enumerate(lines) if _FINAL.match(line)]
  if final and asked and asked[-1] > final[-1]:
    return final[-1] + 1
  if any(_FINAL_QUESTION.match(lines[i]) for i in asked[1:]):
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  first = next(
    (i for i, s in enumerate(lines) if _opened(s.strip())), len(lines)
  )
  opened = next(
    (i for i, line in enumerate(lines[:first]) if _THOUGHTS.match(line)), None
  )
  if opened is None:
    return 0
  told = _THOUGHTS.sub('', lines[opened]) + ''.join(lines[opened + 1 : first])
  drafts = labels.in_middle(lines[opened]) or not told.strip(' *_`#\t')
  if len(asked) > 1 or drafts:
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  return 0


def _split_all(sections: list[Section]) -> list[Section]:
  """Cuts sections at labels behind the end of a sentence."""
  lead, *rest = sections
  if not any(section.role == labels.QUESTION for section in rest):
    question = _lead_question(lead)
    if question:
      rest.insert(0, question)
  return [lead, *(part for s in rest for part in _split(s))]


def _lead_question(lead: Section) -> Section | None:
  """Returns the question that stands in the lead without a label."""
  for i, line in enumerate(lead.lines):
    end = labels.introduced(line)
    label = labels.in_middle(line) if end is None else None
    if label and label.role == labels.QUESTION:
      end = label.end
    if end is not None:
      section = Section(
        labels.QUESTION, '', [line[end:], *lead.lines[i + 1 :]], lead.closed
      )
      lead.lines = lead.lines[:i]
      return section
  while lead.lines and not lead.lines[-1].strip():
    lead.lines.pop()
  asks = [line for line in lead.lines if line.rstrip(' *_"”').endswith(_ASKS)]
  if len(asks) != 1 or asks[0] is not lead.lines[-1] or not lead.closed:
    return None
  if labels.mentioned(asks[0]):
    return None
  line = markdown.BULLET.sub('', lead.lines.pop())
  return Section(labels.QUESTION, '', [line], True)


def _split(section: Section) -> Iterator[Section]:
  """Yields the parts of a section that holds labels behind sentences."""
  if not section.role or section.tagged:
    yield section
    return
  for i, line in enumerate(section.lines):
    label = labels.in_middle(line)
    while label and not _fits(label, section):
      label = labels.in_middle(line, label.end)
    if label:
      rest = _labelled(
        label, [line[label.end :], *section.lines[i + 1 :]], section.closed
      )
      yield dataclasses.replace(
        section, lines=[*section.lines[:i], line[: label.start]], closed=True
      )
      yield from _split(rest)
      return
  yield section


def _fits(label: labels.Label, section: Section) -> bool:
  """Whether a label behind a sentence is one: written as the section's is."""
  return (
    label.role != section.role
    and bool(label.letter) <= bool(section.letter or section.capital is None)
    and section.capital in (None, label.capital)
  )
