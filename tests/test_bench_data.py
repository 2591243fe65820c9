"""benchmarks/decode.py, feed.py and prepare_memory.py on a handful of clips."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


def run(name: str, output: pathlib.Path, *flags: str) -> dict[str, Any]:
  done = subprocess.run(
    [
      sys.executable,
      str(ROOT / 'benchmarks' / f'{name}.py'),
      f'--output={output}',
      *flags,
    ],
    capture_output=True,
    text=True,
    timeout=300,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
  )
  assert done.returncode == 0, done.stdout + done.stderr
  return json.loads(output.read_text())


def test_decode(tmp_path: pathlib.Path) -> None:
  """The script itself checks that all methods return the same frames."""
  result = run(
    'decode',
    tmp_path / 'decode.json',
    '--sizes=240p',
    '--gops=30',
    '--seconds=12',
    '--clips=1',
    '--repeats=1',
  )
  [row] = result['rows']
  assert row['ours_equals_scan'] and row['starts'] == [8.0]
  for name in ('ours', 'scan', 'scan_stop', 'prepared'):
    assert row['methods'][name]['clips_per_second_a_core'] > 0
  ratio = row['methods']['ours']['clips_per_second_a_core']
  ratio /= row['methods']['scan']['clips_per_second_a_core']
  assert row['times_faster_than']['scan'] == pytest.approx(ratio)
  assert result['machine']['av']


def test_feed(tmp_path: pathlib.Path) -> None:
  """The script itself checks that both make the same batches."""
  pytest.importorskip('tensorflow')
  flags = ('--steps=2', '--repeats=1', '--cases', 'small')
  result = run('feed', tmp_path / 'feed.json', *flags)
  [row] = result['results']
  ours, theirs = (
    row['clips_per_second'][name] for name in ('ours', 'per_example')
  )
  assert row['times_faster'] == pytest.approx(ours / theirs)
  assert min(row['cpu_ms_per_clip'].values()) > 0


@pytest.mark.skipif(not pathlib.Path('/proc').exists(), reason='no /proc')
def test_prepare_memory(tmp_path: pathlib.Path) -> None:
  flags = ('--clips=90', '--shards=3', '--workers=1')
  result = run('prepare_memory', tmp_path / 'memory.json', *flags)
  assert [row['clips'] for row in result['rows']] == [30, 60, 90]
  assert all(row['command_bytes'] > 1 << 20 for row in result['rows'])
  # One video of forty is damaged, one more is missing.
  assert result['clips'] == 90 and result['ok'] == 90 - 3 - 2
  assert set(result['failed']) == {'not_found', 'open_failed'}


def test_feed_startup(tmp_path: pathlib.Path) -> None:
  flags = (f'--before={ROOT}', '--turns=1', '--cases', 'first_batch')
  result = run('feed_startup', tmp_path / 'startup.json', *flags)
  [row] = result['results']
  assert row['before'].keys() == {'seconds', 'cpu_seconds', 'peak_mib'}
  # Without TensorFlow, which alone takes 500 MiB.
  assert 0 < row['after']['peak_mib'] < 400
