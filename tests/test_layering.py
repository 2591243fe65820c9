"""Imports run one way, and TensorFlow only where a task needs it."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Prints which of the heavy packages came in with the imports.
PROBE = """
import importlib, sys
importlib.import_module({module!r})
heavy = ['tensorflow', 'seqio', 'tensorflow_datasets', 'torch', 'orbax', 'jax']
print(*[name for name in heavy if name in sys.modules])
"""


def imported_with(module: str) -> set[str]:
  done = subprocess.run(
    [sys.executable, '-c', PROBE.format(module=module)],
    capture_output=True,
    text=True,
    cwd=ROOT,
    timeout=120,
  )
  assert done.returncode == 0, done.stderr
  return set(done.stdout.split())


def test_import_contracts() -> None:
  done = subprocess.run(
    [
      sys.executable,
      '-c',
      'from importlinter.cli import lint_imports_command as main; main()',
      '--no-cache',
      '--no-logo',
    ],
    capture_output=True,
    text=True,
    cwd=ROOT,
    timeout=300,
  )
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
  'module',
  [
    'vidlm.train',
    'vidlm.eval',
    'vidlm.commands.caption',
    'vidlm.training.plan',
    'vidlm.interop.convert',
    'dualenc.eval',
    'dualenc.objective',
  ],
)
def test_no_tensorflow_before_a_task_runs(module: str) -> None:
  assert imported_with(module).isdisjoint(
    {'tensorflow', 'seqio', 'tensorflow_datasets', 'torch'}
  )


@pytest.mark.parametrize('module', ['vidlm.cli', 'dualenc.cli'])
def test_help_needs_neither_jax_nor_tensorflow(module: str) -> None:
  assert imported_with(module) == set()


def test_what_only_the_miniature_needs_is_asked_for_only_there() -> None:
  """The extra `miniature`; the plot of figure 5 says so where it is missing."""
  importers = {
    str(path.relative_to(ROOT))
    for package in ('vidlm', 'dualenc', 'data')
    for path in (ROOT / package).rglob('*.py')
    if not _imports(path).isdisjoint({'jinja2', 'matplotlib', 'pymunk'})
  }
  assert importers == {
    'vidlm/evals/paper_plot.py',
    'vidlm/miniature/demo_report.py',
    'vidlm/miniature/world/physics.py',
  }


def _imports(path: pathlib.Path) -> set[str]:
  names = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      names |= {alias.name.split('.')[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module:
      names.add(node.module.split('.')[0])
  return names
