"""Compiling for a TPU that isn't there; needs libtpu, skipped without it."""

import os
import pathlib
import subprocess
import sys
import tempfile

import pytest

from vidlm.core import hardware, topology

needs_libtpu = pytest.mark.skipif(
  not topology.available(), reason='libtpu (extra `tpu`) is not installed'
)
V5E = hardware.parse_topology('v5e:2x2')
PRELUDE = """
import jax, jax.numpy as jnp
from vidlm.core import hardware, partitioning, topology
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
  assert hardware.chip_of('TPU v5 lite') == hardware.CHIPS['v5e']
  assert hardware.chip_of('NVIDIA H200') == hardware.CHIPS['h200']
  assert hardware.chip_of('cpu') is None


@pytest.mark.parametrize(
  'text', ['v5e', 'v5e:8', 'v5e:8x16x2', 'v9:2x2', 'v5p:8x16', 'v5e:0x4']
)
def test_bad_topologies_say_what_to_write(text: str) -> None:
  with pytest.raises(ValueError, match=f'topology={text}: write v5e:8x16'):
    hardware.parse_topology(text)


def test_without_libtpu(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setattr(topology, 'available', lambda: False)
  with pytest.raises(ValueError, match=r'pip install "vidlm\[tpu\]"'):
    topology.run_in_child(['true'], V5E)


def test_a_failed_child_gives_its_reason(
  monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
  # A lock of its own: a real compilation may be holding the machine's.
  monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
  monkeypatch.setattr(topology, 'available', lambda: True)
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
    'topology.available = lambda: True\n'
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
