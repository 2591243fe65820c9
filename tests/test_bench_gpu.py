"""benchmarks/gpu.py at miniature size, and what it does when parts fail."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[1] / 'benchmarks' / 'gpu.py'
DEVICE = {
  'status': 'ok',
  'platform': 'gpu',
  'device_kind': 'NVIDIA H200',
  'memory_limit_bytes': 141 * 10**9,
}
CEILING = {'status': 'ok', 'flops_per_second': 8e14, 'by_size': {}}
CHECK = {'status': 'ok', 'ok': True, 'errors': {'vlm/logits': 0.01}}


@pytest.fixture(scope='module')
def gpu() -> ModuleType:
  spec = importlib.util.spec_from_file_location('bench_gpu', SCRIPT)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def timing(batch_size: int) -> dict[str, Any]:
  return {
    'status': 'ok',
    'batch_size': batch_size,
    'seconds': 0.5,
    'clips_per_second': 2.0 * batch_size,
    'utilisation_of_ceiling': 0.4,
    'peak_memory_bytes': 2**34,
  }


@pytest.mark.parametrize(
  'parts',
  [
    ['ceiling', 'stage1', 'caption_k1'],
    pytest.param(
      [
        'ceiling',
        'check',
        'stage1',
        'stage2',
        'caption_k1',
        'caption_k4',
        'caption_k8',
        'dualenc',
      ],
      marks=pytest.mark.slow,
    ),
  ],
)
def test_miniature_on_a_cpu(parts: list[str], tmp_path: pathlib.Path) -> None:
  """The real thing with small numbers, each part in a process of its own."""
  output = tmp_path / 'gpu.json'
  done = subprocess.run(
    [
      sys.executable,
      str(SCRIPT),
      '--size=miniature',
      '--steps=2',
      f'--parts={",".join(parts)}',
      f'--output={output}',
    ],
    capture_output=True,
    text=True,
    timeout=600,
    # Compiling takes most of the time, and speed is not looked at here.
    env=os.environ | {'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'},
  )
  assert done.returncode == 0, done.stdout + done.stderr
  report = json.loads(output.read_text())
  assert report['device']['platform'] == 'cpu'
  found = report['parts']
  assert list(found) == parts
  assert {part['status'] for part in found.values()} == {'ok'}, found
  assert found['ceiling']['flops_per_second'] > 0
  for name in set(parts) - {'ceiling', 'check'}:
    part = found[name]
    assert part['seconds'] > 0 and part['model_flops'] > 0
    assert 0 < part['utilisation_of_ceiling'] < 1
    assert part['clips_per_second'] == pytest.approx(
      part['batch_size'] / part['seconds']
    )
  assert found['caption_k1']['num_samples'] == 1
  assert (
    0 < found['stage1']['trained_parameters'] < (found['stage1']['parameters'])
  )


def test_nothing_but_the_jax_set_is_imported() -> None:
  """It has to run where TensorFlow and orbax are not installed."""
  code = (
    'import sys\n'
    'for name in ("tensorflow", "seqio", "orbax", "tensorboardX", "av"):\n'
    '  sys.modules[name] = None\n'
    f'sys.path[:0] = [{str(SCRIPT.parent)!r}, {str(SCRIPT.parents[1])!r}]\n'
    'import gpu, gpu_check, gpu_parts\n'
  )
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, timeout=120
  )
  assert done.returncode == 0, done.stderr


def test_half_the_batch_when_memory_runs_out(
  gpu: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
  def launch(part: str, batch_size: int, ceiling: float | None) -> Any:
    if part in ('device', 'ceiling', 'check'):
      return {'device': DEVICE, 'ceiling': CEILING, 'check': CHECK}[part]
    assert ceiling == 8e14
    if part == 'stage2' or batch_size > 16:
      return {'status': 'out_of_memory', 'reason': 'RESOURCE_EXHAUSTED'}
    return timing(batch_size)

  parts = gpu.benchmark(gpu.parse([]), launch)['parts']
  assert parts['stage1']['batch_size'] == 16
  assert parts['stage1']['out_of_memory_at'] == [32]
  assert parts['stage2']['status'] == 'out_of_memory'
  assert parts['stage2']['batch_size'] == 1
  # The others went on.
  assert parts['caption_k8']['status'] == 'ok'
  assert parts['dualenc']['status'] == 'ok'
  out = capsys.readouterr().out
  assert 'stage2      out_of_memory: RESOURCE_EXHAUSTED' in out
  assert 'stage1      batch 16: 0.500 s, 32.00 clips/s, 40.0% of' in out


def test_a_wrong_result_stops_the_run(gpu: ModuleType) -> None:
  def launch(part: str, batch_size: int, ceiling: float | None) -> Any:
    wrong = {'status': 'ok', 'ok': False, 'errors': {'vlm/logits': 0.9}}
    return {'device': DEVICE, 'ceiling': CEILING, 'check': wrong}[part]

  with pytest.raises(SystemExit, match='outputs differ'):
    gpu.benchmark(gpu.parse([]), launch)


def test_full_size_wants_a_gpu(gpu: ModuleType) -> None:
  cpu = DEVICE | {'platform': 'cpu'}
  with pytest.raises(SystemExit, match='--size=miniature runs on a CPU'):
    gpu.benchmark(gpu.parse([]), lambda *_: cpu)


@pytest.mark.parametrize(
  ('output', 'status'),
  [
    (
      'noise\nXlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while\ntail',
      'out_of_memory',
    ),
    ('ValueError: attention', 'failed'),
    ('', 'failed'),
  ],
)
def test_failures_are_told_apart(
  gpu: ModuleType, output: str, status: str
) -> None:
  assert gpu.failure(output, 1)['status'] == status


def test_batch_sizes_follow_memory_and_flags(gpu: ModuleType) -> None:
  sizes = lambda gb, *flags: gpu.batch_sizes(
    gpu.parse(list(flags)), int(gb * 1e9)
  )
  assert sizes(141)['stage1'] > sizes(80)['stage1'] > sizes(24)['stage1'] == 1
  assert sizes(141, '--batch_stage1=5')['stage1'] == 5
