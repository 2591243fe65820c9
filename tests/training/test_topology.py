"""Compiling for a TPU or GPU that isn't there; skipped without a compiler."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import pytest

from vidlm.training import gpu_targets, hardware, topology

needs_libtpu = pytest.mark.skipif(
  not topology.available(), reason='libtpu (extra `tpu`) is not installed'
)
needs_cuda = pytest.mark.skipif(
  not topology.available('GPU'), reason='extra `cuda` is not installed'
)
V5E = hardware.parse_topology('v5e:2x2')
PRELUDE = """
import jax, jax.numpy as jnp
from vidlm.core import partitioning
from vidlm.training import hardware, topology
partitioner = partitioning.Partitioner(partitioning.make_mesh(
    2, 2, topology.devices(hardware.parse_topology('v5e:2x2'))))
"""
ATTENTION = """
from vidlm.nn import attention

def loss(q, k, v, bias, mask):
  out = attention.dot_product_attention(
    q, k, v, scale=1.0, bias=bias, mask=mask, implementation='tpu')
  return out.astype(jnp.float32).sum()

# Heads of 64 and a length off the kernel's blocks, as in T5's encoder; with
# the gradient of the bias, as in language adaptation.
x = jax.ShapeDtypeStruct(
  (4, 300, 8, 64), jnp.bfloat16, sharding=partitioner.batch_sharding)
bias = jax.ShapeDtypeStruct(
  (1, 8, 300, 300), jnp.float32, sharding=partitioner.replicated)
mask = jax.ShapeDtypeStruct(
  (4, 1, 1, 300), jnp.bool_, sharding=partitioner.batch_sharding)
with partitioner.activate():
  lowered = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3))).lower(
    x, x, x, bias, mask)
text = lowered.as_text()
compiled = lowered.compile()
topology.report(
  topology.memory(compiled) | {'kernels': text.count('tpu_custom_call')})
"""


def test_topologies() -> None:
  pod = hardware.parse_topology('v5e:8x16')
  assert pod.chips == 128
  assert pod.name == 'v5e:8x16'
  assert pod.accelerator_type == 'v5litepod-128'
  assert hardware.parse_topology('v5p:4x4x8').accelerator_type == 'v5p-256'
  node = hardware.parse_topology('h200:8')
  assert (node.chips, node.name, node.is_gpu) == (8, 'h200:8', True)
  assert not pod.is_gpu
  assert hardware.chip_of('TPU v5 lite') == hardware.CHIPS['v5e']
  assert hardware.chip_of('NVIDIA H200') == hardware.CHIPS['h200']
  assert hardware.chip_of('cpu') is None


@pytest.mark.parametrize(
  'text',
  [
    *('v5e', 'v5e:8', 'v5e:8x16x2', 'v9:2x2', 'v5p:8x16', 'v5e:0x4'),
    *('h200', 'h200:2x4', 'h200:0', 'b9:1'),
  ],
)
def test_bad_topologies_say_what_to_write(text: str) -> None:
  with pytest.raises(ValueError, match=f'topology={text}: write v5e:8x16'):
    hardware.parse_topology(text)


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(topology, 'available', lambda kind: False)
  with pytest.raises(ValueError, match=r'pip install "vidlm\[tpu\]"'):
    topology.run_in_child(['true'], V5E)
  gpu = hardware.parse_topology('h100:1')
  with pytest.raises(ValueError, match=r'pip install "vidlm\[cuda\]"'):
    topology.run_in_child(['true'], gpu)


def test_a_failed_child_gives_its_reason(
  monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
  # A lock of its own: a real compilation may be holding the machine's.
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  monkeypatch.setattr(topology, 'available', lambda kind: True)
  script = 'print("noise"); print("error: no such recipe"); exit(2)'
  with pytest.raises(ValueError, match=r'v5e:2x2: no such recipe$'):
    topology.run_in_child([sys.executable, '-c', script], V5E)
  with pytest.raises(ValueError, match='not compiled within 1 s'):
    topology.run_in_child(['sleep', '30'], V5E, timeout=1.0)


def test_children_take_turns(tmp_path: pathlib.Path) -> None:
  """Two parents at once: the second child starts after the first ended."""
  log = tmp_path / 'log'
  child = (
    'import time\nfrom vidlm.core import topology\n'
    f'log = open({str(log)!r}, "a", buffering=1)\n'
    'log.write("start ")\ntime.sleep(0.5)\nlog.write("end ")\n'
    'topology.report({"total": 1})'
  )
  parent = (
    'import sys\nfrom vidlm.core import hardware, topology\n'
    'topology.available = lambda kind: True\n'
    f'topology.run_in_child([sys.executable, "-c", {child!r}],'
    ' hardware.parse_topology("v5e:2x2"))'
  )
  processes = [
    subprocess.Popen(
      [sys.executable, '-c', parent],
      env=os.environ | {'TMPDIR': str(tmp_path)},
    )
    for _ in range(2)
  ]
  assert [p.wait(timeout=120) for p in processes] == [0, 0]
  assert log.read_text().split() == ['start', 'end', 'start', 'end']


@needs_libtpu
def test_the_flash_attention_kernel_compiles_for_v5e() -> None:
  used = topology.run_in_child([sys.executable, '-c', PRELUDE + ATTENTION], V5E)
  assert used['kernels'] >= 3  # Forward, and two in the backward pass.
  assert 0 < used['total'] < V5E.chip.memory


GPU = """
import jax, jax.numpy as jnp
from vidlm.core import partitioning
from vidlm.training import hardware, topology
partitioner = partitioning.Partitioner(partitioning.make_mesh(
    2, 1, topology.devices(hardware.parse_topology('{name}:2'))))
x = jax.ShapeDtypeStruct(
  (64, 1024), jnp.bfloat16, sharding=partitioner.batch_sharding)
square = lambda x: jnp.tanh(x.T @ x)
topology.report(topology.memory(jax.jit(square).lower(x).compile()))
"""


@needs_cuda
@pytest.mark.parametrize('name', gpu_targets.NAMES)
def test_compiles_for_two_gpus(name: str) -> None:
  slice_ = hardware.parse_topology(f'{name}:2')
  script = GPU.format(name=name)
  used = topology.run_in_child([sys.executable, '-c', script], slice_)
  assert used['argument'] == 64 * 1024 * 2 / 2  # half of the rows
  assert used['output'] == 1024 * 1024 * 2


def test_gpus_are_described_by_their_own_figures() -> None:
  texts = {name: gpu_targets.target_config(name) for name in gpu_targets.NAMES}
  assert len(set(texts.values())) == len(gpu_targets.NAMES)
  assert set(gpu_targets.NAMES) <= set(hardware.CHIPS)
  for name, text in texts.items():
    assert text.count('{') == text.count('}') > 0
    memory = int(re.search(r'device_memory_size: (\d+)', text)[1])
    assert memory == pytest.approx(hardware.CHIPS[name].memory, rel=0.1)
