"""ruff's rules and formatting, as configured in pyproject.toml."""

import pathlib
import re
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


# Scratch that nobody finds, and the one place that writes whole files.
_WRITERS = {
  'vidlm/core/files.py',
  'vidlm/data/video/packed.py',
  'vidlm/models/restored.py',
}


def test_files_are_written_in_one_place():
  """`core/files`: whole or not at all, and on the disk."""
  by_hand = re.compile(
    r'(?<!files)(?<!files_lib)\.write_(text|bytes)\(|os\.(replace|rename)\('
    r'|json\.dump\(|open\([^)]*[\'"]wb?[\'"]'
  )
  found = [
    f'{path.relative_to(ROOT)}:{number}: {line.strip()}'
    for package in ('vidlm', 'dualenc')
    for path in sorted((ROOT / package).rglob('*.py'))
    if str(path.relative_to(ROOT)) not in _WRITERS
    for number, line in enumerate(path.read_text().splitlines(), 1)
    if by_hand.search(line) and 'av.open(' not in line
    if 'archive.open(' not in line
  ]
  assert not found, found
