"""The switch of what suits a CPU only: VIDLM_CPU_TRICKS=0 turns it off.

Behind it are the dense layers' weight gradient (`nn/dense.py`) and the new
start with huge pages (`core/huge_pages.py`). On other backends both are off.
"""

import glob
import os

VARIABLE = 'VIDLM_CPU_TRICKS'
# What drivers of NVIDIA, AMD and Google leave; /dev/vfio/vfio is anybody's.
_DEVICES = ('nvidia[0-9]*', 'kfd', 'accel[0-9]*', 'vfio/[0-9]*')


def tricks() -> bool:
  """Whether what is traced now will run with them: JAX's backend is the CPU.

  Starts the backend. A program may yet be lowered for another platform than
  the backend's (`vidlm plan --topology`); what differs there asks
  `jax.lax.platform_dependent` too.

  Raises:
    ValueError: If VIDLM_CPU_TRICKS is neither 0 nor 1.
  """
  value = os.environ.get(VARIABLE, '1')
  if value not in ('0', '1'):
    raise ValueError(f'{VARIABLE}={value}: choose 0 or 1')
  if value == '0':
    return False
  import jax

  return jax.default_backend() == 'cpu'


def likely() -> bool:
  """Whether JAX will run on the CPU, told before it is imported.

  JAX_PLATFORMS decides; where it is not set, an accelerator's device file says
  that JAX may find more.
  """
  if os.environ.get(VARIABLE) == '0':
    return False
  platforms = os.environ.get('JAX_PLATFORMS', '')
  if platforms:
    return platforms.split(',')[0].strip() == 'cpu'
  return not any(glob.glob(f'/dev/{name}') for name in _DEVICES)
