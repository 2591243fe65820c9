"""Memory in huge pages for processes that compute on the CPU.

XLA allocates a step's large buffers anew each step; in pages of 4 KiB a third
of a small step's time goes into page faults. glibc (2.35 and newer) asks for
huge pages when GLIBC_TUNABLES says so, which it reads at the start only.
"""

import os
import pathlib
import sys

from vidlm.core import cpu

TUNABLE = 'glibc.malloc.hugetlb=1'
_MODE = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')


def restart() -> None:
  """Starts this command again with huge pages, where that helps.

  Keeps the process id. Does nothing where GLIBC_TUNABLES is set already, where
  the kernel doesn't leave the choice to the process, or where JAX will not
  compute on the CPU or VIDLM_CPU_TRICKS is 0, see `cpu`.
  """
  if 'GLIBC_TUNABLES' in os.environ or not cpu.likely() or not offered():
    return
  os.environ['GLIBC_TUNABLES'] = TUNABLE
  sys.stdout.flush()
  sys.stderr.flush()
  os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def offered() -> bool:
  """Whether the kernel gives huge pages to those that ask for them."""
  try:
    return '[madvise]' in _MODE.read_text(encoding='ascii')
  except OSError:
    return False
