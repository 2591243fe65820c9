"""ruff's rules and formatting, as configured in pyproject.toml."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
RUFF = pathlib.Path(sys.executable).with_name('ruff')


@pytest.mark.parametrize('command', [['check'], ['format', '--check']])
def test_ruff(command: list[str]) -> None:
  if not RUFF.exists():
    pytest.skip('ruff is not installed')
  done = subprocess.run(
    [str(RUFF), *command, '.'], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stdout
