"""Pairs in tables: of markdown, with tabs or commas, on end or lying."""

import csv
from collections.abc import Sequence

import regex

from vidlm.instruct import labels, markdown, verdicts

_RULE = regex.compile(r'^[\s|+\-=:─━═┄┼├┤┌┐└┘┬┴╬╠╣╔╗╚╝╦╩┃│║]+$')
_BAR = regex.compile(r'(?<!\\)[|│┃║]')
_ABOUT = regex.compile(
  r'(?i)^(?:#|№|no\.?|nr\.?|id|index|number|type|kind|category|pair|item|clip|'
  r'video|level|difficulty|language|row|field|key|)$'
)
_ROW = regex.compile(r'(?is)<tr\b[^>]*>(.*?)</tr\s*>')
_CELL = regex.compile(r'(?is)<t[dh]\b[^>]*>(.*?)</t[dh]\s*>')
_TABLE = regex.compile(r'(?i)</?(?:table|thead|tbody|tfoot|caption)\b[^>]*>')


def from_html(text: str) -> str:
  """Writes the rows of an HTML table as rows with bars."""
  if '<tr' not in text.lower():
    return text

  def row(found: regex.Match) -> str:
    cells = _CELL.findall(found[1])
    if _CELL.sub('', found[1]).strip():
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
    told = (' '.join(cell.split()).replace('|', r'\|') for cell in cells)
    return '\n| ' + ' | '.join(told) + ' |'

  text = _TABLE.sub('\n', _ROW.sub(row, text))
  return regex.sub(r'\n\s*\n(?=\|)', '\n', text)


def _cells(line: str) -> list[str] | None:
  """Returns the cells of a row with bars or tabs."""
  bare = line.strip()
  if _BAR.search(bare):
    parts = _BAR.split(bare)
    if not parts[0].strip():
      parts = parts[1:]
    if parts and not parts[-1].strip() and _BAR.match(bare[-1]):
      parts = parts[:-1]
  elif '\t' in bare:
    parts = bare.split('\t')
  else:
    return None
  return [part.strip().replace(r'\|', '|') for part in parts]


def _roles(cells: Sequence[str]) -> list[tuple[str, str] | None]:
  return [labels.named(cell) for cell in cells]


def _is_head(cells: Sequence[str] | None) -> bool:
  if not cells:
    return False
  found = [role[0] for role in _roles(cells) if role]
  return sorted(found) == sorted([labels.QUESTION, labels.ANSWER])


def _lying(
  rows: Sequence[Sequence[str]], open_ended: bool
) -> list[verdicts.Pair]:
  head, *body = rows
  roles = [role[0] if role else '' for role in _roles(head)]
  for name, role in zip(head, roles, strict=True):
    if not role and not _ABOUT.match(name.strip('*_` ')):
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
  pairs = []
  for i, cells in enumerate(body, 1):
    if len(cells) != len(head):
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
    question, answer = (
      markdown.clean(cells[roles.index(role)])
      for role in (labels.QUESTION, labels.ANSWER)
    )
    last = open_ended and i == len(body)
    if (
      last and roles[-1] == labels.QUESTION and not markdown.complete(question)
    ):
      answer = ''  # A limit of tokens may have cut the question.
    pairs.append(verdicts.Pair(question, answer, last))
  return pairs


def _standing(
  rows: Sequence[Sequence[str]], open_ended: bool
) -> list[verdicts.Pair]:
  pairs, question = [], None
  for i, cells in enumerate(rows, 1):
    role = labels.named(cells[0])
    if len(cells) != 2 or (role is None and not _ABOUT.match(cells[0])):
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
    if role is None:
      continue
    if (role[0] == labels.QUESTION) != (question is None):
      raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD)
    if question is None:
      question = markdown.clean(cells[1])
    else:
      last = open_ended and i == len(rows)
      pairs.append(verdicts.Pair(question, markdown.clean(cells[1]), last))
      question = None
  if question is not None:
    pairs.append(verdicts.Pair(question, '', open_ended))
  return pairs


def _with_commas(
  lines: Sequence[str], start: int, comma: str
) -> list[list[str]] | None:
  """Returns the rows if the line is the head of comma separated values."""
  if not _is_head(next(csv.reader([lines[start]], delimiter=comma), [])):
    return None
  try:
    rows = list(
      csv.reader(
        lines[start:], delimiter=comma, strict=True, skipinitialspace=True
      )
    )
  except csv.Error as error:
    raise verdicts.UnreadError(verdicts.Reject.NOT_UNDERSTOOD) from error
  return [row for row in rows if row]


def read(text: str) -> list[verdicts.Pair] | None:
  """Returns the pairs of a completion that is a table, with chatter before it.

  Args:
    text: A completion without tags.

  Returns:
    The pairs; None if there is no table of pairs.

  Raises:
    UnreadError: If the table holds more than pairs, or something follows it.
  """
  lines = [line for line in text.splitlines() if not markdown.FENCE.match(line)]
  for start, line in enumerate(lines):
    if not line.strip():
      continue
    cells = _cells(line)
    for comma in ',;' if cells is None and len(line) < 200 else '':
      rows = _with_commas(lines, start, comma)
      if rows:
        return _lying(rows, open_ended=not lines[-1].endswith('"'))
    first = labels.named(cells[0]) if cells and len(cells) == 2 else None
    if _is_head(cells) or (first and first[0] == labels.QUESTION):
      return _block(lines[start:], lying=_is_head(cells))
    if cells is None and labels.at_start(line):
      return None
  return None


def _block(lines: Sequence[str], lying: bool) -> list[verdicts.Pair]:
  rows, last = [], ''
  for i, line in enumerate(lines):
    if _RULE.match(line):
      continue
    cells = _cells(line)
    if cells is None:
      if any(left.strip() for left in lines[i:]):
        raise verdicts.UnreadError(verdicts.Reject.CHATTER)
      break
    rows.append(cells)
    last = line
  open_ended = not _BAR.match(last.strip()[-1:])
  pairs = (_lying if lying else _standing)(rows, open_ended)
  if not pairs:
    raise verdicts.UnreadError(verdicts.Reject.NO_QUESTION)
  return pairs
