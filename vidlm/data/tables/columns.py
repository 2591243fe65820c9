"""What published files call their columns; where two could be meant, we ask.

Names are compared without regard to case, blanks and underscores.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vidlm.core import messages

# The most telling first: what is in them is checked against annotated ids.
IDS = (
  'question_id',
  'qid',
  'clip_id',
  'image_id',
  'video_id',
  'video_name',
  'sample_id',
  'doc_id',
  'id',
  'key',
  'video',
  'vid',
  'path',
  'video_path',
  'file',
  'filename',
  'file_name',
)
# What models said, and nothing else.
PREDICTED = (
  'prediction',
  'predictions',
  'pred',
  'preds',
  'predicted',
  'predict',
  'pred_answer',
  'predicted_answer',
  'answer_pred',
  'model_answer',
  'pred_caption',
  'predicted_caption',
  'pred_text',
  'predicted_text',
  'pred_sentence',
  'generated',
  'generated_answer',
  'generated_caption',
  'generated_text',
  'generation',
  'output',
  'outputs',
  'output_text',
  'model_output',
  'model_prediction',
  'model_response',
  'response',
  'responses',
  'reply',
  'completion',
  'hypothesis',
  'hyp',
  'candidate',
  'filtered_resps',
)
# Said by models or by people, as the file may be.
ANSWERS = ('answer', 'answers')
CAPTIONS = ('caption', 'captions', 'sentence', 'sentences')
TEXTS = ('text', 'texts')
# What people said, and nothing else.
TRUE = (
  'ground_truth',
  'groundtruth',
  'gt',
  'gt_answer',
  'gt_caption',
  'true_answer',
  'correct_answer',
  'reference',
  'references',
  'reference_answer',
  'target',
  'targets',
)


def folded(name: str) -> str:
  """Returns a name as it is compared; of two alike, the second as the first."""
  bare = re.sub(r' \(\d+\)$', '', str(name))
  return re.sub(r'[\W_]', '', bare).lower()


def header(rows: Iterable[Mapping[str, Any]]) -> list[str]:
  """Returns the names of all columns, in the order they come."""
  return list(dict.fromkeys(name for row in rows for name in row))


def find(names: Iterable[str], known: Sequence[str]) -> list[str]:
  """Returns those columns that are called by one of the known names.

  Args:
    names: The columns there are.
    known: Their order is the result's.
  """
  order = {folded(name): number for number, name in enumerate(known)}
  found = [name for name in names if folded(name) in order]
  return sorted(found, key=lambda name: order[folded(name)])


def named(rows: Sequence[Mapping[str, Any]], name: str, flag: str) -> str:
  """Returns a column that was asked for.

  Args:
    rows: Of the table.
    name: As given; blanks around it and its case don't matter where there is
      none of just this name.
    flag: By which it was given.

  Raises:
    ValueError: If there is none; says which there are.
  """
  names = header(rows)
  if name in names:
    return name
  alike = [own for own in names if folded(own) == folded(name)]
  if len(alike) == 1:
    return alike[0]
  raise lacking(f'no column {name!r}', names, f'name another by {flag}=NAME')


def lacking(what: str, names: Iterable[str], advice: str) -> ValueError:
  """Returns the error for a column that isn't there."""
  names = list(names)
  return messages.with_whole(
    ValueError(f'{what}; it has {messages.some(names) or "none"}; {advice}'),
    {'columns': names},
  )


def only(
  rows: Sequence[Mapping[str, Any]],
  candidates: Sequence[str],
  what: str,
  flag: str,
) -> list[str]:
  """Returns the column that is meant; none of several that could be.

  Columns that no row has two of, or that say the same wherever one has, are
  one: all of them are returned.

  Args:
    rows: Of the table.
    candidates: Columns that could be meant.
    what: What is looked for, for the message.
    flag: By which to name it.

  Raises:
    ValueError: If there is none, or two that differ; names them and the flag.
  """
  if not candidates:
    raise lacking(
      f'no column is known to hold {what}', header(rows), f'name it by {flag}='
    )
  for row in rows:
    there = [name for name in candidates if name in row]
    for name in there[1:]:
      if row[name] != row[there[0]]:
        both = [there[0], name]
        both += [own for own in candidates if own not in both]
        named_ = ' or '.join(map(repr, both[: messages.SHOWN]))
        raise ValueError(
          f'which column holds {what}, {named_}? Name it by {flag}=, as in '
          f'{flag}={both[0]}'
        )
  return list(candidates)


def value(row: Mapping[str, Any], names: Sequence[str]) -> Any:
  """Returns what a row has in the first of some columns; None if in none."""
  return next((row[name] for name in names if name in row), None)
