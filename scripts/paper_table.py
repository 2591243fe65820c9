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

# Column -> (task, where in the score, factor to the paper's scale).
Column = tuple[str, tuple[str, ...], float]
_RETRIEVAL: dict[str, Column] = {
  f'{name} R@{k}': (task, ('t2v', f'R@{k}'), 100.0)
  for name, task in (('MSR-VTT', 'msrvtt_1ka'), ('VATEX', 'vatex_1.5k'))
  for k in (1, 5, 10)
}
_ZERO_SHOT: dict[str, Column] = {
  **_RETRIEVAL,
  'K600 top-1': ('kinetics600', ('top1',), 100.0),
  'K600 top-5': ('kinetics600', ('top5',), 100.0),
}
_CIDER = ('cider',), 100.0
_SEGMENTS: Column = ('activitynet_captions_segments', *_CIDER)
_MSRVTT: Column = ('msrvtt_captions', *_CIDER)
_WUPS: Column = ('next_oe', ('wups',), 100.0)
_R1: dict[str, Column] = {'MSR-VTT R@1': _RETRIEVAL['MSR-VTT R@1']}
_BOTH = (48.4, 73.5, 81.9, 65.6, 91.7, 95.8, 62.8, 86.4)
_VIDEOCC = (48.2, 72.2, 80.8, 64.2, 90.2, 95.1, 61.1, 85.6)
_INTERNVID = (46.3, 71.5, 80.3, 65.2, 91.3, 95.5, 62.7, 86.2)

# Name -> title, columns, and rows: file name -> (what it is, paper's figures).
Row = tuple[str, Sequence[float | None]]
TABLES: dict[str, tuple[str, Mapping[str, Column], Mapping[str, Row]]] = {
  'table_2': (
    'Table 2: zero-shot retrieval and classification, ViT-st-L/14',
    _ZERO_SHOT,
    {
      'clip': (
        'CLIP, frame by frame',
        (31.2, 53.7, 64.2, 45.2, None, None, 55.1, 79.2),
      ),
      'videocc': (
        'VideoCC, alt-text',
        (37.0, 62.1, 72.5, 37.7, 66.9, 77.2, 48.6, 74.8),
      ),
      'videocc_plus': ('VideoCC+', _VIDEOCC),
      'internvid': (
        'InternVid, its captions',
        (42.5, 67.0, 76.8, 58.7, 87.0, 93.0, 60.7, 85.0),
      ),
      'internvid_plus': ('InternVid+', _INTERNVID),
      'both_plus': ('VideoCC+ and InternVid+', _BOTH),
    },
  ),
  'table_3': (
    'Table 3: zero-shot captions and answers of the video VLM',
    {
      'MSR-VTT CIDEr': _MSRVTT,
      'MSRVTT-QA': ('msrvtt_qa', ('accuracy',), 100.0),
      'ActivityNet CIDEr, per segment': _SEGMENTS,
      'the same, per video': ('activitynet_captions_densevid', *_CIDER),
      'ActivityNet-QA': ('activitynet_qa', ('accuracy',), 100.0),
      'NExT-OE WUPS': _WUPS,
    },
    {
      'image': ('image VLM, 8 frames', (21.3, 12.7, 13.8, None, 22.9, 23.2)),
      'adapted': ('adapted', (48.2, 24.4, 31.0, None, 29.6, 29.5)),
    },
  ),
  'table_4': (
    'Table 4: sources of captions, ViT-st-B/16 on VideoCC',
    _R1,
    {
      'alt_text': ('alt-text', (37.0,)),
      'frames': ('image VLM, frame by frame', (39.5,)),
      'frames_llm': ('the same, summarized by an LLM', (39.8,)),
      'visual': ('visual adaptation, one caption', (41.7,)),
      'visual_multi': ('visual adaptation, several', (43.6,)),
      'adapted_multi': ('visual and language adaptation, several', (44.3,)),
    },
  ),
  'table_5': (
    'Table 5: what visual adaptation trains',
    {'S-MiT CIDEr': ('smit_captions', *_CIDER)},
    {
      'language': ('language model', (41.2,)),
      'visual': ('visual encoder', (42.3,)),
      'both': ('both', (40.3,)),
      'visual_self': ('visual encoder, self-training', (43.5,)),
    },
  ),
  'table_6': (
    'Table 6: instruction data',
    {'MSR-VTT CIDEr': _MSRVTT, 'ActivityNet CIDEr': _SEGMENTS, 'NExT': _WUPS},
    {
      'none': ('none', (21.3, 13.8, 23.2)),
      'llava': ('LLaVA 1.0', (16.9, 25.1, 16.3)),
      'activitynet_instruct': ('ActivityNet-Instruct', (30.8, 34.6, 11.7)),
      'reasoning': ('causal and temporal reasoning', (28.5, 29.5, 5.0)),
      'reasoning_smit': ('+ S-MiT captions', (51.6, 35.1, 3.9)),
      'reasoning_smit_short': ('+ short answers', (48.2, 31.0, 29.5)),
    },
  ),
  'table_11': (
    'Table 11: human captions against distilled ones, ViT-st-L/14',
    _ZERO_SHOT,
    {
      'smit': ('S-MiT', (45.2, 70.8, 80.5, 66.7, 92.0, 96.2, 64.2, 88.8)),
      'videocc_plus': ('VideoCC+', _VIDEOCC),
      'internvid_plus': ('InternVid+', _INTERNVID),
      'both_plus': ('VideoCC+ and InternVid+', _BOTH),
    },
  ),
  'figure_5': (
    # The text gives the ends of the curves only.
    'Figure 5: MSR-VTT R@1 by the share of VideoCC, ViT-st-L/14',
    _R1,
    {
      f'{source}_{percent}': (f'{name}, {percent} %', (ends.get(percent),))
      for source, name, ends in (
        ('alt_text', 'alt-text', {100: 37.0}),
        ('image', 'image VLM', {}),
        ('distilled', 'distilled', {100: 48.2}),
      )
      for percent in (1, 10, 30, 100)
    },
  ),
}


def read_score(folder: pathlib.Path, row: str, column: Column) -> dict:
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
    name: Of TABLES.
    folder: Of the scores.

  Returns:
    `title` and `cells`: row, column, paper, ours, factor (of the score in its
    file), protocol.

  Raises:
    ValueError: There is no such table, or a file of it is no score of it.
  """
  if name not in TABLES:
    raise ValueError(f'no table {name!r}; there are {", ".join(TABLES)}')
  title, columns, rows = TABLES[name]
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
  parser.add_argument('--table', required=True, choices=sorted(TABLES))
  parser.add_argument('--scores', required=True, metavar='DIR')
  parser.add_argument('--output', required=True, metavar='DIR')
  args = parser.parse_args(argv)
  try:
    table = gather(args.table, pathlib.Path(args.scores))
  except ValueError as error:
    parser.error(str(error))
  folder = pathlib.Path(args.output)
  folder.mkdir(parents=True, exist_ok=True)
  plot = {}
  if args.table.startswith('figure'):
    import paper_plot

    plot['svg'] = paper_plot.svg(table)
  texts = {
    'json': json.dumps(table, indent=2) + '\n',
    'md': markdown(table),
    'html': page(table, *plot.values()),
    **plot,
  }
  for suffix, text in texts.items():
    (folder / f'{args.table}.{suffix}').write_text(text, encoding='utf-8')
  print(texts['md'])


if __name__ == '__main__':
  main()
