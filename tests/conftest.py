"""Sets up a hermetic JAX on eight virtual CPU devices for every test."""

import os

import pytest

_LIBRARIES = []

os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_force_host_platform_device_count=8'
)
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ['HF_HUB_OFFLINE'] = '1'
os.environ['TFDS_DISABLE_GCS'] = '1'


@pytest.fixture(scope='session')
def torchvision_operators() -> None:
  """Lets reference models import a torchvision built for another torch.

  PyPI's torchvision is built for CUDA. Beside a CPU build of torch its
  operators are missing; nothing here calls them, and declared they import.
  """
  torch = pytest.importorskip('torch')
  try:
    import torchvision  # noqa: F401
  except RuntimeError:
    library = torch.library.Library('torchvision', 'FRAGMENT')
    for name in ('nms', 'qnms'):
      library.define(f'{name}(Tensor a, Tensor b, float c) -> Tensor')
    _LIBRARIES.append(library)  # dropped, it would be undone
  except ImportError:
    pass
