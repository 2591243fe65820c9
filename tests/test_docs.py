"""README and the docs: commands parse, links lead on, figures are current."""

import importlib.util
import pathlib
import re
import shlex
import textwrap
from typing import Any

import pytest

import dualenc.cli
import vidlm.cli
from vidlm.core import command_line, launch

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = (
  'README.md',
  'CONTRIBUTING.md',
  *(str(x.relative_to(ROOT)) for x in sorted(ROOT.glob('docs/*.md'))),
)
PAGES = (
  *DOCS,
  'configs/README.md',
  *(str(x.relative_to(ROOT)) for x in ROOT.glob('data/*/README.md')),
)
CLIS = {'vidlm': vidlm.cli.COMMANDS, 'dualenc': dualenc.cli.COMMANDS}


def typed(page):
  """The commands of a page, one a line: of its blocks, tables and text."""
  text = (ROOT / page).read_text()
  blocks = re.findall(r'^ {4}(.*)', text.replace('\\\n', ' '), re.MULTILINE)
  lines = [*blocks, *re.findall(r'`([^`]+)`', text)]
  starts = r'(?:\$ |on )?((?:vidlm|dualenc) [a-z]+ .*)'
  return [found[1] for line in lines if (found := re.match(starts, line))]


def written():
  """Gin files that a page has its reader write: name -> text."""
  found = {}
  for page in PAGES:
    for name, text in re.findall(
      r"^    cat > (\S+\.gin) <<'END'\n(.*?)^    END$",
      (ROOT / page).read_text(),
      re.DOTALL | re.MULTILINE,
    ):
      found[name] = textwrap.dedent(text)
  return found


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
def test_command_parses_and_its_recipe_is_there(line, tmp_path):
  program, *argv = shlex.split(line, comments=True)
  argv, bindings = launch.split_gin_flags(argv)
  parser = command_line.make_parser(program, '', CLIS[program])
  if '--help' in argv:
    return
  if '--task=NAME' in argv:  # the table of steps names no more
    argv += ['--checkpoint=A', '--clip_dataset=B']
  args = parser.parse_args(argv)
  for name, text in written().items():
    (tmp_path / name).write_text(text)
  files = [tmp_path / f if f in written() else ROOT / f for f in args.gin_file]
  assert all(file.is_file() for file in files)
  with launch.isolated_gin():
    launch.parse_gin([str(file) for file in files], bindings)


def test_enough_commands_were_found():
  assert len(COMMANDS) >= 20


def load_figures() -> Any:
  path = ROOT / 'scripts' / 'docs_figures.py'
  spec = importlib.util.spec_from_file_location('docs_figures', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_figures_are_the_results(capsys):
  assert load_figures().main(['--check']) == 0, capsys.readouterr().out


def test_a_figure_that_is_not_current_is_said(tmp_path, monkeypatch, capsys):
  figures = load_figures()
  (tmp_path / 'docs').mkdir()
  page = tmp_path / 'docs' / 'page.md'
  page.write_text(
    'a\n<!-- figures: costs -->\nold\n<!-- end of figures -->\nb\n'
  )
  (tmp_path / 'README.md').write_text('none\n')
  monkeypatch.setattr(figures, 'ROOT', tmp_path)
  assert figures.main(['--check']) == 1
  assert 'docs/page.md' in capsys.readouterr().out
  assert figures.main([]) == 0 and figures.main(['--check']) == 0
  text = page.read_text()
  assert text.startswith('a\n<!--') and text.endswith('-->\nb\n')
  assert '`adapt_visual`' in text and 'old' not in text


@pytest.mark.parametrize('page', DOCS)
def test_links_lead_somewhere(page):
  folder = (ROOT / page).parent
  links = re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', (ROOT / page).read_text())
  assert [x for x in links if not (folder / x).exists()] == []


def test_readme_is_short():
  assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


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
