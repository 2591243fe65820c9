"""README and its like: commands parse, figures are the results'."""

import json
import pathlib
import re
import shlex

import pytest

import dualenc.cli
import vidlm.cli
from vidlm.core import command_line, launch

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = (
  'README.md',
  'configs/README.md',
  *(str(x.relative_to(ROOT)) for x in ROOT.glob('data/*/README.md')),
)
README = (ROOT / 'README.md').read_text()
RESULTS = ROOT / 'benchmarks' / 'results'
GIB = 2**30
CLIS = {'vidlm': vidlm.cli.COMMANDS, 'dualenc': dualenc.cli.COMMANDS}


def typed(page):
  """The commands of a page, one a line: of its blocks, tables and text."""
  text = (ROOT / page).read_text()
  blocks = re.findall(r'^ {4}(.*)', text.replace('\\\n', ' '), re.MULTILINE)
  lines = [*blocks, *re.findall(r'`([^`]+)`', text)]
  starts = r'(?:\$ |on )?((?:vidlm|dualenc) [a-z]+ .*)'
  return [found[1] for line in lines if (found := re.match(starts, line))]


# Without a flag or a file a command is a name in running text.
COMMANDS = sorted(
  {
    line
    for page in PAGES
    for line in typed(page)
    if '--' in line or ' convert ' in line
  }
)


@pytest.mark.parametrize('line', COMMANDS)
def test_command_parses_and_its_recipe_is_there(line):
  program, *argv = shlex.split(line, comments=True)
  argv, bindings = launch.split_gin_flags(argv)
  parser = command_line.make_parser(program, '', CLIS[program])
  if '--help' in argv:
    return
  if '--task=NAME' in argv:  # the table of steps names no more
    argv += ['--checkpoint=A', '--clip_dataset=B']
  args = parser.parse_args(argv)
  assert all((ROOT / file).is_file() for file in args.gin_file)
  with launch.isolated_gin():
    launch.parse_gin(args.gin_file, bindings)


def test_enough_commands_were_found():
  assert len(COMMANDS) >= 20


def result(name):
  return json.loads((RESULTS / f'{name}.json').read_text())


def row(start):
  """The cells of the one table row that starts so."""
  (line,) = [x for x in README.splitlines() if x.startswith(f'| {start}')]
  return [cell.strip() for cell in line.strip('|').split('|')]


def plans():
  names = [path.stem for path in sorted(RESULTS.glob('plan_*.json'))]
  return [re.fullmatch(r'plan_(.*)_v5e_8x16', name)[1] for name in names]


@pytest.mark.parametrize('recipe', plans())
def test_costs_are_the_plans(recipe):
  plan = result(f'plan_{recipe}_v5e_8x16')
  cells = row(f'`{recipe}`')[1:]
  chip = f'{plan["bytes_per_chip"] / GIB:.2f}'
  counts = plan['parameters']
  weights = f'{counts["total"] * 2 / GIB:.1f}'
  state = f'{plan["bytes"]["total"] / GIB:.1f}'
  mesh = f'{plan["mesh"]["data"]}x{plan["mesh"]["model"]}'
  if len(cells) == 3:  # from open weights
    assert cells[1:] == [
      f'{counts["trainable"] / 1e9:.2f}B / {counts["total"] / 1e9:.2f}B',
      f'{weights}, {state}, {chip}',
    ]
  else:
    assert cells == [
      f'{plan["batch_size"]:,}, {mesh}',
      chip,
      f'{plan["flops"] / 1e18:.1f} EFLOP',
      f'{plan["chip_hours"]:.0f}',
    ]


def test_demo_is_what_demo_json_says():
  demo = result('demo')
  seconds = demo['run']['seconds']
  assert f'took {seconds / 60:.1f} minutes' in README
  total = 0.0
  for name, spent in demo['run']['stages'].items():
    total += spent
    shown = re.findall(rf'== {name}: (.*)', README)
    assert shown in ([], [f'{spent:.0f} s, in all {total:.0f} s'])
  stages = ('image_vlm', 'visual', 'visual+language')
  cider = [f'{demo["captioning"][s]["cider"]:.2f}' for s in stages]
  assert ' / '.join(cider) in row('miniature: CIDEr-D')[-1]
  qa = [f'{100 * demo["qa"][s]["accuracy"]:.1f}' for s in stages]
  assert ' / '.join(qa) in row('miniature: question answering')[-1]
  r1 = {s: f'{100 * v["r1"]:.1f}' for s, v in demo['retrieval'].items()}
  found = row('miniature: R@1')[-1]
  assert ' / '.join(r1[s] for s in ('alt_text', *stages)) in found
  assert f'one frame {r1["single_frame"]}, chance {r1["chance"]}' in found


def test_measurements_are_the_results():
  real = result('real_pixels')
  assert (
    f'{real["captioning"]["cider"]:.2f} / {real["retrieval"]["r1"]:.3f} in '
    f'{real["seconds"]:.0f} s'
  ) in row('real pixels')[-1]
  ratios = result('sampler_cpu')['results']
  shown = [
    ' / '.join(f'{r[key]:.1f}x' for r in ratios)
    for key in ('time_ratio', 'flops_ratio')
  ]
  assert f'{shown[0]} the speed, {shown[1]} fewer' in row('sampler')[-1]
  faster = [r['times_faster_than'] for r in result('decode')['rows']]
  ranges = []
  for other in ('scan', 'decord2'):
    times = [ratio[other] for ratio in faster]
    ranges.append(f'{min(times):.1f}x to {max(times):.1f}x')
  assert ' / '.join(ranges) in row('decoding')[-1]
  shown = ' / '.join(
    f'{r["clips_per_second"]["ours"]:.0f} against '
    f'{r["clips_per_second"]["per_example"]:.0f}, {r["times_faster"]:.1f}x'
    for r in result('feed_cpu')['results']
  )
  assert shown in row('training batches')[-1]
  for cpu, start in (
    ('cpu', 'against `transformers`'),
    ('xeon', 'the same on 2 cores of an Intel Xeon'),
  ):
    cases = result(f'against_transformers_{cpu}')['results']
    speed = ' / '.join(f'{case["speed_ratio"]:.1f}x' for case in cases)
    memory = ' / '.join(f'{case["memory_ratio"]:.1f}x' for case in cases)
    assert f'{speed} the speed, {memory} the memory' in row(start)[-1]
  kinds = result('instruct_smollm2')['summary']['kinds']
  told = ', '.join(f'{v["accepted"]} {k}' for k, v in kinds.items())
  assert told in row('instruction data')[-1]


def test_miniature_tables_are_the_results():
  table = json.loads((RESULTS / 'miniature_tables/table_4.json').read_text())
  cells = {line['row']: line['cells'][0] for line in table['rows']}
  shown = {k: f'{c["mean"]:.1f} ± {c["sd"]:.1f}' for k, c in cells.items()}
  assert row('alt-text')[-1] == shown['alt_text']
  assert row('image VLM, frame')[-1] == (
    f'{shown["frames"]} / {shown["frames_llm"]}'
  )
  assert row('visual adaptation, one')[-1] == (
    f'{shown["visual"]} / {shown["visual_multi"]}'
  )
  assert row('visual and language')[-1] == shown['adapted_multi']


def test_memory_is_the_result():
  memory = result('prepare_memory')
  mib = lambda values: {f'{x / 2**20:.0f} MiB' for x in values}
  settled = memory['rows'][1:]
  (command,) = mib(r['command_bytes'] for r in settled)
  (worker,) = mib(r['largest_worker_bytes'] for r in settled)
  text = ' '.join(README.split())
  assert f'{command}, and {worker} a worker' in text
  (most,) = mib([memory['most_of_command_bytes']])
  assert f'takes the command to {most}' in text


def test_macros_of_shared_pieces_are_listed():
  defined = set()
  for folder in ('shared', 'vidlm/models', 'dualenc/models', 'dualenc/runs'):
    for path in (ROOT / 'configs' / folder).glob('*.gin'):
      defined |= set(
        re.findall(r'^([A-Z_]+) =', path.read_text(), re.MULTILINE)
      )
  table = (ROOT / 'configs' / 'README.md').read_text().split('## Macros')[1]
  rows = [x.split('|')[1] for x in table.splitlines() if x.startswith('| `')]
  listed = set(re.findall(r'`([A-Z_]+)`', ' '.join(rows)))
  of_recipes = {
    *('MIXTURE_OR_TASK', 'TASK_FEATURE_LENGTHS', 'TRAIN_STEPS'),
    *('BATCH_SIZE', 'SCHEDULE'),
  }
  assert listed == defined | of_recipes
