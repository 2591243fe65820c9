"""The paper's tables 2 to 6 and 11 in miniature, over several seeds.

  python -m vidlm.miniature tables --output=runs/tables --seeds=0,1,2

Draws the world and trains stage 0 once; then trains, captions and scores for
each seed what `table_runs` lists, and writes the tables of the seeds that
are done. What is there is not made again: the same command goes on where it
was stopped. `--plan` prints the runs and the time they should take.
"""

import argparse
import os
import pathlib
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from vidlm.core import circumstances, files, huge_pages, launch
from vidlm.miniature import (
  demo_scores,
  table_report,
  table_runs,
  table_seed,
)


def main(argv: Sequence[str]) -> None:
  """Runs `python -m vidlm.miniature tables`."""
  parser = argparse.ArgumentParser(
    'python -m vidlm.miniature tables', description=__doc__.splitlines()[0]
  )
  parser.add_argument(
    '--output', type=pathlib.Path, default=pathlib.Path('runs/tables')
  )
  parser.add_argument(
    '--seeds', type=_seeds, default=(0, 1, 2), help='such as 0,1,2'
  )
  parser.add_argument(
    '--scale',
    type=float,
    default=1.0,
    help='of corpora and steps; below 1 only the path shows',
  )
  parser.add_argument(
    '--plan', action='store_true', help='print the runs, and stop'
  )
  args = parser.parse_args(argv)
  if not args.plan:
    huge_pages.restart()
  for what, seconds in table_runs.budget(len(args.seeds)):
    print(f'{what:32} {seconds:6.0f} s = {seconds / 60:5.1f} min')
  if args.plan:
    return
  launch.start_logging()
  launch.use_compilation_cache()
  try:
    run(args.output, args.seeds, args.scale)
  except (ValueError, OSError) as error:
    if os.environ.get('VIDLM_TRACEBACK'):
      raise
    raise launch.fail(error) from None


def run(output: pathlib.Path, seeds: tuple[int, ...], scale: float) -> None:
  """Makes what is not there yet, and the tables after each seed.

  Raises:
    FileExistsError: If the output is that of another scale.
  """
  files.make_folder(output)
  claim(output, scale)
  shared = output / 'shared'
  files.make_folder(shared)
  table_seed.Shared(shared, None, 0, scale).run()
  for number, seed in enumerate(seeds, 1):
    print(f'=== seed {seed}, {number} of {len(seeds)}', flush=True)
    folder = output / f'seed_{seed}'
    table_seed.Seed(folder, shared, seed, scale).run()
    demo_scores.cached(folder / 'run.json', _circumstances)
    written = table_report.write(
      output, seeds[:number], shlex.join(['python', *sys.argv]), scale
    )
    print(f'tables of {number} seeds: {written}', flush=True)


def claim(output: pathlib.Path, scale: float) -> None:
  """Refuses the output of a run at another scale."""
  before = demo_scores.cached(output / 'options.json', lambda: {'scale': scale})
  if before != {'scale': scale}:
    raise FileExistsError(
      f'{output}: was made with --scale={before["scale"]}; choose another '
      '--output'
    )


def _circumstances() -> dict[str, Any]:
  return {
    'commit': circumstances.commit(),
    'machine': circumstances.machine(),
  }


def _seeds(text: str) -> tuple[int, ...]:
  seeds = tuple(int(part) for part in text.split(','))
  if len(set(seeds)) != len(seeds):
    raise argparse.ArgumentTypeError(f'{text}: a seed comes twice')
  return seeds
