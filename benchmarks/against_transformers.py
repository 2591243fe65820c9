"""Ours against transformers (PyTorch) on this CPU: time and memory, one run.

  python benchmarks/against_transformers.py \\
    --output=benchmarks/results/against_transformers_cpu.json

Three cases in float32: forward and backward of a ViT, of a T5 1.1, and R = 4
sampled captions of clips by a PaliGemma. transformers makes the weights, both
sides load them, and before anything is timed they must agree: loss and norm of
the gradient, or greedy text. Each side of a case is a process of its own on the
same processors, with peak memory of its own; the two take turns, so that
whatever else the machine does falls on both.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from typing import Any

from transformers_cases import CASES, SAMPLES, SIZES, Sizes, make

from vidlm.core import circumstances, files, huge_pages

SIDES = ('ours', 'transformers')


def worker(case: str, side: str, folder: str, size: str, threads: int) -> None:
  """Runs one side: a line of JSON for each line on stdin."""
  if hasattr(os, 'sched_setaffinity'):  # elsewhere all cores are used
    cores = sorted(os.sched_getaffinity(0))[:threads]
    os.sched_setaffinity(0, cores)
  if side == 'transformers':
    import torch

    torch.set_num_threads(threads)
  import transformers_sides

  run, check = transformers_sides.SIDES[case, side](
    pathlib.Path(folder), SIZES[size]
  )
  start = time.perf_counter()
  checked = check()
  run()
  say(check=checked, first_seconds=time.perf_counter() - start)
  for _ in sys.stdin:
    start = time.perf_counter()
    run()
    say(seconds=time.perf_counter() - start)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  say(peak_bytes=peak)


def say(**fields: Any) -> None:
  """Writes a line that the parent reads."""
  print('RESULT ' + json.dumps(fields), flush=True)


class Side:
  """A worker, from the parent's side."""

  def __init__(self, name: str, case: str, folder: str, args: Any):
    command = [sys.executable, __file__, '--worker', case, name, folder]
    command += [f'--size={args.size}', f'--threads={args.threads}']
    self.process = subprocess.Popen(
      command,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
      env={
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
        # For both; our commands ask for huge pages by themselves.
        'GLIBC_TUNABLES': huge_pages.TUNABLE,
        'OMP_NUM_THREADS': str(args.threads),
      },
    )
    first = self.hear()
    self.check = first['check']
    self.first_seconds = first['first_seconds']
    self.seconds: list[float] = []

  def hear(self) -> dict[str, Any]:
    """The next line the worker says.

    Raises:
      RuntimeError: If it died; its own words are on stderr.
    """
    for line in self.process.stdout:
      if line.startswith('RESULT '):
        return json.loads(line.removeprefix('RESULT '))
    raise RuntimeError(f'{self.process.args}: ended, {self.process.wait()}')

  def turn(self) -> None:
    """Has the worker run once."""
    self.process.stdin.write('run\n')
    self.process.stdin.flush()
    self.seconds.append(self.hear()['seconds'])

  def end(self) -> dict[str, Any]:
    """Stops the worker; its figures."""
    self.process.stdin.close()
    peak = self.hear()['peak_bytes']
    self.process.wait()
    return {
      'seconds': [round(s, 4) for s in self.seconds],
      'median_seconds': round(statistics.median(self.seconds), 4),
      'first_seconds': round(self.first_seconds, 2),
      'peak_gib': round(peak / 2**30, 3),
    }


def compare(case: str, args: Any) -> dict[str, Any]:
  """Times both sides of a case in turns.

  Raises:
    RuntimeError: If they don't compute the same.
  """
  sizes = SIZES[args.size]
  with tempfile.TemporaryDirectory() as folder:
    make(case, sizes, pathlib.Path(folder))
    sides = {name: Side(name, case, folder, args) for name in SIDES}
  agreement = agree(case, *(side.check for side in sides.values()))
  for _ in range(args.repeats):
    for side in sides.values():
      side.turn()
      time.sleep(0.2)  # threads that wait for work fall asleep
  figures = {name: side.end() for name, side in sides.items()}
  items = items_of(case, sizes)
  for figure in figures.values():
    figure['per_second'] = round(items / figure['median_seconds'], 4)
  ours, theirs = figures['ours'], figures['transformers']
  return {
    'case': case,
    'items': items,
    **agreement,
    **figures,
    'speed_ratio': round(theirs['median_seconds'] / ours['median_seconds'], 3),
    'memory_ratio': round(ours['peak_gib'] / theirs['peak_gib'], 3),
  }


def agree(case: str, ours: Any, theirs: Any) -> dict[str, float]:
  """How far apart the sides' checks are.

  Raises:
    RuntimeError: If too far.
  """
  if case == 'captions':
    same = sum(a == b for a, b in zip(ours, theirs, strict=True)) / len(ours)
    if same < 0.9:
      raise RuntimeError(f'captions: {same:.0%} of the greedy tokens agree')
    return {'greedy_tokens_agree': same, 'distinct_tokens': len(set(ours))}
  apart = max(abs(a / b - 1) for a, b in zip(ours, theirs, strict=True))
  if apart > 1e-3:
    raise RuntimeError(f'{case}: loss and gradient {ours}, there {theirs}')
  return {'loss_and_gradient_apart': apart}


def items_of(case: str, sizes: Sizes) -> int:
  """Images, texts or clips of a run."""
  return {'vit': sizes.images, 't5': sizes.texts, 'captions': sizes.clips}[case]


def machine() -> dict[str, Any]:
  """Where this ran."""
  names = ('jax', 'jaxlib', 'flax', 'torch', 'transformers', 'numpy')
  return {
    'cpu': circumstances.processor(),
    'cpu_count': os.cpu_count(),
    'memory_gib': round(
      os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30, 1
    ),
    'load_before': os.getloadavg()[0],
    'python': platform.python_version(),
    **{name: metadata.version(name) for name in names},
  }


def main() -> None:
  """Runs the cases, writes what came of them."""
  parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
  parser.add_argument('--output', type=pathlib.Path, help='JSON file to write')
  parser.add_argument('--size', choices=sorted(SIZES), default='full')
  parser.add_argument('--repeats', type=int, default=7)
  parser.add_argument('--threads', type=int, default=2)
  parser.add_argument('--cases', default=','.join(CASES))
  parser.add_argument(
    '--worker', nargs=3, metavar=('CASE', 'SIDE', 'FOLDER'), help='internal'
  )
  args = parser.parse_args()
  if args.worker:
    return worker(*args.worker, args.size, args.threads)
  result = {
    'command': ' '.join(['python', *sys.argv]),
    'threads': args.threads,
    'repeats': args.repeats,
    'samples_per_clip': SAMPLES,
    'machine': machine(),
    'sizes': dataclasses.asdict(SIZES[args.size]),
    'results': [],
  }
  for case in args.cases.split(','):
    row = compare(case, args)
    result['results'].append(row)
    ours, theirs = row['ours'], row['transformers']
    print(
      f'{case}: {ours["per_second"]:.3g} a second against '
      f'{theirs["per_second"]:.3g}, {row["speed_ratio"]:.2f}x the speed; '
      f'{ours["peak_gib"]:.2f} GiB against {theirs["peak_gib"]:.2f}',
      flush=True,
    )
  if args.output:
    files.make_folder(args.output.parent)
    files.write_json(args.output, result)


if __name__ == '__main__':
  main()
