"""The switch of what suits a CPU only."""

import fnmatch
import glob

import jax
import pytest

from vidlm.core import cpu


@pytest.fixture(autouse=True)
def unset(monkeypatch):
  monkeypatch.delenv(cpu.VARIABLE, raising=False)
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  monkeypatch.setattr(glob, 'glob', lambda pattern: [])


@pytest.mark.parametrize(
  ('backend', 'value', 'on'),
  [
    ('cpu', None, True),
    ('cpu', '1', True),
    ('cpu', '0', False),
    ('gpu', None, False),
    ('tpu', '1', False),
  ],
)
def test_tricks(monkeypatch, backend, value, on):
  monkeypatch.setattr(jax, 'default_backend', lambda: backend)
  if value is not None:
    monkeypatch.setenv(cpu.VARIABLE, value)
  assert cpu.tricks() is on


def test_another_value_is_refused(monkeypatch):
  monkeypatch.setenv(cpu.VARIABLE, 'off')
  with pytest.raises(ValueError, match='VIDLM_CPU_TRICKS=off: choose 0 or 1'):
    cpu.tricks()


@pytest.mark.parametrize(
  ('platforms', 'devices', 'on'),
  [
    ('', [], True),
    ('', ['/dev/nvidia0'], False),
    ('', ['/dev/accel1'], False),
    ('', ['/dev/vfio/0'], False),
    ('cpu', ['/dev/nvidia0'], True),
    ('cpu,cuda', [], True),
    ('cuda,cpu', [], False),
    ('tpu', [], False),
  ],
)
def test_told_before_jax_is_there(monkeypatch, platforms, devices, on):
  monkeypatch.setenv('JAX_PLATFORMS', platforms)
  found = lambda pattern: fnmatch.filter(devices, pattern)
  monkeypatch.setattr(glob, 'glob', found)
  assert cpu.likely() is on
  monkeypatch.setenv(cpu.VARIABLE, '0')
  assert not cpu.likely()


def test_drivers_that_are_no_accelerator(monkeypatch):
  there = ['/dev/vfio/vfio', '/dev/nvidiactl', '/dev/nvram']
  monkeypatch.setattr(glob, 'glob', lambda p: fnmatch.filter(there, p))
  assert cpu.likely()
