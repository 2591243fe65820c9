"""Which commit, versions and machine a figure or a fault comes from.

Nothing heavy is imported to tell a version; JAX alone can say what backend and
devices there are.
"""

import os
import pathlib
import platform
import subprocess
from importlib import metadata
from typing import Any

from vidlm.core import processes

_ROOT = pathlib.Path(__file__).resolve().parents[2]
# What decides on figures and bytes, then what is imported for a task only.
_PACKAGES = (
  'jax',
  'jaxlib',
  'flax',
  'optax',
  'orbax-checkpoint',
  'tensorstore',
  'numpy',
  'ml-dtypes',
  'av',
  'pillow',
  'opencv-python-headless',
  'pyarrow',
  'array-record',
  'tokenizers',
  'sentencepiece',
  'tensorflow-datasets',
  'tensorflow',
  'seqio',
)
# Named only where they are installed.
_PLUGINS = ('jax-cuda12-plugin', 'jax-cuda13-plugin', 'libtpu', 'apache-beam')


def commit() -> str:
  """The checkout's commit, with -dirty if files were changed since.

  Returns:
    'unknown' if this is no checkout or git can't tell.
  """
  # Installed below somebody's own repository, git would name their commit.
  if not (_ROOT / '.git').exists():
    return 'unknown'
  try:
    out = subprocess.run(
      ['git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'],
      capture_output=True,
      text=True,
      cwd=_ROOT,
    )
  except OSError:  # no git here
    return 'unknown'
  return out.stdout.strip() or 'unknown'


def processor() -> str:
  """The processor's name, where the system tells it; else its architecture."""
  try:
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
  except OSError:  # not Linux
    lines = []
  for line in lines:
    if line.startswith('model name'):
      return line.partition(':')[2].strip()
  return platform.processor() or platform.machine()


def machine() -> dict[str, Any]:
  """Processors, backend and versions, as the reports of figures hold them."""
  import jax

  return {
    'cpus_used': processes.cpus(),
    'cpu_count': os.cpu_count(),
    'processor': processor(),
    'backend': jax.default_backend(),
    'jax': jax.__version__,
    'python': platform.python_version(),
  }


def versions() -> dict[str, str]:
  """Versions of the packages that decide on figures; imports none of them."""
  found = {name: _version(name) for name in (*_PACKAGES, *_PLUGINS)}
  return {
    name: version or 'not installed'
    for name, version in found.items()
    if version or name in _PACKAGES
  }


def describe() -> str:
  """What `--version` prints and a report of a fault needs, a fact a line."""
  facts = {
    'vidlm': _version('vidlm') or 'not installed',
    'commit': commit(),
    'python': f'{platform.python_version()} ({platform.platform()})',
    'cpus': f'{processes.cpus()} of {os.cpu_count()}, {platform.machine()}',
    **_accelerator(),
    **versions(),
  }
  width = max(map(len, facts)) + 1
  return '\n'.join(f'{name:{width}} {value}' for name, value in facts.items())


def _version(name: str) -> str | None:
  try:
    return metadata.version(name)
  except metadata.PackageNotFoundError:
    return None


def _accelerator() -> dict[str, str]:
  """Backend and devices; a backend that fails is told, not raised."""
  # Asking must not take the memory of the job that is asked about.
  os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')
  try:
    import jax

    devices = jax.devices()
    kinds = ', '.join(sorted({device.device_kind for device in devices}))
    return {
      'backend': jax.default_backend(),
      'devices': f'{len(devices)} ({kinds})',
    }
  # A broken driver or plugin is what such a report is often about.
  except Exception as error:
    line = ' '.join(str(error).split())
    return {'backend': f'none: {type(error).__name__}: {line}'}
