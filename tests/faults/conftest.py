"""What the tests of faults share, and the table that `make test-faults` prints.

Fixtures of the folders beside this one serve here too: a fault is tried on the
same fakes, films and toys as all else.
"""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import textwrap
from typing import Any

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
for _folder in ('faults', 'training'):
  sys.path.insert(0, str(TESTS / _folder))

import fault_rows  # noqa: E402


def load(name: str) -> Any:
  """A module of the tests, by its path below tests/ (they are no package)."""
  module = f'faults_{name.replace("/", "_").removesuffix(".py")}'
  if module not in sys.modules:
    spec = importlib.util.spec_from_file_location(module, TESTS / name)
    sys.modules[module] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[module])
  return sys.modules[module]


_captions = load('captions/conftest.py')
fakes, lines, make_lines = (
  _captions.fakes,
  _captions.lines,
  _captions.make_lines,
)
start, hashes = _captions.start, _captions.hashes
_data = load('data/conftest.py')
videos, hostile = _data.videos, _data.hostile
_commands = load('commands/conftest.py')
commands, data, tools = _commands.commands, _commands.data, _commands.tools


@pytest.fixture(scope='session')
def module():
  """Gives a module of the tests by its path below tests/."""
  return load


@pytest.fixture(scope='session')
def python():
  """Runs a program of this folder, or `-m MODULE`, as a process of its own."""

  def run(*args: Any, **options: Any) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in args]
    if words[0].endswith('.py'):
      words[0] = str(TESTS / words[0])
    options = {'timeout': 300, **options}
    return subprocess.run(
      [sys.executable, *words],
      capture_output=True,
      text=True,
      cwd=ROOT,
      env={
        **os.environ,
        'PYTHONPATH': os.pathsep.join([str(ROOT), str(TESTS / 'training')]),
        'XLA_FLAGS': '--xla_force_host_platform_device_count=1',
      },
      **options,
    )

  return run


def _outcomes(reporter: pytest.TerminalReporter) -> dict[int, list[str]]:
  """Row -> what came of its tests, here and elsewhere."""
  found: dict[int, list[str]] = {row.number: [] for row in fault_rows.ROWS}
  for kind, reports in reporter.stats.items():
    if kind not in ('passed', 'failed', 'error', 'skipped', 'xfailed'):
      continue
    for report in reports:
      name = report.nodeid.partition('[')[0]
      own = re.match(r'tests/faults/.*::test_(\d\d)_', name)
      for row in fault_rows.ROWS:
        if name in row.elsewhere or (own and int(own[1]) == row.number):
          found[row.number].append(kind)
  return found


def _held(row: fault_rows.Row, kinds: list[str]) -> str:
  passed, failed = kinds.count('passed'), kinds.count('failed')
  failed += kinds.count('error')
  text = f'{passed} of {passed + failed} tests'
  if failed:
    return f'NO: {text}'
  if row.open:
    return f'open: {row.open} ({text})'
  return f'yes: {text}' if passed else 'not tried: skipped'


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
  """Prints injected, promised and held of each row that was tried."""
  found = _outcomes(terminalreporter)
  tried = [row for row in fault_rows.ROWS if found[row.number]]
  if not tried:
    return
  terminalreporter.section('faults')
  for row in tried:
    for name, text in (
      (f'{row.number:2}  injected', row.injected),
      ('    promised', row.promised),
      ('    held', _held(row, found[row.number])),
    ):
      for line in textwrap.wrap(
        text, 76, initial_indent=f'{name:14}', subsequent_indent=' ' * 14
      ):
        terminalreporter.write_line(line)
