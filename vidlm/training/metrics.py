"""Figures of a run: JSON lines, TensorBoard, and lines for whoever watches."""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any, TextIO

import jax
from absl import logging

from vidlm.core import files


class MetricsWriter:
  """Writes scalars to a local MODEL_DIR on process 0, nothing elsewhere."""

  def __init__(self, model_dir: str, start_step: int = 0):
    """Opens metrics.jsonl and an event file.

    Args:
      model_dir: Where they go.
      start_step: Step the run goes on from; lines of later steps, left by a
        run that was killed, are dropped so that each step stands there once.
    """
    self._dir = model_dir
    self._file: TextIO | None = None
    self._board: Any = None
    if jax.process_index() != 0:
      return
    if '://' in model_dir:
      # Both files grow a line at a time, which object stores can't do.
      logging.warning(
        '%s: no metrics.jsonl and no TensorBoard file there; a MODEL_DIR on a '
        'disk has them, this log has the losses',
        model_dir,
      )
      return
    with _without_torch():
      import tensorboardX

    files.make_folder(model_dir, 'MODEL_DIR')
    path = os.path.join(model_dir, 'metrics.jsonl')
    _keep_until(path, start_step)
    self._file = open(path, 'a', encoding='utf-8')  # noqa: SIM115
    self._board = tensorboardX.SummaryWriter(
      model_dir, purge_step=start_step + 1, write_to_disk=True
    )

  def write(self, step: int, scalars: Mapping[str, float]) -> None:
    """Writes one line for `step`; NaN and infinity as null.

    Raises:
      ValueError: If MODEL_DIR is gone: nobody would ever read it.
    """
    if self._file is None:
      return
    files.check_there(self._dir, 'MODEL_DIR')
    line = {
      name: value if math.isfinite(value) else None
      for name, value in scalars.items()
    }
    self._file.write(json.dumps({'step': step, **line}) + '\n')
    self._file.flush()
    for name, value in scalars.items():
      self._board.add_scalar(name, value, step)

  def close(self) -> None:
    """Closes the files."""
    if self._file is not None:
      self._file.close()
      self._board.close()


@contextlib.contextmanager
def _without_torch() -> Iterator[None]:
  """Keeps tensorboardX from PyTorch: 1.2 s and 190 MiB, for nobody's tensors.

  Python takes None in `sys.modules` for a module that isn't there.
  """
  hidden = 'torch' not in sys.modules
  if hidden:
    sys.modules['torch'] = None  # type: ignore[assignment]
  try:
    yield
  finally:
    if hidden:
      del sys.modules['torch']


def _keep_until(path: str, step: int) -> None:
  if not os.path.exists(path):
    return
  kept = []
  with open(path, encoding='utf-8') as file:
    for line in file:
      try:
        if line.endswith('\n') and json.loads(line)['step'] <= step:
          kept.append(line)
      except (json.JSONDecodeError, KeyError, TypeError):
        continue  # a line cut short by a kill
  files.write_text(path, ''.join(kept))


class Progress:
  """Says how far a run is: steps, rate, time left, loss."""

  def __init__(self, name: str, start: int, total: int, stream: Any = None):
    self._name, self._total = name, total
    self._stream = stream or sys.stderr
    self._first = (start, time.monotonic())

  def start_clock(self, step: int) -> None:
    """Measures the rate from here on, after compilation."""
    self._first = (step, time.monotonic())

  def show(self, step: int, scalars: Mapping[str, float]) -> None:
    """Prints a line; on a terminal the line is written over."""
    if jax.process_index() != 0:
      return
    start, begun = self._first
    parts = [f'{self._name}: step {step}/{self._total}']
    parts.append(f'loss {scalars["loss"]:.4f}')
    if 'examples_per_second' in scalars:
      parts.append(f'{scalars["examples_per_second"]:.1f} examples/s')
    if step > start:
      rate = (step - start) / max(time.monotonic() - begun, 1e-9)
      parts.append(f'{_clock((self._total - step) / rate)} left')
    text = '  '.join(parts)
    if self._stream.isatty():
      end = '\n' if step == self._total else ''
      self._stream.write(f'\r\x1b[K{text}{end}')
    else:
      self._stream.write(f'{text}\n')
    self._stream.flush()


def _clock(seconds: float) -> str:
  minutes, seconds = divmod(int(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f'{hours}:{minutes:02d}:{seconds:02d}'
