"""benchmarks/against_transformers.py at a tiny size: both sides agree."""

import json
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / 'benchmarks'))

import against_transformers

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_sides_that_disagree_are_an_error():
  agree = against_transformers.agree
  assert (
    agree('t5', [2.0, 3.0], [2.0, 3.0003])['loss_and_gradient_apart'] < 1e-3
  )
  with pytest.raises(RuntimeError, match='loss and gradient'):
    agree('t5', [2.0, 3.0], [2.0, 3.1])
  assert agree('captions', [4, 5], [4, 5]) == {
    'greedy_tokens_agree': 1.0,
    'distinct_tokens': 2,
  }
  with pytest.raises(RuntimeError, match='50% of the greedy tokens'):
    agree('captions', [4, 5], [4, 6])


@pytest.mark.slow
def test_all_cases(tmp_path):
  pytest.importorskip('transformers')
  output = tmp_path / 'result.json'
  subprocess.run(
    [
      sys.executable,
      'benchmarks/against_transformers.py',
      '--size=tiny',
      '--repeats=2',
      f'--output={output}',
    ],
    cwd=ROOT,
    check=True,
  )
  result = json.loads(output.read_text())
  assert [row['case'] for row in result['results']] == ['vit', 't5', 'captions']
  for row in result['results']:
    for side in ('ours', 'transformers'):
      assert len(row[side]['seconds']) == 2 and row[side]['peak_gib'] > 0
    assert row['speed_ratio'] > 0
  assert result['results'][2]['greedy_tokens_agree'] == 1.0
