"""Decodes clips in processes that may crash, hang or swell, and do no harm."""

import collections
import concurrent.futures
import contextlib
import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, cast

from absl import logging

from vidlm.core import processes
from vidlm.data.video import worker as decode_worker

DecodeTask = decode_worker.DecodeTask
DecodeResult = decode_worker.DecodeResult

_STARTING = 300.0  # seconds
_MAX_HEADER = 1 << 20
_MAX_RESPONSE = 1 << 30


class DecodePool:
  """Decodes clips, in order, in worker processes.

  What a clip may cost, memory and time included, is said by its task. A clip
  that can't be decoded is a result with a reason, whatever happened:
  `timeout` if its worker had to be stopped, `killed` if it died on every try,
  else what `decoding.decode_clip` said. All other clips are unaffected.

  Example:
    with DecodePool(num_workers=8) as pool:
      for result in pool.map(DecodeTask(path) for path in paths):
        ...
  """

  def __init__(
    self,
    num_workers: int | None = None,
    *,
    retries: int = 1,
    recycle_after: int = 500,
    command: Sequence[str] | None = None,
  ):
    """Starts nothing yet: a worker starts with its first clip.

    Args:
      num_workers: Processes; by default one a CPU. 0 decodes in this process,
        where time and memory can't be limited: only for files you trust.
      retries: How often a clip is tried again after its worker died.
      recycle_after: Clips after which a worker is replaced, against slow
        leaks.
      command: What to run instead of `worker`, followed by the limit on
        memory.
    """
    if num_workers is None:
      num_workers = processes.cpus()
    if num_workers < 0:
      raise ValueError(f'num_workers={num_workers}: need 0 or more')
    self._num_workers = num_workers
    self._retries = retries
    self._recycle_after = recycle_after
    # -P: a file in the working folder can't pose as a module.
    module = [sys.executable, '-P', '-m', 'vidlm.data.video.worker']
    self._command = list(command or module)
    self._local = threading.local()
    self._workers: set[_Worker] = set()
    self._lock = threading.Lock()
    self._closed = False
    self._threads = (
      concurrent.futures.ThreadPoolExecutor(num_workers, 'decode')
      if num_workers
      else None
    )

  def __enter__(self) -> 'DecodePool':
    return self

  def __exit__(self, *error: object) -> None:
    self.close()

  def close(self) -> None:
    """Stops the workers, busy or not."""
    with self._lock:
      self._closed = True
      workers = list(self._workers)
    for worker in workers:
      worker.kill()
    if self._threads:
      self._threads.shutdown(cancel_futures=True)
    for worker in self._workers:
      worker.close()
    self._workers.clear()

  def map(
    self, tasks: Iterable[DecodeTask], look_ahead: int | None = None
  ) -> Iterator[DecodeResult]:
    """Yields a result for each task, in the tasks' order.

    Args:
      tasks: Read no further ahead than needed.
      look_ahead: Tasks begun, or done and not yet taken; by default four a
        worker, which bounds the memory for results that wait.
    """
    if self._threads is None:
      yield from map(decode_worker.decode, tasks)
      return
    look_ahead = look_ahead or 4 * self._num_workers
    pending: collections.deque = collections.deque()
    try:
      for task in tasks:
        pending.append(self._threads.submit(self._run, task))
        if len(pending) >= look_ahead:
          yield pending.popleft().result()
      while pending:
        yield pending.popleft().result()
    finally:
      for future in pending:
        future.cancel()

  def _run(self, task: DecodeTask) -> DecodeResult:
    """Decodes a clip in this thread's worker, in another if that one dies."""
    limits = task.sampling.limits
    for _ in range(self._retries + 1):
      worker = self._worker(limits.memory)
      try:
        result = worker.decode(task, limits.timeout)
      except _WorkerDied as died:
        self._discard(worker)
        if died.reason == 'timeout' or self._closed:
          return DecodeResult(died.reason, f'{task.path}: {died}')
        logging.warning('%s: %s', task.path, died)
        message = f'{task.path}: {died}'
        continue
      used_up = worker.tasks >= self._recycle_after
      if used_up or result.reason == 'out_of_memory':
        self._discard(worker)
      return result
    return DecodeResult('killed', message)

  def _worker(self, memory: int) -> '_Worker':
    worker = getattr(self._local, 'worker', None)
    if worker is not None and worker.memory != memory:
      self._discard(worker)
      worker = None
    if worker is None:
      worker = _Worker(self._command, memory)
      self._local.worker = worker
      with self._lock:
        self._workers.add(worker)
        if self._closed:  # `close` has killed those it knew.
          worker.kill()
    return worker

  def _discard(self, worker: '_Worker') -> None:
    worker.close()
    self._local.worker = None
    with self._lock:
      self._workers.discard(worker)


class _WorkerDied(Exception):
  """The process is of no more use; `reason` is 'timeout' or 'killed'."""

  def __init__(self, reason: str, message: str):
    super().__init__(message)
    self.reason = reason


class _Worker:
  """A process and the two pipes to it; used by one thread."""

  def __init__(self, command: Sequence[str], memory: int):
    self.tasks = 0
    self.memory = memory
    root = str(pathlib.Path(__file__).resolve().parents[2])
    paths = [root, os.environ.get('PYTHONPATH', '')]
    environment = {
      **os.environ,
      'PYTHONPATH': os.pathsep.join(filter(None, paths)),
      # Threads of BLAS take address space and bring nothing here.
      'OPENBLAS_NUM_THREADS': '1',
      'OMP_NUM_THREADS': '1',
    }
    # A new interpreter, never a fork: JAX and TensorFlow have threads.
    self._process = subprocess.Popen(
      [*command, str(memory)],
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      env=environment,
      bufsize=0,  # The selector doesn't see what lies in a buffer of Python's.
    )
    self._buffer = bytearray()
    # select() can't take descriptors over 1023; a selector of epoll's or
    # kqueue's would hold one more of them a worker.
    make = getattr(selectors, 'PollSelector', selectors.SelectSelector)
    self._selector = make()
    # Both are pipes, as Popen was told.
    self._requests = cast(IO[bytes], self._process.stdin)
    self._responses = cast(IO[bytes], self._process.stdout)
    self._selector.register(self._responses, selectors.EVENT_READ)

  def kill(self) -> None:
    """Ends the process; safe while another thread waits for its answer."""
    self._process.kill()
    self._process.wait()

  def close(self) -> None:
    """Ends the process and closes the pipes; for the thread that owns it."""
    self.kill()
    self._requests.close()
    self._responses.close()

  def decode(self, task: DecodeTask, timeout: float) -> DecodeResult:
    """Has a clip decoded.

    Raises:
      _WorkerDied: If the process died, hung or answered nonsense.
      RuntimeError: If it could not even start.
    """
    try:
      if not self.tasks:
        self._await_start()
      self.tasks += 1
      deadline = time.monotonic() + timeout
      self._requests.write(decode_worker.encode_task(task))
      header = json.loads(self._read_line(deadline))
      sizes = header['frames']
      if sum(sizes) > _MAX_RESPONSE or any(size < 0 for size in sizes):
        raise ValueError('a response beyond all bounds')
      header['frames'] = tuple(self._read(size, deadline) for size in sizes)
      header['times'] = tuple(header['times'])
      return DecodeResult(**header)
    except (BrokenPipeError, EOFError):
      raise self._post_mortem() from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
      raise _WorkerDied(
        'killed', f'worker answered nonsense: {error}'
      ) from None

  def _await_start(self) -> None:
    """Waits until the process is ready: its start is not its clip's fault."""
    try:
      said = self._read_line(time.monotonic() + _STARTING)
    except EOFError:
      raise RuntimeError(
        f'a decoding worker could not start: {self._post_mortem()}; is '
        f'Limits.memory={self.memory} too small? See --decode_memory'
      ) from None
    if said == decode_worker.UNLIMITED.strip():
      logging.log_first_n(
        logging.WARNING,
        'this system does not limit the memory of a process: decode only '
        'videos that you trust',
        1,
      )

  def _post_mortem(self) -> _WorkerDied:
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._process.wait(5)
    status = self._process.returncode
    if status is not None and status < 0:
      name = signal.Signals(-status).name
      if name == 'SIGXCPU':
        return _WorkerDied(
          'timeout', 'used more CPU time than allowed; see --decode_cpu_seconds'
        )
      return _WorkerDied('killed', f'worker died of {name}')
    return _WorkerDied('killed', f'worker ended with status {status}')

  def _read_line(self, deadline: float) -> bytes:
    while (end := self._buffer.find(b'\n')) < 0:
      if len(self._buffer) > _MAX_HEADER:
        raise ValueError('an endless line')
      self._fill(deadline)
    line = bytes(self._buffer[:end])
    del self._buffer[: end + 1]
    return line

  def _read(self, size: int, deadline: float) -> bytes:
    while len(self._buffer) < size:
      self._fill(deadline)
    data = bytes(self._buffer[:size])
    del self._buffer[:size]
    return data

  def _fill(self, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0 or not self._selector.select(left):
      raise _WorkerDied(
        'timeout', 'took longer than allowed; see --decode_seconds'
      )
    data = os.read(self._responses.fileno(), 1 << 20)
    if not data:
      raise EOFError
    self._buffer += data
