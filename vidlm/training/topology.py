"""Compiling for a TPU slice, or for GPUs, that aren't there.

The `libtpu` package holds the TPU compiler and needs no TPU. Where it is
installed, it locks the machine for every process that starts JAX, and aborts a
compilation that finds the lock taken. So a compilation runs in a child process
that is told to ignore that lock, one at a time under a file lock of ours: it
takes gigabytes of memory and all cores. JAX's CUDA plugin compiles for a GPU
by its description; what only a GPU could try out, which kernel is the fastest
for a product, is left to cuBLAS then.
"""

import importlib.util
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import filelock
from absl import logging

from vidlm.core import files
from vidlm.training import gpu_targets, hardware

# Names the file to which a child writes its result; set in children only.
_RESULT = 'VIDLM_TOPOLOGY_RESULT'


# Module and extra that hold a compiler.
_COMPILERS = {'TPU': ('libtpu', 'tpu'), 'GPU': ('jax_cuda12_plugin', 'cuda')}


def available(kind: str = 'TPU') -> bool:
  """Whether the compiler for TPU or GPU is installed."""
  return importlib.util.find_spec(_COMPILERS[kind][0]) is not None


def in_child() -> bool:
  """Whether this process was started by `run_in_child`."""
  return _RESULT in os.environ


def run_in_child(
  command: Sequence[str], topology: hardware.Topology, timeout: float = 3600.0
) -> dict[str, Any]:
  """Runs a command that compiles for `topology` and calls `report`.

  Args:
    command: What to run; it finds `in_child()` true.
    topology: What to compile for.
    timeout: Seconds the child may take, not counting the wait for the lock.

  Returns:
    What the child reported.

  Raises:
    ValueError: If the compiler isn't installed, or the child failed; the
      message is the last line of its output.
  """
  kind = 'GPU' if topology.is_gpu else 'TPU'
  if not available(kind):
    raise ValueError(
      f'--topology: the {kind} compiler is missing; pip install '
      f'"vidlm[{_COMPILERS[kind][1]}]"'
    )
  with tempfile.TemporaryDirectory() as folder:
    result = os.path.join(folder, 'result.json')
    environment = os.environ | _environment(topology) | {_RESULT: result}
    with _machine_lock():
      try:
        done = subprocess.run(
          list(command),
          env=environment,
          stdout=subprocess.PIPE,
          stderr=subprocess.STDOUT,
          text=True,
          timeout=timeout,
        )
      except subprocess.TimeoutExpired as error:
        raise ValueError(
          f'--topology={topology.name}: not compiled within {timeout:.0f} s'
        ) from error
    if not os.path.exists(result):
      raise ValueError(f'--topology={topology.name}: {_reason(done.stdout)}')
    with open(result) as file:
      return json.load(file)


def report(values: Mapping[str, Any]) -> None:
  """Hands the child's result to its parent."""
  files.write_json(os.environ[_RESULT], values)


def devices(topology: hardware.Topology) -> list[Any]:
  """Returns the described devices, to lay a mesh over; for a child only."""
  from jax.experimental import topologies

  if topology.is_gpu:
    description = topologies.get_topology_desc(
      platform='cuda',
      topology_name=topology.name,
      topology=f'1x1x{topology.chips}',
      target_config=gpu_targets.target_config(topology.chip.name),
    )
  else:
    description = topologies.get_topology_desc(
      platform='tpu', topology_name=topology.name
    )
  return list(description.devices)


def memory(compiled: Any) -> dict[str, int]:
  """Returns the bytes a `jax.stages.Compiled` takes on each chip.

  Donated arguments are counted once: total = arguments + outputs - aliases +
  temporaries.
  """
  analysis = compiled.memory_analysis()
  parts = {
    'argument': analysis.argument_size_in_bytes,
    'output': analysis.output_size_in_bytes,
    'alias': analysis.alias_size_in_bytes,
    'temp': analysis.temp_size_in_bytes,
  }
  total = parts['argument'] + parts['output'] + parts['temp'] - parts['alias']
  return parts | {'total': total}


def _environment(topology: hardware.Topology) -> dict[str, str]:
  if topology.is_gpu:
    untried = '--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false'
    return {
      'JAX_PLATFORMS': 'cpu',
      'CUDA_VISIBLE_DEVICES': '',
      'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {untried}',
    }
  return {
    # The described chips are reached by name; no backend of theirs starts.
    'JAX_PLATFORMS': 'cpu',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_ACCELERATOR_TYPE': topology.accelerator_type,
    'TPU_WORKER_HOSTNAMES': 'localhost',
  }


@contextmanager
def _machine_lock() -> Iterator[None]:
  path = os.path.join(tempfile.gettempdir(), f'vidlm_libtpu_{os.getuid()}.lock')
  lock = filelock.FileLock(path)
  try:
    lock.acquire(timeout=1)
  except filelock.Timeout:
    logging.info('waiting for another compilation on this machine')
    lock.acquire()
  try:
    yield
  finally:
    lock.release()


def _reason(output: str) -> str:
  """Picks the line of a failed child that says what went wrong."""
  lines = [line.strip() for line in output.splitlines() if line.strip()]
  for line in reversed(lines):
    if 'RESOURCE_EXHAUSTED' in line or line.startswith('error: '):
      return line.removeprefix('error: ')
  return lines[-1] if lines else 'the compiler ended without a message'
