"""Commands as users start them: real processes, real clip sets, tiny models."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import pytest

from vidlm.core import launch

ROOT = pathlib.Path(__file__).resolve().parents[2]
# SIGTERM is noticed at step 10: a run must be longer, and long enough that the
# signal, sent at step 1, comes before the end.
STEPS = 30
# One layer everywhere: a step is as quick as its collectives.
TINY_VLM = {
  'video_vlm.VideoVLM.variant': "'32,1,64,1/16'",
  't5.T5Config.emb_dim': 32,
  't5.T5Config.num_heads': 1,
  't5.T5Config.mlp_dim': 64,
  't5.T5Config.num_encoder_layers': 1,
  't5.T5Config.num_decoder_layers': 1,
  'NUM_FRAMES': 2,
}
TINY_TOWERS = {
  'vit_st.ViTST.variant': "'32,1,64,1/16'",
  'EMBED_DIM': 16,
  'text.TextTransformer.width': 32,
  'text.TextTransformer.depth': 1,
  'text.TextTransformer.num_heads': 1,
  'NUM_FRAMES': 2,
}


class Commands:
  """Starts commands; knows the data and the flags of tiny recipes."""

  def __init__(self, folder: pathlib.Path, data: pathlib.Path):
    self.folder = folder
    self.data = data

  def train_flags(
    self, recipe: str, model_dir: pathlib.Path, **macros: Any
  ) -> list[str]:
    """Flags of `train` with a recipe of configs/miniature, made tiny."""
    if recipe == 'dualenc':
      tiny: dict[str, Any] = TINY_TOWERS
    else:
      tiny = {**TINY_VLM, 'INITIAL_CHECKPOINT_PATH': None}
    file = recipe if '/' in recipe else f'configs/miniature/{recipe}.gin'
    bindings = {
      **tiny,
      'MODEL_DIR': repr(str(model_dir)),
      'DATA_DIR': repr(str(self.data)),
      'VOCABULARY_PATH': repr(str(self.data / 'vocabulary.model')),
      'BATCH_SIZE': 8,
      'LOG_PERIOD': 1,
      'CHECKPOINT_PERIOD': 1000,
      'optim.warmup_cosine.warmup_steps': 2,
      **macros,
    }
    return [
      'train',
      f'--gin_file={file}',
      *(f'--gin.{name}={value}' for name, value in bindings.items()),
    ]

  def start(
    self, program: str, flags: Sequence[str], devices: int = 2
  ) -> 'Process':
    """Starts `vidlm` or `dualenc` as a process of its own."""
    return Process(program, flags, self.folder, devices)

  def start_two(self, program: str, flags: Sequence[str]) -> list['Process']:
    """Starts a command as two connected processes of two devices each."""
    with socket.socket() as free:
      free.bind(('127.0.0.1', 0))
      port = free.getsockname()[1]
    return [
      self.start(
        program,
        [
          *flags,
          f'--coordinator_address=127.0.0.1:{port}',
          '--process_count=2',
          f'--process_index={index}',
        ],
      )
      for index in range(2)
    ]


class Process:
  """A command that runs; never outlives its test."""

  def __init__(
    self,
    program: str,
    flags: Sequence[str],
    folder: pathlib.Path,
    devices: int,
  ):
    number = len(list(folder.glob('*.log')))
    self._log = folder / f'{number}_{program}.log'
    with open(self._log, 'wb') as log:
      self._process = subprocess.Popen(
        [sys.executable, '-m', program, *flags],
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        cwd=ROOT,
        env={
          **os.environ,
          'PYTHONPATH': str(ROOT),
          'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}',
          'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled'),
        },
      )

  @property
  def errors(self) -> str:
    """Standard error so far."""
    return self._log.read_text(errors='replace')

  @property
  def pid(self) -> int:
    """Its number."""
    return self._process.pid

  @property
  def running(self) -> bool:
    """Whether it still runs."""
    return self._process.poll() is None

  def terminate(self) -> None:
    """Sends SIGTERM, as a scheduler does."""
    self._process.send_signal(signal.SIGTERM)

  def finish(self, timeout: float = 400) -> tuple[int, str]:
    """Waits; the exit status and standard output."""
    try:
      output, _ = self._process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
      self.kill()
      raise AssertionError(f'did not end\n{self.errors[-5000:]}') from None
    return self._process.returncode, output

  def kill(self) -> None:
    """Ends it for good."""
    if self.running:
      self._process.kill()
    self._process.communicate()


@contextlib.contextmanager
def ended(processes: Sequence[Process]) -> Iterator[Sequence[Process]]:
  """Kills what still runs when a test is over."""
  try:
    yield processes
  finally:
    for process in processes:
      process.kill()


def finish_all(processes: Sequence[Process]) -> list[int]:
  """Exit statuses; the first error is shown by the test that fails."""
  with ended(processes):
    codes = [process.finish()[0] for process in processes]
  for code, process in zip(codes, processes, strict=True):
    if code not in (0, 143):
      print(process.errors[-5000:])
  return codes


def metrics(model_dir: pathlib.Path) -> dict[int, dict[str, Any]]:
  """The lines of metrics.jsonl by step, each there once."""
  path = model_dir / 'metrics.jsonl'
  rows = [json.loads(line) for line in path.read_text().splitlines()]
  steps = [row['step'] for row in rows]
  assert steps == sorted(set(steps)), 'a step stands there twice'
  return {row['step']: row for row in rows}


def wait_for_first_step(
  processes: Sequence[Process], model_dir: pathlib.Path, timeout: float = 300
) -> None:
  """Waits until a run has begun to train."""
  path = model_dir / 'metrics.jsonl'
  until = time.monotonic() + timeout
  while time.monotonic() < until and all(p.running for p in processes):
    if path.exists() and path.read_text().count('\n'):
      return
    time.sleep(0.02)
  raise AssertionError('\n'.join(p.errors[-3000:] for p in processes))


def wait_for_text(process: Process, text: str, timeout: float = 300) -> None:
  """Waits until a process has logged something."""
  until = time.monotonic() + timeout
  while text not in process.errors:
    assert time.monotonic() < until and process.running, process.errors[-3000:]
    time.sleep(0.02)


# Also learns to answer: what is scored must not all be wrong.
TALKER = """from __gin__ import dynamic_registration
from vidlm.training import optim
from vidlm.data.feed import tasks
include 'configs/miniature/visual.gin'
SCHEDULE = [('.*', @optim.warmup_cosine())]
optim.warmup_cosine.peak = 5e-3
MIXTURE_OR_TASK = @tasks.ClipMixture()
tasks.ClipMixture.name = 'talk'
tasks.ClipMixture.tasks = [
    (@short/tasks.ClipTask(), 0.5), (@answers/tasks.ClipTask(), 0.5)]
answers/tasks.ClipTask:
  name = 'answers'
  clips = 'test_qa'
  split = 'test'
  kind = 'question'
"""


@pytest.fixture(scope='session')
def trained(
  commands: Commands, call: Callable[..., int]
) -> dict[str, pathlib.Path]:
  """MODEL_DIRs of runs on one process: one a program, one that answers."""
  recipe = commands.folder / 'talker.gin'
  recipe.write_text(TALKER)
  runs = {
    'vidlm': ('vidlm', 'visual', {'TRAIN_STEPS': STEPS}),
    'dualenc': ('dualenc', 'dualenc', {'TRAIN_STEPS': STEPS}),
    'talker': ('vidlm', str(recipe), {'TRAIN_STEPS': 120}),
  }
  folders = {}
  for name, (program, recipe, macros) in runs.items():
    folders[name] = commands.folder / name
    flags = commands.train_flags(recipe, folders[name], **macros)
    assert call(program, flags) == 0
  return folders


class Tools:
  """The functions above, as a fixture (test folders are no packages)."""

  ended = staticmethod(ended)
  finish_all = staticmethod(finish_all)
  metrics = staticmethod(metrics)
  steps = STEPS
  wait_for_first_step = staticmethod(wait_for_first_step)
  wait_for_text = staticmethod(wait_for_text)


@pytest.fixture(scope='session')
def tools() -> type[Tools]:
  return Tools


@pytest.fixture(scope='session')
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The miniature's clip sets, a few clips of each."""
  from vidlm.miniature.world import config, prepare

  folder = tmp_path_factory.mktemp('data')
  sizes = config.MiniatureConfig(
    image_text=64,
    text_only=300,
    short_captions=24,
    narratives=4,
    web_clips=24,
    test_retrieval=10,
    test_classification=10,
    test_captioning=6,
    test_qa=6,
  )
  prepare.prepare_miniature(str(folder), config=sizes, workers=1)
  return folder


@pytest.fixture(scope='session')
def commands(
  tmp_path_factory: pytest.TempPathFactory, data: pathlib.Path
) -> Commands:
  return Commands(tmp_path_factory.mktemp('commands'), data)


@pytest.fixture(scope='session')
def call(
  tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., int]]:
  """Runs a command in this process; its exit status."""
  import importlib

  cache = tmp_path_factory.mktemp('compiled')

  def run(program: str, flags: Sequence[str]) -> int:
    cli = importlib.import_module(f'{program}.cli')
    with (
      contextlib.chdir(ROOT),
      launch.isolated_gin(),
      pytest.MonkeyPatch.context() as patch,
    ):
      patch.setenv('JAX_COMPILATION_CACHE_DIR', str(cache))
      with pytest.raises(SystemExit) as exit_:
        cli.main(list(map(str, flags)))
    return exit_.value.code or 0

  before = jax.config.jax_compilation_cache_dir
  yield run
  jax.config.update('jax_compilation_cache_dir', before)
