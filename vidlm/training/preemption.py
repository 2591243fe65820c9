"""SIGTERM and Ctrl-C: a run saves where it is, and the same command goes on.

A second Ctrl-C ends the process at once, whatever it is at: a thread sees the
signals, since Python's own handlers wait for the end of a compilation.
"""

import os
import signal
import threading
from typing import Any

import jax
import numpy as np
from absl import logging

# 128 + the signal: somebody asked to stop, a checkpoint was saved, and the same
# command goes on from it.
EXIT_CODE = 143
INTERRUPTED = 130
# Steps between two questions of all processes whether one got a signal.
PERIOD = 10

_NAMES = {signal.SIGTERM: 'SIGTERM', signal.SIGINT: 'Ctrl-C'}


class Preempted(Exception):
  """A signal came, and the checkpoint of the current step is saved.

  Attributes:
    exit_code: 128 + the signal.
  """

  def __init__(self, number: int, checkpoint: str):
    super().__init__(
      f'{_NAMES[signal.Signals(number)]}: saved {checkpoint}; the same command '
      'goes on from it'
    )
    self.exit_code = 128 + number


class StopFlag:
  """Notes SIGTERM and Ctrl-C while a run is on; then all is as before.

  What the process was started to ignore stays ignored.
  """

  def __init__(self):
    self._number = 0
    self._old: dict[int, Any] = {}
    self._watch: _Watch | None = None

  def __enter__(self) -> 'StopFlag':
    if threading.current_thread() is not threading.main_thread():
      return self
    for number in (signal.SIGTERM, signal.SIGINT):
      if signal.getsignal(number) != signal.SIG_IGN:
        self._old[number] = signal.signal(number, self._note)
    if signal.SIGINT in self._old:
      self._watch = _Watch()
    return self

  def __exit__(self, *_: Any) -> None:
    if self._watch is not None:
      self._watch.close()
    for number, handler in self._old.items():
      signal.signal(number, handler)

  def _note(self, number: int, _: Any) -> None:
    self._number = self._number or number

  def agreed(self, done: int) -> int:
    """The signal to stop for now, or 0; several processes ask each other.

    Args:
      done: Steps done, the same in all processes.
    """
    if jax.process_count() == 1:
      return self._number
    if done % PERIOD:
      return 0
    from jax.experimental import multihost_utils

    numbers = multihost_utils.process_allgather(np.array(self._number))
    return int(np.max(numbers))


class _Watch:
  """A thread that counts Ctrl-C, and ends the process at the second."""

  def __init__(self):
    self._read, self._write = os.pipe()
    os.set_blocking(self._write, False)
    self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
    self._thread = threading.Thread(target=self._count, daemon=True)
    self._thread.start()

  def _count(self) -> None:
    seen = 0
    while data := os.read(self._read, 1):
      seen += data[0] == signal.SIGINT
      if data[0] == signal.SIGINT and seen == 1:
        logging.warning(
          'Ctrl-C: saves after this step and ends; once more ends at once, '
          'with what was saved before'
        )
      elif seen > 1:
        os.write(2, b'\nCtrl-C twice: ended at once\n')
        os._exit(INTERRUPTED)

  def close(self) -> None:
    """Lets the signals go where they went before."""
    signal.set_wakeup_fd(self._before)
    os.close(self._write)
    self._thread.join()
    os.close(self._read)
