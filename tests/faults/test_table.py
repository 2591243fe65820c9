"""The table of faults is whole: each row is tried, and what it names exists."""

import ast
import pathlib
import re

import fault_rows
import pytest

FOLDER = pathlib.Path(__file__).parent
ROOT = FOLDER.parents[1]
_SLOW = 'pytest.mark.slow'


def functions(path):
  """Name of a test -> whether it is marked slow."""
  tree = ast.parse(path.read_text())
  return {
    node.name: any(ast.unparse(d) == _SLOW for d in node.decorator_list)
    for node in tree.body
    if isinstance(node, ast.FunctionDef) and node.name.startswith('test_')
  }


def test_rows_are_numbered():
  assert [row.number for row in fault_rows.ROWS] == list(range(1, 26))


@pytest.mark.parametrize('row', fault_rows.ROWS, ids=lambda row: row.number)
def test_each_row_has_a_small_test_here_and_names_only_tests_there_are(row):
  small = [
    name
    for path in FOLDER.glob('test_*.py')
    for name, slow in functions(path).items()
    if re.match(rf'test_{row.number:02}_', name) and not slow
  ]
  assert small, f'no quick test_{row.number:02}_... in {FOLDER}'
  for name in row.elsewhere:
    file, _, function = name.partition('::')
    assert function in functions(ROOT / file), name
