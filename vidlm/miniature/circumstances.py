"""Which commit and which machine a figure comes from."""

import os
import pathlib
import platform
import subprocess
from typing import Any


def commit() -> str:
  """The commit's hash, with -dirty if files were changed since."""
  out = subprocess.run(
    ['git', 'describe', '--always', '--dirty', '--abbrev=40', '--exclude=*'],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(__file__).parent,
  )
  return out.stdout.strip() or 'unknown'


def machine() -> dict[str, Any]:
  """Processors, backend and versions."""
  import jax

  return {
    'cpus_used': len(os.sched_getaffinity(0)),
    'cpu_count': os.cpu_count(),
    'processor': platform.machine(),
    'backend': jax.default_backend(),
    'jax': jax.__version__,
    'python': platform.python_version(),
  }
