"""SIGTERM: a run saves where it is, ends, and the same command goes on."""

import signal
import threading
from typing import Any

import jax
import numpy as np

# 128 + SIGTERM: the scheduler asked to stop, a checkpoint was saved, and the
# same command goes on from it.
EXIT_CODE = 143
# Steps between two questions of all processes whether one got SIGTERM.
PERIOD = 10


class Preempted(Exception):
  """SIGTERM came, and the checkpoint of the current step is saved."""


class SigtermFlag:
  """Notes SIGTERM while a run is on; the old handler comes back after it."""

  def __init__(self):
    self._set = threading.Event()
    self._old: Any = None

  def __enter__(self) -> 'SigtermFlag':
    if threading.current_thread() is threading.main_thread():
      self._old = signal.signal(signal.SIGTERM, lambda *_: self._set.set())
    return self

  def __exit__(self, *_: Any) -> None:
    if self._old is not None:
      signal.signal(signal.SIGTERM, self._old)

  def agreed(self, done: int) -> bool:
    """Whether to stop now; several processes ask each other now and then.

    Args:
      done: Steps done, the same in all processes.
    """
    if jax.process_count() == 1:
      return self._set.is_set()
    if done % PERIOD:
      return False
    from jax.experimental import multihost_utils

    flags = multihost_utils.process_allgather(np.array(self._set.is_set()))
    return bool(np.any(flags))
