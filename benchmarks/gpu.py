"""Full-size steps and captioning on one GPU, against what the chip can do.

  python benchmarks/gpu.py                     # make bench-gpu
  python benchmarks/gpu.py --size=miniature    # any machine, a minute

Outputs are compared with float32 on the CPU before anything is timed. Weights
are random and made on the device. Times are medians of single steps that are
waited for; utilisation is model FLOPs (counted without rematerialisation)
against a chain of matrix products measured in the same run, and against the
maker's data sheet. Needs jax, flax, optax, gin-config and jaxtyping alone.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # Runs from a checkout, installed or not.

PARTS = (
  'ceiling',
  'check',
  'stage1',
  'stage2',
  'caption_k1',
  'caption_k4',
  'caption_k8',
  'dualenc',
)
# Batch sizes by memory in GB: H200; A100 and H100 of 80 GB; 40 GB; 24 GB.
BATCHES = {
  120: {'stage1': 32, 'stage2': 32, 'caption': 64, 'dualenc': 256},
  70: {'stage1': 8, 'stage2': 8, 'caption': 32, 'dualenc': 128},
  35: {'stage1': 4, 'stage2': 2, 'caption': 16, 'dualenc': 64},
  0: {'stage1': 1, 'stage2': 1, 'caption': 8, 'dualenc': 32},
}
MINIATURE_BATCHES = {'stage1': 2, 'stage2': 2, 'caption': 2, 'dualenc': 4}
Launch = Callable[[str, int, float | None], dict[str, Any]]


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
  """Reads the flags."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--size', choices=['full', 'miniature'], default='full')
  parser.add_argument('--parts', default=','.join(PARTS), metavar='PART,...')
  for name in MINIATURE_BATCHES:
    parser.add_argument(
      f'--batch_{name}',
      type=int,
      metavar='N',
      help='default by the memory of the device; halved when it runs out',
    )
  parser.add_argument(
    '--attention',
    default='xla/xla',
    metavar='VIT/LLM',
    help='xla or cudnn, for image towers and language model',
  )
  parser.add_argument('--remat_policy', default='nothing_saveable')
  parser.add_argument('--steps', type=int, default=10, help='timed steps')
  parser.add_argument(
    '--timeout', type=float, default=1800, help='seconds for one part'
  )
  parser.add_argument('--output', metavar='FILE', help='where the JSON goes')
  parser.add_argument('--part', help=argparse.SUPPRESS)
  parser.add_argument('--batch_size', type=int, help=argparse.SUPPRESS)
  parser.add_argument('--ceiling', type=float, help=argparse.SUPPRESS)
  args = parser.parse_args(argv)
  unknown = set(args.parts.split(',')) - set(PARTS)
  if unknown:
    parser.error(f'--parts: {sorted(unknown)} unknown; choose of {PARTS}')
  if args.attention.count('/') != 1:
    parser.error(f'--attention={args.attention}: write xla/xla or cudnn/xla')
  return args


def describe() -> dict[str, Any]:
  """The device and the versions; runs in a part's process."""
  import jax

  device = jax.local_devices()[0]
  stats = device.memory_stats() or {}
  packages = ('jax', 'jaxlib', 'flax', 'optax')
  return {
    'platform': device.platform,
    'device_kind': device.device_kind,
    'memory_limit_bytes': stats.get('bytes_limit'),
    'backend_version': device.client.platform_version,
    'python': platform.python_version(),
    'versions': {name: importlib.metadata.version(name) for name in packages},
  }


def run_part(args: argparse.Namespace) -> dict[str, Any]:
  """Runs one part in this process."""
  import gpu_check
  import gpu_parts

  vit_attention, llm_attention = args.attention.split('/')
  options = gpu_parts.Options(
    args.size, vit_attention, llm_attention, args.remat_policy, args.steps
  )
  if args.part == 'device':
    return describe()
  if args.part == 'ceiling':
    return gpu_parts.ceiling(options)
  if args.part == 'check':
    return gpu_check.check(options)
  if args.part.startswith('caption_k'):
    samples = int(args.part.removeprefix('caption_k'))
    return gpu_parts.caption_part(
      options, samples, args.batch_size, args.ceiling
    )
  return gpu_parts.train_part(options, args.part, args.batch_size, args.ceiling)


def launch(
  args: argparse.Namespace, part: str, batch_size: int, ceiling: float | None
) -> dict[str, Any]:
  """Runs one part in a process of its own.

  Returns:
    {'status': 'ok', figures...}, or 'out_of_memory' or 'failed' with a reason.
  """
  with tempfile.TemporaryDirectory() as folder:
    result = os.path.join(folder, 'part.json')
    command = [
      sys.executable,
      __file__,
      f'--part={part}',
      f'--size={args.size}',
      f'--attention={args.attention}',
      f'--remat_policy={args.remat_policy}',
      f'--steps={args.steps}',
      f'--batch_size={batch_size}',
      f'--output={result}',
    ]
    if ceiling:
      command.append(f'--ceiling={ceiling}')
    try:
      done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=args.timeout,
      )
    except subprocess.TimeoutExpired:
      return {'status': 'failed', 'reason': f'more than {args.timeout:.0f} s'}
    if done.returncode == 0:
      return {'status': 'ok'} | json.loads(pathlib.Path(result).read_text())
    return failure(done.stdout, done.returncode)


def failure(output: str, returncode: int) -> dict[str, Any]:
  """Tells memory from other trouble by a failed part's output."""
  lines = [line for line in output.splitlines() if line.strip()]
  for line in reversed(lines):
    if 'RESOURCE_EXHAUSTED' in line or 'out of memory' in line.lower():
      return {'status': 'out_of_memory', 'reason': line.strip()[:300]}
  reason = lines[-1].strip()[:300] if lines else 'no output'
  return {'status': 'failed', 'reason': f'exit {returncode}: {reason}'}


def measure(
  part: str, batch_size: int, ceiling: float | None, launch: Launch
) -> dict[str, Any]:
  """Runs a part, at half the batch for as long as memory runs out.

  Returns:
    The outcome of the last attempt; `out_of_memory_at` lists batch sizes that
    did not fit.
  """
  failed = []
  while True:
    outcome = launch(part, batch_size, ceiling)
    if outcome['status'] != 'out_of_memory' or batch_size == 1:
      break
    failed.append(batch_size)
    batch_size //= 2
  outcome.setdefault('batch_size', batch_size)
  return outcome | {'out_of_memory_at': failed}


def batch_sizes(args: argparse.Namespace, memory: int | None) -> dict[str, int]:
  """Batch sizes by flag, else by the memory of the device."""
  if args.size == 'miniature':
    sizes = dict(MINIATURE_BATCHES)
  else:
    gigabytes = (memory or 0) / 1e9
    sizes = dict(next(b for limit, b in BATCHES.items() if gigabytes >= limit))
  for name in sizes:
    sizes[name] = getattr(args, f'batch_{name}') or sizes[name]
  return sizes


def benchmark(args: argparse.Namespace, launch: Launch) -> dict[str, Any]:
  """Runs all parts asked for, in order.

  Returns:
    The report.

  Raises:
    SystemExit: If outputs differ from the reference: nothing is timed then.
  """
  device = launch('device', 1, None)
  if device['status'] != 'ok':
    raise SystemExit(f'error: no device: {device["reason"]}')
  if args.size == 'full' and device['platform'] == 'cpu':
    raise SystemExit('error: no GPU found; --size=miniature runs on a CPU')
  sizes = batch_sizes(args, device['memory_limit_bytes'])
  report = {
    'date': datetime.datetime.now(datetime.UTC).isoformat(timespec='seconds'),
    'size': args.size,
    'attention': args.attention,
    'remat_policy': args.remat_policy,
    'device': device,
    'parts': {},
  }
  parts, ceiling = report['parts'], None
  for part in (p for p in PARTS if p in args.parts.split(',')):
    batch_size = sizes.get(part.split('_')[0], 1)
    outcome = measure(part, batch_size, ceiling, launch)
    parts[part] = outcome
    print(line(part, outcome), flush=True)
    if part == 'ceiling':
      ceiling = outcome.get('flops_per_second')
    if part == 'check' and not outcome.get('ok'):
      raise SystemExit(f'error: outputs differ from the reference: {outcome}')
  return report


def line(part: str, outcome: dict[str, Any]) -> str:
  """One line for people."""
  text = f'{part:<11}'
  if outcome['status'] != 'ok':
    return f'{text} {outcome["status"]}: {outcome["reason"]}'
  if part == 'ceiling':
    return f'{text} {outcome["flops_per_second"] / 1e12:.3f} TFLOP/s'
  if part == 'check':
    worst = max(outcome['errors'].items(), key=lambda item: item[1])
    return f'{text} largest relative error {worst[1]:.1e} ({worst[0]})'
  memory = outcome['peak_memory_bytes']
  share = outcome['utilisation_of_ceiling']
  return (
    f'{text} batch {outcome["batch_size"]}: {outcome["seconds"]:.3f} s, '
    f'{outcome["clips_per_second"]:.2f} clips/s'
    + (f', {share:.1%} of the ceiling' if share else '')
    + (f', {memory / 2**30:.1f} GiB' if memory else '')
  )


def main(argv: Sequence[str] | None = None) -> None:
  """Entry point, of the benchmark and of its parts."""
  args = parse(argv)
  if args.part:
    outcome = run_part(args)
    pathlib.Path(args.output).write_text(json.dumps(outcome))
    return
  report = benchmark(
    args, lambda part, size, ceiling: launch(args, part, size, ceiling)
  )
  kind = report['device']['device_kind'].lower().replace(' ', '_')
  output = pathlib.Path(
    args.output or ROOT / 'benchmarks' / 'results' / f'gpu_{kind}.json'
  )
  from vidlm.core import files

  files.make_folder(output.parent)
  files.write_json(output, report)
  print(f'written to {output}')


if __name__ == '__main__':
  main()
