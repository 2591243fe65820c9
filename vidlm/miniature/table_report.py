"""The miniature's tables: mean and spread over seeds beside the paper."""

import itertools
import json
import pathlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from vidlm.core import files
from vidlm.evals import paper_tables
from vidlm.miniature import table_pages
from vidlm.miniature import table_runs as runs
from vidlm.miniature import table_specs as specs

SHARED_NOTE = (
  'All seeds share the drawn world, the instructions, and stage 0 (the image '
  'VLM). A seed decides the order of the examples, what is sampled, and the '
  "dual encoders' first weights. The spread is the standard deviation over "
  'seeds (n - 1); a figure without one is of a model that all seeds share.'
)


def write(
  output: pathlib.Path, seeds: Sequence[int], command: str, scale: float
) -> pathlib.Path:
  """Writes the tables of finished seeds.

  Args:
    output: Folder of the runs.
    seeds: Those that are done.
    command: That made them.
    scale: Factor on corpora and steps.

  Returns:
    The folder `report`: a JSON, Markdown and HTML file for each table, and
    all of them in README.md and tables.html.
  """
  folder = output / 'report'
  files.make_folder(folder)
  about = circumstances_of(output, seeds, command, scale)
  files.write_json(folder / 'run.json', about)
  tables = [gather(name, output, seeds) for name in specs.TABLES]
  for table in tables:
    name = table['name']
    files.write_json(folder / f'{name}.json', {**table, 'run': about})
    table_pages.write(folder / name, table['title'], [table], about)
  title = "The paper's tables in miniature"
  table_pages.write(folder / 'tables', title, tables, about)
  (folder / 'tables.md').replace(folder / 'README.md')
  return folder


def circumstances_of(
  output: pathlib.Path, seeds: Sequence[int], command: str, scale: float
) -> dict[str, Any]:
  """Returns command, seconds, commits and machine of the seeds."""
  ran = [_read(output / f'seed_{seed}/run.json') for seed in seeds]
  spent = {
    name: _read(output / name / 'seconds.json')
    for name in ('shared', *(f'seed_{seed}' for seed in seeds))
  }
  return {
    'command': command,
    'seeds': list(seeds),
    'scale': scale,
    'commits': list(dict.fromkeys(run['commit'] for run in ran)),
    'machine': ran[0]['machine'],
    'steps': _steps(output / f'seed_{seeds[0]}'),
    'seconds': {k: round(sum(v.values()), 1) for k, v in spent.items()},
    'runs': {
      k: {name: round(s, 1) for name, s in v.items()} for k, v in spent.items()
    },
  }


def _steps(folder: pathlib.Path) -> dict[str, int]:
  """Returns model -> the steps it was trained for."""
  found: dict[str, int] = {}
  for path in sorted(folder.glob('*/checkpoint_*')):
    name, steps = path.parent.name, int(path.name.rpartition('_')[2])
    found[name] = max(steps, found.get(name, 0))
  return found


def _read(path: pathlib.Path) -> Any:
  return json.loads(path.read_text(encoding='utf-8'))


def gather(
  name: str, output: pathlib.Path, seeds: Sequence[int]
) -> dict[str, Any]:
  """Gathers a table: what the paper has and what came out.

  Args:
    name: A key of `table_specs.TABLES`.
    output: Folder of the runs.
    seeds: Those that are done.

  Returns:
    `rows` with their cells, `orders` and `steps`: see `order_of`, `steps_of`.
  """
  table = specs.TABLES[name]
  rows = [
    {
      'row': row,
      'label': table.label(name, row),
      'run': run,
      'cells': [
        _cell(name, row, run, column, output, seeds) for column in table.columns
      ],
    }
    for row, run in table.rows.items()
  ]
  pairs = [
    (i, paper)
    for i, column in enumerate(table.columns)
    for paper in column.paper
  ]
  return {
    'name': name,
    'title': f'{paper_tables.TABLES[name][0]}: the miniature',
    'notes': [*table.notes, SHARED_NOTE],
    'rows': rows,
    'orders': [order_of(rows, i, paper) for i, paper in pairs],
    'steps': [step for i, paper in pairs for step in steps_of(rows, i, paper)],
  }


def _cell(
  name: str,
  row: str,
  run: str,
  column: specs.Column,
  output: pathlib.Path,
  seeds: Sequence[int],
) -> dict[str, Any]:
  table = specs.TABLES[name]
  scores = [
    _read(output / f'seed_{seed}/scores/{column.file.format(run=run)}')
    for seed in (seeds[:1] if run in runs.SHARED else seeds)
  ]
  values = [column.factor * _within(score, column.keys) for score in scores]
  return {
    'column': column.name,
    'paper': {p: table.paper(name, row, p) for p in column.paper},
    'shared': run in runs.SHARED,
    **spread(values),
    'protocol': _within(scores[0], column.keys[:1]).get('protocol')
    if len(column.keys) > 1
    else scores[0].get('protocol'),
  }


def _within(value: Any, keys: Sequence[str]) -> Any:
  for key in keys:
    value = value[key]
  return value


def spread(values: Sequence[float]) -> dict[str, Any]:
  """Returns mean and standard deviation (n - 1); None for a single value."""
  sd = statistics.stdev(values) if len(values) > 1 else None
  return {
    'mean': statistics.fmean(values),
    'sd': sd,
    'n': len(values),
    'values': list(values),
  }


def order_of(
  rows: Sequence[Mapping[str, Any]], column: int, paper: str
) -> dict[str, Any]:
  """Returns whether our means stand in the order of the paper's figures.

  Args:
    rows: Rows of a table.
    column: Number of ours.
    paper: Name of the paper's.

  Returns:
    Pairs of rows that the paper tells apart, those that stand the same way
    here, and both orders, the best first.
  """
  known = [
    (row['label'], cell['paper'][paper], cell['mean'])
    for row in rows
    if (cell := row['cells'][column])['paper'][paper] is not None
  ]
  pairs = [(a, b) for a, b in itertools.combinations(known, 2) if a[1] != b[1]]
  agree = sum((a[1] - b[1]) * (a[2] - b[2]) > 0 for a, b in pairs)
  return {
    'column': rows[0]['cells'][column]['column'],
    'paper_column': paper,
    'pairs': len(pairs),
    'agree': agree,
    'holds': agree == len(pairs),
    'paper_order': _best_first(known, 1),
    'our_order': _best_first(known, 2),
  }


def _best_first(known: Sequence[tuple], by: int) -> list[str]:
  return [row[0] for row in sorted(known, key=lambda row: -row[by])]


def steps_of(
  rows: Sequence[Mapping[str, Any]], column: int, paper: str
) -> list[dict[str, Any]]:
  """Returns what each row of the table adds to the one before, there and here.

  Ours are differences within a seed, with the seeds in which they have the
  paper's sign.
  """
  known = [
    row for row in rows if row['cells'][column]['paper'][paper] is not None
  ]
  out = []
  for before, after in itertools.pairwise(known):
    a, b = before['cells'][column], after['cells'][column]
    gain = b['paper'][paper] - a['paper'][paper]
    gains = _paired(a['values'], b['values'])
    out.append(
      {
        'from': before['label'],
        'to': after['label'],
        'column': a['column'],
        'paper_column': paper,
        'paper': round(gain, 2),
        **spread(gains),
        'same_sign': sum(gain * ours > 0 for ours in gains),
        'holds': gain * statistics.fmean(gains) > 0,
      }
    )
  return out


def _paired(before: Sequence[float], after: Sequence[float]) -> list[float]:
  """Returns differences within a seed; a shared model's value serves all."""
  n = max(len(before), len(after))
  before, after = (
    list(values) * n if len(values) == 1 else values
    for values in (before, after)
  )
  return [b - a for a, b in zip(before, after, strict=True)]
