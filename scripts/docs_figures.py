"""Writes the figures of the docs: tables made of benchmarks/results/*.json.

  python scripts/docs_figures.py            # rewrites them in place
  python scripts/docs_figures.py --check    # exits with 1 if one is not current

A page marks where a table stands:

  <!-- figures: NAME -->
  ...
  <!-- end of figures -->
"""

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vidlm.core import files
from vidlm.evals import paper_tables

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / 'benchmarks' / 'results'
_BLOCK = re.compile(
  r'(<!-- figures: (\w+) -->\n).*?(<!-- end of figures -->)', re.DOTALL
)
_GIB = 2**30
_OPEN = ('siglip', 'paligemma', 't5gemma')
_STAGES = ('image_vlm', 'visual', 'visual+language')


def result(name: str) -> Any:
  """One result file."""
  return json.loads((RESULTS / f'{name}.json').read_text())


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
  """A Markdown table."""
  lines = [header, ['---'] * len(header), *rows]
  return ''.join(f'| {" | ".join(line)} |\n' for line in lines)


def _plans(where: str = 'v5e_8x16') -> Iterator[tuple[str, dict[str, Any]]]:
  for path in sorted(RESULTS.glob(f'plan_*_{where}.json')):
    name = path.stem.removeprefix('plan_').removesuffix(f'_{where}')
    yield name, json.loads(path.read_text())


def open_weights() -> str:
  """Recipes that start from open weights: sizes and memory."""
  rows = []
  for name, plan in _plans():
    if name.startswith(_OPEN):
      counts = plan['parameters']
      rows.append(
        [
          f'`{name}`',
          f'{counts["trainable"] / 1e9:.2f}B / {counts["total"] / 1e9:.2f}B',
          f'{counts["total"] * 2 / _GIB:.1f}',
          f'{plan["bytes"]["total"] / _GIB:.1f}',
          f'{plan["bytes_per_chip"] / _GIB:.2f}',
        ]
      )
  header = (
    'recipe',
    'trained / all parameters',
    'weights in bfloat16 (GiB)',
    'state of one device alone (GiB)',
    'a chip of 128 v5e (GiB)',
  )
  return table(header, rows)


def costs() -> str:
  """What every compiled recipe costs on a pod."""
  rows = [
    [
      f'`{name}`',
      f'{plan["batch_size"]:,}',
      f'{plan["mesh"]["data"]} x {plan["mesh"]["model"]}',
      f'{plan["bytes_per_chip"] / _GIB:.2f}',
      f'{plan["flops"] / 1e18:.1f}',
      f'{plan["chip_hours"]:,.0f}',
    ]
    for name, plan in _plans()
  ]
  header = (
    'recipe',
    'batch',
    'mesh, data x model',
    'GiB a chip of 16',
    'the run, EFLOP',
    'v5e chip-hours at 50 %',
  )
  return table(header, rows)


def one_gpu() -> str:
  """What the paper's recipes take of one H200, whole and in microbatches."""
  rows = []
  for name, plan in _plans('h200_1'):
    whole = result(f'plan_{name}_h200_1_whole')
    rows.append(
      [
        f'`{name}`',
        f'{plan["batch_size"]:,}',
        f'{whole["bytes_per_chip"] / _GIB:.0f}',
        f'{plan["bytes_per_chip"] / _GIB:.0f}',
        f'{plan["flops_per_step"] / whole["flops_per_step"]:.2f}',
        f'{plan["chip_hours"]:,.0f}',
      ]
    )
  parts = plan['num_microbatches']
  header = (
    'recipe',
    'batch',
    'GiB in one piece',
    f'GiB in {parts} parts, of 131',
    'FLOPs, times those of one piece',
    'H200-hours at 50 %',
  )
  return table(header, rows)


def paper() -> str:
  """The paper's headline figures, none of which was run here."""
  rows = []
  for what, name, column, row in (
    ('S-MiT captions, visual adaptation', 'table_5', 'S-MiT CIDEr', 'visual'),
    ('MSR-VTT captions, adapted VLM', 'table_3', 'MSR-VTT CIDEr', 'adapted'),
    (
      'MSR-VTT retrieval, ViT-st-L/14 on VideoCC+',
      'table_2',
      'MSR-VTT R@1',
      'videocc_plus',
    ),
  ):
    _, columns, figures = paper_tables.TABLES[name]
    printed = figures[row][1][list(columns).index(column)]
    metric = column.split()[-1]
    rows.append([what, metric, f'{printed}', 'not run: recipe only'])
  return table(('result', 'metric', 'paper', 'here'), rows)


def demo() -> str:
  """The miniature's scores, as `make demo` wrote them."""
  run = result('demo')
  r1 = {name: f'{100 * v["r1"]:.1f}' for name, v in run['retrieval'].items()}
  cider = [f'{run["captioning"][s]["cider"]:.2f}' for s in _STAGES]
  qa = [f'{100 * run["qa"][s]["accuracy"]:.1f}' for s in _STAGES]
  n = run['captioning']['visual']['n'], run['qa']['visual']['n']
  majority = f'{100 * run["qa"]["majority"]["accuracy"]:.1f}'
  rows = [
    ['CIDEr-D of captions, 0 to 10', f'{n[0]}', '', *cider, ''],
    [
      'answers, exact match in %',
      f'{n[1]}',
      '',
      *qa,
      f'commonest answer {majority}',
    ],
    [
      'R@1 of a dual encoder on the captions, in %',
      f'{run["retrieval"]["visual"]["n"]}',
      r1['alt_text'],
      *(r1[s] for s in _STAGES),
      f'one frame {r1["single_frame"]}, chance {r1["chance"]}',
    ],
  ]
  header = (
    '',
    'n',
    'alt-text',
    'image VLM',
    'visual',
    'visual + language',
    'beside',
  )
  seconds = run['run']['seconds']
  circumstances = (
    f'\nSeed {run["run"]["seed"]}, commit {run["run"]["commit"][:7]}, '
    f'{seconds:.0f} s ({seconds / 60:.1f} minutes) after installation.\n'
  )
  return table(header, rows) + circumstances


def demo_stages() -> str:
  """What the demo prints of its time."""
  lines, total = [], 0.0
  for name, spent in result('demo')['run']['stages'].items():
    total += spent
    lines.append(f'    == {name}: {spent:.0f} s, in all {total:.0f} s\n')
  return ''.join(lines)


def miniature() -> str:
  """Table 4 of the miniature beside the paper's."""
  rows = []
  for line in json.loads(
    (RESULTS / 'miniature_tables/table_4.json').read_text()
  )['rows']:
    what, (printed,) = paper_tables.TABLES['table_4'][2][line['row']]
    cell = line['cells'][0]
    rows.append([what, f'{printed}', f'{cell["mean"]:.1f} ± {cell["sd"]:.1f}'])
  header = ('R@1 by the source of captions, in %', 'paper (MSR-VTT)', 'here')
  return table(header, rows)


def speed() -> str:
  """Time side by side with others' code; memory where it was measured."""
  rows = []
  sampler = result('sampler_cpu')['results']
  rows.append(
    [
      'sampler, R = 4 / 8 captions a clip',
      'a t5x-style one',
      _each(sampler, 'time_ratio'),
      f'{_each(sampler, "flops_ratio")} fewer FLOPs',
      'sampler_cpu',
    ]
  )
  for cpu, what in (('cpu', 'AMD EPYC'), ('xeon', 'Intel Xeon')):
    cases = result(f'against_transformers_{cpu}')['results']
    rows.append(
      [
        'ViT-B / T5 base forward and backward / captions of a PaliGemma, '
        f'{what}',
        '`transformers` (PyTorch)',
        _each(cases, 'speed_ratio'),
        f'{_each(cases, "memory_ratio")} the memory',
        f'against_transformers_{cpu}',
      ]
    )
  faster = [r['times_faster_than'] for r in result('decode')['rows']]
  for other in ('scan', 'decord2'):
    ratios = [r[other] for r in faster]
    rows.append(
      [
        'decoding late in 60 s films, 240p to 720p',
        {'scan': 'a scan of the file'}.get(other, other),
        f'{min(ratios):.1f}x to {max(ratios):.1f}x',
        '',
        'decode',
      ]
    )
  rows.extend([*_feed_rows(), *_start_rows()])
  real = result('real_pixels')
  rows.append(
    [
      f'real pixels: CIDEr-D {real["captioning"]["cider"]:.2f}, R@1 '
      f'{real["retrieval"]["r1"]:.3f} on the training clips',
      '',
      f'{real["seconds"]:.0f} s',
      '',
      'real_pixels',
    ]
  )
  kinds = result('instruct_smollm2')['summary']['kinds']
  told = ', '.join(f'{v["accepted"]} {k}' for k, v in kinds.items())
  rows.append(
    [
      f'instruction data by SmolLM2-135M: accepted of 24 each: {told}',
      '',
      '',
      '',
      'instruct_smollm2',
    ]
  )
  rows = [[*row[:-1], f'`{row[-1]}.json`'] for row in rows]
  return table(('what', 'against', 'speed', 'beside', 'file'), rows)


def _feed_rows() -> list[list[str]]:
  rows = []
  for r in result('feed_cpu')['results']:
    ours, theirs = (r['clips_per_second'][k] for k in ('ours', 'per_example'))
    rows.append(
      [
        f'training batches, {r["case"]} clips: {ours:,.0f} clips/s',
        f"TensorFlow's operations on single examples: {theirs:,.0f}",
        f'{r["times_faster"]:.1f}x',
        '',
        'feed_cpu',
      ]
    )
  return rows


def _start_rows() -> list[list[str]]:
  """Starts of training, against the commit before the feed was in numpy."""
  found = result('feed_startup')
  rows = []
  for r in found['results']:
    if not r['case'].endswith(' train'):
      continue
    seconds, mib = (
      [r[side][key] for side in ('after', 'before')]
      for key in ('seconds', 'peak_mib')
    )
    rows.append(
      [
        f'`{r["case"]}`, one step of the miniature: {seconds[0]:.1f} s',
        f'commit {found["before"]}: {seconds[1]:.1f} s',
        f'{seconds[1] / seconds[0]:.1f}x',
        f'{mib[0]:,.0f} MiB against {mib[1]:,.0f}',
        'feed_startup',
      ]
    )
  return rows


def _each(cases: Sequence[dict[str, Any]], key: str) -> str:
  return ' / '.join(f'{case[key]:.1f}x' for case in cases)


def memory() -> str:
  """Memory of `vidlm prepare` over the clips."""
  rows = [
    [
      f'{r["clips"]:,}',
      f'{r["command_bytes"] / 2**20:.0f}',
      f'{r["largest_worker_bytes"] / 2**20:.0f}',
    ]
    for r in result('prepare_memory')['rows']
  ]
  header = ('clips prepared', 'the command, MiB', 'a worker, MiB')
  return table(header, rows)


FIGURES: dict[str, Callable[[], str]] = {
  f.__name__: f
  for f in (
    open_weights,
    costs,
    one_gpu,
    paper,
    demo,
    demo_stages,
    miniature,
    speed,
    memory,
  )
}


def filled(text: str) -> str:
  """A page with its figures as the results say.

  Raises:
    KeyError: For a name that isn't one of `FIGURES`.
  """
  return _BLOCK.sub(lambda m: m[1] + FIGURES[m[2]]() + m[3], text)


def pages() -> list[pathlib.Path]:
  """README and the docs."""
  return [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def main(argv: Sequence[str] | None = None) -> int:
  """Rewrites the pages, or says which are not current."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--check', action='store_true', help='change nothing')
  args = parser.parse_args(argv)
  status = 0
  for page in pages():
    before = page.read_text()
    after = filled(before)
    if before == after:
      continue
    name = page.relative_to(ROOT)
    if args.check:
      print(f'{name}: figures are not those of benchmarks/results', end='; ')
      print('run python scripts/docs_figures.py')
      status = 1
    else:
      files.write_text(page, after)
      print(f'{name}: written')
  return status


if __name__ == '__main__':
  sys.exit(main())
