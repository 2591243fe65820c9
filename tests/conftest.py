"""A hermetic JAX on eight virtual CPU devices; how long each file takes.

`make test` says the seconds of each file at its end. `seconds.json` beside this
file holds those of one run, `make test ARGS=--record-seconds` writes it anew;
by it the longest files start first, so that no process ends up waiting for
another's last one, and `--fast` (`make test-fast`) runs the quickest.
"""

import collections
import json
import os
import pathlib

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


_SECONDS = pathlib.Path(__file__).with_name('seconds.json')
# What `--fast` may take on one process; two of them end within two minutes,
# their start and imports included.
FAST = 120.0

_spent: collections.Counter[str] = collections.Counter()


def pytest_addoption(parser: pytest.Parser) -> None:
  group = parser.getgroup('seconds')
  group.addoption(
    '--fast',
    action='store_true',
    help=f'the quickest files only, {FAST:.0f} s of them by seconds.json',
  )
  group.addoption(
    '--record-seconds',
    action='store_true',
    help='write what each file took to tests/seconds.json',
  )


def quickest(seconds: dict[str, float], budget: float) -> set[str]:
  """The quickest files that fit into the budget together."""
  chosen = set()
  for name, spent in sorted(seconds.items(), key=lambda item: item[1]):
    budget -= spent
    if budget < 0:
      break
    chosen.add(name)
  return chosen


def pytest_ignore_collect(
  collection_path: pathlib.Path, config: pytest.Config
) -> bool | None:
  """With `--fast`, leaves out the slow files, and those not measured yet."""
  if not config.option.fast or not collection_path.match('test_*.py'):
    return None
  chosen = quickest(json.loads(_SECONDS.read_text()), FAST)
  name = collection_path.relative_to(config.rootpath).as_posix()
  return None if name in chosen else True


def pytest_collection_modifyitems(
  config: pytest.Config, items: list[pytest.Item]
) -> None:
  """The longest files first; those not measured yet before them."""
  seconds = json.loads(_SECONDS.read_text())

  def spent(item: pytest.Item) -> float:
    name = item.path.relative_to(config.rootpath).as_posix()
    return seconds.get(name, float('inf'))

  items.sort(key=spent, reverse=True)  # stable: a file stays together


def pytest_report_header(config: pytest.Config) -> str | None:
  """Says what `--fast` leaves out."""
  if not config.option.fast:
    return None
  seconds = json.loads(_SECONDS.read_text())
  tests = pathlib.Path(__file__).parent.rglob('test_*.py')
  names = {path.relative_to(config.rootpath).as_posix() for path in tests}
  chosen = quickest(seconds, FAST) & names
  new = len(names - set(seconds))
  return (
    f'fast: {len(chosen)} of {len(names)} files; {new} are not measured yet'
  )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
  """Adds up what a test, its fixtures included, took."""
  _spent[report.nodeid.split('::')[0]] += report.duration


def pytest_terminal_summary(
  terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
  """Says how long each file took, where `--durations` asks for times."""
  if config.option.durations:
    terminalreporter.section('seconds by file')
    for name, spent in _spent.most_common():
      terminalreporter.write_line(f'{spent:8.1f} {name}')
  if config.option.record_seconds:
    known = json.loads(_SECONDS.read_text()) if _SECONDS.exists() else {}
    known |= {name: round(spent, 1) for name, spent in _spent.items()}
    known = {n: s for n, s in known.items() if (config.rootpath / n).exists()}
    _SECONDS.write_text(json.dumps(known, indent=2, sort_keys=True) + '\n')
