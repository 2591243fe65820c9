"""`make test-fast`: the quickest files by what a run took."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parent
SECONDS = json.loads((TESTS / 'seconds.json').read_text())


@pytest.fixture(scope='module')
def hooks():
  spec = importlib.util.spec_from_file_location('hooks', TESTS / 'conftest.py')
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_the_quickest_files_are_taken_until_the_time_is_used_up(hooks):
  seconds = {'a': 3.0, 'b': 0.5, 'c': 9.0, 'd': 1.0, 'e': 2.0}
  assert hooks.quickest(seconds, 4.0) == {'b', 'd', 'e'}
  assert hooks.quickest(seconds, 0.1) == set()


def test_the_seconds_are_those_of_files_that_are_there(hooks):
  """After a file was renamed, `make test ARGS=--record-seconds`."""
  gone = [name for name in SECONDS if not (TESTS.parent / name).is_file()]
  assert not gone
  files = {
    str(path.relative_to(TESTS.parent)) for path in TESTS.rglob('test_*.py')
  }
  # A file not measured yet is left out, so that few may be.
  assert len(files - set(SECONDS)) < len(files) / 3
  assert len(hooks.quickest(SECONDS, hooks.FAST)) > 0.3 * len(SECONDS)


def test_slow_files_are_left_out_and_the_seconds_told(hooks):
  # The one file of its folder, so that little else is run here.
  slow, quickest = (
    'tests/notebooks/test_notebooks.py',
    'tests/core/test_trees.py',
  )
  assert slow not in hooks.quickest(SECONDS, hooks.FAST)
  done = subprocess.run(
    [sys.executable, '-m', 'pytest', '--fast', '--durations=1', '-q']
    + [str(pathlib.Path(slow).parent), quickest],
    cwd=TESTS.parent,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stdout
  assert slow not in done.stdout
  assert 'seconds by file' in done.stdout
  assert quickest in done.stdout
