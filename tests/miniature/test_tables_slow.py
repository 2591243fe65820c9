"""The miniature's tables end to end, with a fiftieth of data and steps."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def start(output: pathlib.Path) -> subprocess.Popen[str]:
  return subprocess.Popen(
    [
      sys.executable,
      '-m',
      'vidlm.miniature',
      'tables',
      f'--output={output}',
      '--seeds=0,1',
      '--scale=0.02',
    ],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(ROOT)},
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def test_killed_and_started_again(tmp_path: pathlib.Path):
  output = tmp_path / 'run'
  first = start(output)
  while (
    first.poll() is None
    and not (output / 'seed_0/language/config.gin').exists()
  ):
    time.sleep(0.2)
  assert first.poll() is None, first.stdout.read()[-3000:]
  first.send_signal(signal.SIGKILL)
  first.communicate()
  texts = []
  for _ in range(2):
    again = start(output)
    text, _ = again.communicate()
    assert again.returncode == 0, text[-3000:]
    texts.append(text)
  assert ': step' in texts[0] and ': step' not in texts[1]
  report = output / 'report'
  for number in (2, 3, 4, 5, 6, 11):
    table = json.loads((report / f'table_{number}.json').read_text())
    assert table['run']['seeds'] == [0, 1]
    for row in table['rows']:
      for cell in row['cells']:
        assert cell['n'] == (1 if cell['shared'] else 2)
    assert (report / f'table_{number}.html').exists()
  assert 'only the path shows' in (report / 'README.md').read_text()
