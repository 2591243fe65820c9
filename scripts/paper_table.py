"""Tables of the paper beside our scores: paper, ours, protocol.

Reads what `vidlm eval` and `dualenc eval` wrote as ROW.TASK.json, and writes
NAME.json, NAME.md and NAME.html; a figure also as NAME.svg, which the page
shows. A score that isn't there says so.
"""

import argparse
import html
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from vidlm.core import files
from vidlm.evals import paper_tables


def read_score(
  folder: pathlib.Path, row: str, column: paper_tables.Column
) -> dict:
  """Our figure on the paper's scale, and its protocol; None without one.

  Raises:
    ValueError: If the file is damaged, or holds a score of another task.
  """
  task, keys, factor = column
  path = folder / f'{row}.{task}.json'
  if not path.exists():
    return {'ours': None, 'protocol': None}
  try:
    value: Any = json.loads(path.read_text(encoding='utf-8'))
    protocol = value['protocol']
    scored = protocol['task']
  except (ValueError, KeyError, TypeError):
    raise ValueError(f'{path}: no score; delete it and run again') from None
  if scored != task:
    raise ValueError(f'{path}: a score of {scored}; delete it and run again')
  interval = value.get(keys[0], {}) if len(keys) > 1 else value
  for key in keys:
    value = value[key]
  found = {'ours': round(factor * value, 2), 'protocol': protocol}
  found['factor'] = factor
  bounds = interval.get('interval_95', {}).get(keys[-1])
  if bounds:
    found['interval_95'] = [round(factor * bound, 2) for bound in bounds]
  return found


def gather(name: str, folder: pathlib.Path) -> dict[str, Any]:
  """A table of the paper with our scores.

  Args:
    name: Of paper_tables.TABLES.
    folder: Of the scores.

  Returns:
    `title` and `cells`: row, column, paper, ours, factor (of the score in its
    file), protocol.

  Raises:
    ValueError: There is no such table, or a file of it is no score of it.
  """
  if name not in paper_tables.TABLES:
    raise ValueError(
      f'no table {name!r}; there are {", ".join(paper_tables.TABLES)}'
    )
  title, columns, rows = paper_tables.TABLES[name]
  cells = [
    {'row': label, 'column': column, 'paper': figure}
    | read_score(folder, row, where)
    for row, (label, figures) in rows.items()
    for (column, where), figure in zip(columns.items(), figures, strict=True)
  ]
  return {'name': name, 'title': title, 'cells': cells}


def _short(protocol: Mapping[str, Any]) -> str:
  """One line of a protocol; the JSON has all of it."""
  scored = protocol.get('n_scored', protocol.get('num_videos'))
  scored = protocol.get('num_clips', scored)
  of = protocol.get('published_size')
  parts = [str(protocol['task']), f'split {protocol.get("split")}']
  parts.append(f'{scored} scored' + (f' of {of} published' if of else ''))
  shown = ('metric', 'document_frequency', 'templates', 'frames_shown', 'ties')
  parts += [str(protocol[key]) for key in shown if protocol.get(key)]
  return '; '.join(parts)


def lines(table: Mapping[str, Any]) -> list[tuple[str, ...]]:
  """Header and rows as text: row, column, paper, ours, protocol."""
  out = [('', 'score', 'paper', 'ours', 'protocol')]
  for cell in table['cells']:
    ours, protocol = 'not run', ''
    if cell['protocol'] is not None:
      ours, protocol = f'{cell["ours"]:.1f}', _short(cell['protocol'])
      protocol += f'; shown times {cell["factor"]:g}'
      if 'interval_95' in cell:
        ours += ' [{:.1f}, {:.1f}]'.format(*cell['interval_95'])
    paper = '-' if cell['paper'] is None else f'{cell["paper"]:.1f}'
    out.append((cell['row'], cell['column'], paper, ours, protocol))
  return out


def markdown(table: Mapping[str, Any]) -> str:
  """The table in Markdown."""
  head, *rows = lines(table)
  text = [f'## {table["title"]}', '', f'| {" | ".join(head)} |']
  text.append('|' + ' --- |' * len(head))
  text += [f'| {" | ".join(row)} |' for row in rows]
  return '\n'.join(text) + '\n'


def page(table: Mapping[str, Any], plot: str = '') -> str:
  """The table as a page of HTML that needs nothing else.

  Args:
    table: Of `gather`.
    plot: SVG to stand above it.
  """
  head, *rows = lines(table)
  title = html.escape(table['title'])
  body = '\n'.join(
    '<tr>' + ''.join(f'<td>{html.escape(c)}</td>' for c in row) + '</tr>'
    for row in rows
  )
  names = ''.join(f'<th>{html.escape(cell)}</th>' for cell in head)
  return (
    f'<!doctype html>\n<meta charset="utf-8">\n<title>{title}</title>\n'
    '<style>body{font:15px sans-serif;margin:2em}td,th{padding:.3em .8em;'
    'border-bottom:1px solid #ccc;text-align:left}</style>\n'
    f'<h1>{title}</h1>\n{plot}<table>\n<tr>{names}</tr>\n{body}\n</table>\n'
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Writes one table in three formats, and prints it."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    '--table', required=True, choices=sorted(paper_tables.TABLES)
  )
  parser.add_argument('--scores', required=True, metavar='DIR')
  parser.add_argument('--output', required=True, metavar='DIR')
  args = parser.parse_args(argv)
  plot = {}
  try:
    table = gather(args.table, pathlib.Path(args.scores))
    if args.table.startswith('figure'):
      from vidlm.evals import paper_plot

      plot['svg'] = paper_plot.svg(table)
  except (ImportError, ValueError) as error:
    parser.error(str(error))
  folder = pathlib.Path(args.output)
  files.make_folder(folder)
  texts = {
    'json': json.dumps(table, indent=2) + '\n',
    'md': markdown(table),
    'html': page(table, *plot.values()),
    **plot,
  }
  for suffix, text in texts.items():
    files.write_text(folder / f'{args.table}.{suffix}', text)
  print(texts['md'])


if __name__ == '__main__':
  main()
