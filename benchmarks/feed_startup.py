"""Start-up, memory and speed of training's feed: this tree against another.

  python benchmarks/feed_startup.py --before=DIR \
    --output=benchmarks/results/feed_startup.json

DIR is a checkout of the code to compare with; both run in this Python, in
turns, each time in a process of its own:

  first_batch    makes the feed of a small clip set and takes one batch
  vidlm train    the miniature's visual adaptation, one step
  dualenc train  the miniature's dual encoder, one step
  large, small   clips a second of `ours` in the tree's benchmarks/feed.py

`train` finds its step compiled: what is left is what every start pays. The
clip set is the tests' (tests/testdata/feed). Figures are medians over turns;
CPU seconds are those of all threads, memory is the most that was resident,
and both are of the process from its start to its end.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from vidlm.core import circumstances, files

ROOT = pathlib.Path(__file__).resolve().parents[1]
DATA = ROOT / 'tests' / 'testdata' / 'feed'
# Modules are called as today, or as they were before they had rooms.
FIRST_BATCH = """
import sys
try:
  from vidlm.data.feed import batches, tasks, vocabulary
except ImportError:
  from vidlm.data import feed as batches, tasks, vocabulary
folder = sys.argv[1]
words = vocabulary.Vocabulary(folder + '/words.model')
task = tasks.ClipTask('start', words, folder, 'clips')
config = batches.DatasetConfig(
  task, dict(inputs=16, targets=16), 8, frames=tasks.FrameOptions(4, 32)
)
assert len(batches.take(batches.make_feed(config, 1), 1)) == 1
"""
TRAIN = {
  'vidlm train': {
    'INITIAL_CHECKPOINT_PATH': None,
    'short/tasks.ClipTask.clips': "'clips'",
  },
  'dualenc train': {'CLIPS': "'clips'"},
}
CASES = ('first_batch', 'vidlm train', 'dualenc train', 'large', 'small')
RATES = ('large', 'small')
RECIPES = {'vidlm train': 'visual', 'dualenc train': 'dualenc'}


def command(case: str, folder: str) -> list[str]:
  """What a case runs."""
  if case == 'first_batch':
    return [sys.executable, '-c', FIRST_BATCH, str(DATA)]
  macros = {
    'MODEL_DIR': repr(os.path.join(folder, 'run')),
    'DATA_DIR': repr(str(DATA)),
    'VOCABULARY_PATH': repr(str(DATA / 'words.model')),
    'TRAIN_STEPS': 1,
    **TRAIN[case],
  }
  return [
    *(sys.executable, '-m', case.split()[0], 'train'),
    f'--gin_file=configs/miniature/{RECIPES[case]}.gin',
    *(f'--gin.{name}={value}' for name, value in macros.items()),
  ]


def run(case: str, tree: pathlib.Path, cache: str) -> dict[str, float]:
  """Seconds, CPU seconds and MiB of one start."""
  environment = {
    **os.environ,
    'PYTHONPATH': str(tree),
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': cache,
  }
  with (
    tempfile.TemporaryDirectory() as folder,
    tempfile.TemporaryFile() as log,
  ):
    began = time.perf_counter()
    process = subprocess.Popen(
      command(case, folder), cwd=tree, env=environment, stdout=log, stderr=log
    )
    # Not `wait`: only this tells what the one process took.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
      log.seek(0)
      raise SystemExit(f'{case} in {tree}: {log.read().decode()[-2000:]}')
  return {
    'seconds': seconds,
    'cpu_seconds': usage.ru_utime + usage.ru_stime,
    'peak_mib': usage.ru_maxrss / 1024,
  }


def rate(case: str, tree: pathlib.Path) -> dict[str, float]:
  """Clips a second of a case of benchmarks/feed.py."""
  with tempfile.TemporaryDirectory() as folder:
    output = pathlib.Path(folder, 'feed.json')
    done = subprocess.run(
      [
        *(sys.executable, 'benchmarks/feed.py', f'--output={output}'),
        *('--repeats=1', '--cases', case),
      ],
      cwd=tree,
      env={**os.environ, 'PYTHONPATH': str(tree)},
      capture_output=True,
      text=True,
    )
    if done.returncode:
      raise SystemExit(f'{case} in {tree}: {done.stderr[-2000:]}')
    (row,) = json.loads(output.read_text())['results']
  return {
    'clips_per_second': row['clips_per_second']['ours'],
    'cpu_ms_per_clip': row['cpu_ms_per_clip']['ours'],
  }


def measure(
  case: str, trees: dict[str, pathlib.Path], turns: int
) -> dict[str, Any]:
  """Medians of both trees; the first turn compiles and isn't counted."""
  taken: dict[str, list[dict[str, float]]] = {name: [] for name in trees}
  with tempfile.TemporaryDirectory() as cache:
    for turn in range(turns + 1):
      for name, tree in trees.items():
        if case in RATES:
          figures = rate(case, tree)
        else:
          figures = run(case, tree, os.path.join(cache, name))
        if turn:
          taken[name].append(figures)
  medians = {
    name: {
      key: round(statistics.median(each[key] for each in all_turns), 3)
      for key in all_turns[0]
    }
    for name, all_turns in taken.items()
  }
  return {'case': case, **medians}


def main(argv: Sequence[str] | None = None) -> None:
  """Measures all cases and writes them down."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--before', type=pathlib.Path, required=True)
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--turns', type=int, default=5)
  parser.add_argument('--cases', nargs='+', default=CASES)
  args = parser.parse_args(argv)
  trees = {'before': args.before.resolve(), 'after': ROOT}
  rows = []
  for case in args.cases:
    rows.append(measure(case, trees, args.turns))
    print(json.dumps(rows[-1]), flush=True)
  result = {
    'command': ' '.join(['python', *sys.argv]),
    'before': _commit(trees['before']),
    'turns': args.turns,
    'load_at_the_end': os.getloadavg(),
    'machine': circumstances.machine(),
    'results': rows,
  }
  files.write_json(args.output, result)


def _commit(tree: pathlib.Path) -> str:
  done = subprocess.run(
    ['git', '-C', str(tree), 'rev-parse', '--short', 'HEAD'],
    capture_output=True,
    text=True,
    check=True,
  )
  return done.stdout.strip()


if __name__ == '__main__':
  main()
