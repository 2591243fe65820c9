"""Pages of the miniature's tables, in Markdown and HTML."""

import html
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from vidlm.core import files

# A page is headings, paragraphs, lists and tables of text.
Block = tuple[str, Any]


def blocks(table: Mapping[str, Any], level: int) -> list[Block]:
  """Returns what a table's page says."""
  out: list[Block] = [(f'h{level}', table['title'])]
  head = ['', *(cell['column'] for cell in table['rows'][0]['cells'])]
  body = [
    [row['label'], *(_shown(cell) for cell in row['cells'])]
    for row in table['rows']
  ]
  out.append(
    ('p', 'Ours, mean ± standard deviation over seeds; in brackets the paper.')
  )
  out.append(('table', [head, *body]))
  out.append(('p', 'Does the order of the rows hold?'))
  out.append(
    (
      'table',
      [
        [
          'ours',
          'paper',
          'pairs of rows as in the paper',
          'holds',
          'our order',
        ],
        *(
          [
            order['column'],
            order['paper_column'],
            f'{order["agree"]} of {order["pairs"]}',
            'yes' if order['holds'] else 'no',
            ' > '.join(order['our_order']),
          ]
          for order in table['orders']
        ),
      ],
    )
  )
  out.append(('p', 'From row to row, differences within a seed:'))
  out.append(
    (
      'table',
      [
        ['step', 'score', 'paper', 'ours', 'sign as in the paper', 'holds'],
        *(_step(step) for step in table['steps']),
      ],
    )
  )
  out.append(('list', table['notes']))
  return out


def _shown(cell: Mapping[str, Any]) -> str:
  ours = _with_spread(cell, '{:.1f}')
  paper = [
    f'{value:.1f} {name}'
    for name, value in cell['paper'].items()
    if value is not None
  ]
  return f'{ours} ({"; ".join(paper)})' if paper else ours


def _with_spread(cell: Mapping[str, Any], form: str) -> str:
  text = form.format(cell['mean'])
  return text if cell['sd'] is None else f'{text} ± {cell["sd"]:.1f}'


def _step(step: Mapping[str, Any]) -> list[str]:
  return [
    f'{step["from"]} → {step["to"]}',
    f'{step["column"]} ({step["paper_column"]})',
    f'{step["paper"]:+.1f}',
    _with_spread(step, '{:+.1f}'),
    f'{step["same_sign"]} of {step["n"]} seeds',
    'yes' if step['holds'] else 'no',
  ]


def about_blocks(about: Mapping[str, Any]) -> list[Block]:
  """Returns how the tables were made."""
  shared, *seeds = about['seconds'].values()
  lines = [
    f'command: {about["command"]}',
    f'seeds {", ".join(map(str, about["seeds"]))}; shared by them: '
    f'{shared:.0f} s; a seed: {", ".join(f"{s:.0f}" for s in seeds)} s',
    'steps: ' + ', '.join(f'{k} {v}' for k, v in about['steps'].items()),
    f'commit {", ".join(about["commits"])}',
    'machine: ' + ', '.join(f'{k} {v}' for k, v in about['machine'].items()),
  ]
  if about['scale'] != 1:
    lines.insert(0, f'scale {about["scale"]}: only the path shows')
  return [('list', lines)]


def write(
  path: pathlib.Path,
  title: str,
  tables: Sequence[Mapping[str, Any]],
  about: Mapping[str, Any],
) -> None:
  """Writes PATH.md and PATH.html.

  Args:
    path: Without a suffix.
    title: Title of the page.
    tables: What `gather` gives.
    about: What `circumstances_of` gives.
  """
  several = len(tables) > 1
  page = [('h1', title)] if several else []
  for table in tables:
    page += blocks(table, 2 if several else 1)
  page += about_blocks(about)
  files.write_text(path.with_suffix('.md'), markdown(page))
  files.write_text(path.with_suffix('.html'), page_of_html(title, page))


def markdown(page: Sequence[Block]) -> str:
  """Renders blocks in Markdown."""
  parts = []
  for kind, what in page:
    if kind == 'p':
      parts.append(what)
    elif kind == 'list':
      parts.append('\n'.join(f'- {line}' for line in what))
    elif kind == 'table':
      head, *body = [f'| {" | ".join(row)} |' for row in what]
      rule = '|' + ' --- |' * len(what[0])
      parts.append('\n'.join([head, rule, *body]))
    else:
      parts.append(f'{"#" * int(kind[1])} {what}')
  return '\n\n'.join(parts) + '\n'


def page_of_html(title: str, page: Sequence[Block]) -> str:
  """Renders blocks as a page of HTML that needs nothing else."""
  parts = [
    '<!doctype html>\n<meta charset="utf-8">\n'
    f'<title>{html.escape(title)}</title>\n'
    '<style>body{font:15px sans-serif;margin:2em;max-width:75em}'
    'td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:left}'
    'table{border-collapse:collapse}</style>'
  ]
  for kind, what in page:
    if kind == 'list':
      items = ''.join(f'<li>{html.escape(line)}</li>' for line in what)
      parts.append(f'<ul>{items}</ul>')
    elif kind == 'table':
      rows = [
        _row('td' if number else 'th', row) for number, row in enumerate(what)
      ]
      parts.append(
        '<table>' + ''.join(f'<tr>{row}</tr>\n' for row in rows) + '</table>'
      )
    else:
      parts.append(f'<{kind}>{html.escape(what)}</{kind}>')
  return '\n'.join(parts) + '\n'


def _row(tag: str, cells: Sequence[str]) -> str:
  return ''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)
