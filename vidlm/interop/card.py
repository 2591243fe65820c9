"""README.md of converted weights: what a run knows about itself, no more."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

_UNKNOWN = 'not recorded'


@dataclasses.dataclass(frozen=True)
class Facts:
  """What goes on the card.

  Attributes:
    name: Name of the model.
    source: What was converted.
    license: As the user states it.
    step: Updates the weights have seen.
    parameters: Their number.
    recipe: {macro: value} of the run, as text.
    data: One line for each task it was trained on.
    scores: (file, scores with their protocol).
    extra: Leaves that lie in vidlm.safetensors.
  """

  name: str
  source: str
  license: str = ''
  step: int | None = None
  parameters: int = 0
  recipe: Mapping[str, str] = dataclasses.field(default_factory=dict)
  data: Sequence[str] = ()
  scores: Sequence[tuple[str, Mapping[str, Any]]] = ()
  extra: Sequence[str] = ()


def text(facts: Facts) -> str:
  """Returns the card in Markdown, with the front matter the hub reads."""
  lines = [
    '---',
    'library_name: vidlm',
    f'license: {facts.license or "other"}',
    '---',
    '',
    f'# {facts.name}',
    '',
    f'{facts.parameters:,} parameters, converted from `{facts.source}`'
    + (f' at step {facts.step:,}.' if facts.step is not None else '.'),
    '',
    '## Licence',
    '',
    facts.license
    or f'{_UNKNOWN.capitalize()}. Those of the initial weights and of the data '
    'apply.',
    '',
    '## Data',
    '',
    *([f'- {line}' for line in facts.data] or [f'{_UNKNOWN.capitalize()}.']),
    '',
    '## Recipe',
    '',
  ]
  if facts.recipe:
    lines += ['| | |', '|---|---|']
    lines += [f'| {k} | `{v}` |' for k, v in facts.recipe.items()]
    lines += ['', "All of it: the run's `config.gin`."]
  else:
    lines.append(f'{_UNKNOWN.capitalize()}.')
  lines += ['', '## Scores', '']
  for file, scores in facts.scores:
    lines += [f'`{file}`', '', '| | |', '|---|---|', *_rows(scores), '']
  if not facts.scores:
    lines += [
      'None recorded: `vidlm eval --output=MODEL_DIR/scores.json` leaves them '
      'where a later conversion finds them.',
      '',
    ]
  if facts.extra:
    lines += [
      '## Files',
      '',
      f'`vidlm.safetensors` holds what transformers has no class for: '
      f'{", ".join(f"`{name}`" for name in facts.extra)}.',
      '',
    ]
  return '\n'.join(lines)


def _rows(scores: Mapping[str, Any], prefix: str = '') -> list[str]:
  rows = []
  for name, value in scores.items():
    if isinstance(value, Mapping):
      rows += _rows(value, f'{prefix}{name}: ')
    elif isinstance(value, float):
      rows.append(f'| {prefix}{name} | {value:.4f} |')
    elif isinstance(value, bool | int | str):
      rows.append(f'| {prefix}{name} | {value} |')
  return rows


def find_scores(
  folder: epath.Path,
) -> list[tuple[str, dict[str, Any]]]:
  """Finds scores with a protocol that lie in a MODEL_DIR.

  Args:
    folder: The MODEL_DIR.

  Returns:
    (file name, scores), predictions left out.
  """
  found = []
  for path in sorted(folder.glob('*.json')):
    try:
      scores = json.loads(path.read_text())
    except ValueError:  # someone else's file: a card can do without it
      continue
    if isinstance(scores, dict) and 'protocol' in scores:
      scores.pop('predictions', None)
      found.append((path.name, scores))
  return found
