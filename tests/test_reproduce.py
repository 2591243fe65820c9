"""The paper's tables: the commands parse, the rows fit, the table is right."""

import argparse
import importlib.util
import json
import pathlib
import re
import shlex
import subprocess
from typing import Any

import pytest

import dualenc.cli
import vidlm.cli
from vidlm.core import launch
from vidlm.evals import paper_tables

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / 'scripts'
NAMES = [*(f'table_{n}' for n in (2, 3, 4, 5, 6, 11)), 'figure_5']


def load_tables() -> Any:
  path = SCRIPTS / 'paper_table.py'
  spec = importlib.util.spec_from_file_location('paper_table', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def run(name: str, *flags: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    ['bash', str(SCRIPTS / f'reproduce_{name}.sh'), *flags],
    capture_output=True,
    text=True,
    timeout=60,
  )


def commands(name: str) -> list[list[str]]:
  done = run(name, '--dry_run', '--runs=my runs', '--data=my data')
  assert done.returncode == 0, done.stderr
  return [shlex.split(line) for line in done.stdout.splitlines()]


def parse(argv: list[str]) -> argparse.Namespace:
  """Parses a command as the program would."""
  module = {'vidlm': vidlm.cli, 'dualenc': dualenc.cli}[argv[0]]
  [command] = [c for c in module.COMMANDS if c.name == argv[1]]
  parser = argparse.ArgumentParser(exit_on_error=False)
  command.add_flags(parser)
  launch.add_flags(parser)
  rest, bindings = launch.split_gin_flags(argv[2:])
  args = parser.parse_args(rest)
  args.bindings = [*args.gin_bindings, *bindings]
  return args


@pytest.mark.parametrize('name', NAMES)
def test_miniature_makes_the_tables_of_the_miniature(name: str):
  done = run(name, '--miniature', '--dry_run', '--runs=my runs')
  assert done.returncode == 0, done.stderr
  made = shlex.split(done.stdout.splitlines()[0])
  program = 'demo' if name == 'figure_5' else 'tables'
  assert made[:5] == [
    *('python', '-m', 'vidlm.miniature', program),
    '--output=my runs',
  ]
  shown = f'cat my\\ runs/report/{name}.md'
  assert (shown in done.stdout) == (name != 'figure_5')


def test_miniature_shows_its_table(tmp_path: pathlib.Path):
  (tmp_path / 'report').mkdir()
  (tmp_path / 'report/table_3.md').write_text('# the table\n')
  done = run('table_3', '--miniature', '--table_only', f'--runs={tmp_path}')
  assert done.returncode == 0, done.stderr
  assert '# the table' in done.stdout.splitlines()


@pytest.mark.parametrize('name', NAMES)
def test_dry_run_prints_commands_that_parse(name: str):
  found = commands(name)
  *steps, last = found
  assert last[1].endswith('scripts/paper_table.py')
  assert last[2:] == [
    f'--table={name}',
    f'--scores=my runs/scores/{name}',
    '--output=my runs/tables',
  ]
  for argv in steps:
    args = parse(argv)
    for recipe in getattr(args, 'gin_file', None) or ():
      assert (ROOT / recipe).exists(), recipe
  assert any(argv[1] == 'train' for argv in steps)


@pytest.mark.parametrize('name', NAMES)
def test_every_cell_is_scored_and_every_score_is_a_cell(name: str):
  _, columns, rows = paper_tables.TABLES[name]
  wanted = {f'{row}.{c[0]}.json' for row in rows for c in columns.values()}
  scored = {
    pathlib.Path(parse(argv).output).name
    for argv in commands(name)
    if argv[1] == 'eval'
  }
  assert scored == wanted


@pytest.mark.parametrize('name', NAMES)
def test_models_are_trained_before_they_are_scored(name: str):
  """But those that are named as coming from elsewhere."""
  given = {f'my runs/{m}' for m in ('image', 'clip_l14', 'clip_b16')}
  if name == 'table_11':
    given |= {f'my runs/table_2/{r}_plus' for r in (
      'videocc', 'internvid', 'both')}  # fmt: skip
  for argv in commands(name):
    if argv[1] == 'train':
      [bound] = [b for b in parse(argv).bindings if 'MODEL_DIR' in b]
      given.add(re.fullmatch(r".*'(.+)'", bound)[1])
    elif argv[1] == 'eval':
      assert parse(argv).checkpoint in given


def test_table_shows_paper_ours_and_protocol(tmp_path: pathlib.Path):
  scores = tmp_path / 'scores'
  scores.mkdir()
  protocol = {
    'task': 'msrvtt_1ka',
    'split': 'test_1ka',
    'num_videos': 990,
    'published_size': 1000,
    'ties': 'mid-rank',
  }
  score = {
    't2v': {'R@1': 0.4127, 'interval_95': {'R@1': [0.38, 0.45]}},
    'protocol': protocol,
  }
  (scores / 'frames.msrvtt_1ka.json').write_text(json.dumps(score))
  output = tmp_path / 'out'
  load_tables().main(
    ['--table=table_4', f'--scores={scores}', f'--output={output}']
  )
  table = json.loads((output / 'table_4.json').read_text())
  cells = {cell['row']: cell for cell in table['cells']}
  mine = cells['image VLM, frame by frame']
  assert (mine['paper'], mine['ours']) == (39.5, 41.27)
  assert mine['interval_95'] == [38.0, 45.0]
  assert mine['protocol'] == protocol
  assert cells['alt-text']['ours'] is None
  text = (output / 'table_4.md').read_text()
  assert (
    '| 39.5 | 41.3 [38.0, 45.0] | msrvtt_1ka; split test_1ka; 990 scored'
    in text
  )
  assert 'mid-rank; shown times 100 |' in text
  assert text.count('not run') == 5
  page = (output / 'table_4.html').read_text()
  assert page.count('<tr>') == 7 and '41.3 [38.0, 45.0]' in page


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('{"t2v"', 'no score; delete it'),
    ('[]', 'no score; delete it'),
    ('{"protocol": {"task": "vatex_1.5k"}}', 'a score of vatex_1.5k'),
  ],
)
def test_a_file_of_another_kind_is_no_score(
  tmp_path: pathlib.Path,
  capsys: pytest.CaptureFixture[str],
  content: str,
  message: str,
):
  (tmp_path / 'frames.msrvtt_1ka.json').write_text(content)
  flags = ['--table=table_4', f'--scores={tmp_path}', f'--output={tmp_path}']
  with pytest.raises(SystemExit):
    load_tables().main(flags)
  assert f'frames.msrvtt_1ka.json: {message}' in capsys.readouterr().err


def test_a_figure_is_plotted_too(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
  monkeypatch.syspath_prepend(str(SCRIPTS))
  scores = tmp_path / 'scores'
  scores.mkdir()
  for percent, recall in ((1, 0.2), (100, 0.4)):
    score = {
      't2v': {'R@1': recall, 'interval_95': {'R@1': [0.1, 0.5]}},
      'protocol': {'task': 'msrvtt_1ka', 'split': 'test_1ka'},
    }
    path = scores / f'distilled_{percent}.msrvtt_1ka.json'
    path.write_text(json.dumps(score))
  outputs = [tmp_path / 'a', tmp_path / 'b']
  for output in outputs:
    load_tables().main(
      ['--table=figure_5', f'--scores={scores}', f'--output={output}']
    )
  svg = (outputs[0] / 'figure_5.svg').read_text()
  assert svg == (outputs[1] / 'figure_5.svg').read_text()
  for text in ('distilled<', 'distilled, paper', 'alt-text (not run)', '30 %'):
    assert text in svg
  assert svg in (outputs[0] / 'figure_5.html').read_text()
  table = json.loads((outputs[0] / 'figure_5.json').read_text())
  assert [c['ours'] for c in table['cells'] if c['ours']] == [20.0, 40.0]


def test_gains_are_those_of_the_paper():
  tables = paper_tables.TABLES
  _, columns, rows = tables['table_2']
  assert all(len(f) == len(columns) for _, f in rows.values())
  gain = [
    round(b - a, 1)
    for a, b in zip(rows['videocc'][1], rows['videocc_plus'][1], strict=True)
  ]
  assert gain == [11.2, 10.1, 8.3, 26.5, 23.3, 17.9, 12.5, 10.8]


@pytest.mark.parametrize(
  ('name', 'flags', 'message'),
  [
    ('table_2', ['--run=x'], 'unknown option --run=x'),
    ('table_4', [], '--llm_url=URL and --llm_model=NAME are missing'),
  ],
)
def test_mistakes_are_one_line(name: str, flags: list[str], message: str):
  done = run(name, *flags)
  assert done.returncode == 2
  assert message in done.stderr and done.stderr.count('\n') == 1


@pytest.mark.parametrize('name', NAMES)
def test_help_and_prefix(name: str):
  done = run(name, '--help')
  assert done.returncode == 0 and '--dry_run' in done.stdout
  done = run(name, '--dry_run', '--launch=srun -N 2')
  trains = [ln for ln in done.stdout.splitlines() if ' train ' in ln]
  assert trains and all(ln.startswith('srun -N 2 ') for ln in trains)
