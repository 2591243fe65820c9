"""Batches made and placed on the devices while a step runs."""

import collections
import concurrent.futures
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from vidlm.core import processes

# Seconds. A source that hangs must not keep a preempted run from ending.
_PATIENCE = 10.0


def prefetch(
  batches: Iterator[Any],
  place: Callable[[Any], Any] = lambda batch: batch,
  size: int = 2,
) -> Generator[Any, None, None]:
  """Makes and places batches in a thread, `size` ahead.

  Args:
    batches: Any iterator; closed with the returned one if it is a generator.
      Closing waits for the batch that is being made.
    place: Puts a batch on the devices; by default it stays as it is.
    size: Batches that wait at most.

  Yields:
    `place(batch)`, in order. Errors of the thread are raised where the batch
    is asked for.
  """
  ready: queue.Queue = queue.Queue(size)
  over = threading.Event()

  def put(item: Any) -> bool:
    while not over.is_set():
      try:
        ready.put(item, timeout=0.1)
        return True
      except queue.Full:
        continue
    return False

  def work() -> None:
    try:
      for batch in batches:
        if not put((place(batch), None)):
          return
      put((None, StopIteration()))
    except BaseException as error:
      put((None, error))
    finally:
      if over.is_set() and hasattr(batches, 'close'):
        batches.close()

  thread = threading.Thread(target=work, daemon=True)
  thread.start()
  try:
    while True:
      batch, error = ready.get()
      if isinstance(error, StopIteration):
        return
      if error is not None:
        raise error
      yield batch
  finally:
    over.set()
    # Python ends a thread that is inside JAX at exit by an exception that C++
    # can't pass on: the process aborts, whatever status it was to end with.
    thread.join(_PATIENCE)


def map_ahead(
  fn: Callable[[Any], Any],
  items: Iterable[Any],
  pool: concurrent.futures.Executor,
  ahead: int,
) -> Iterator[Any]:
  """`map` in a pool, in order, no more than `ahead` items ahead."""
  pending: collections.deque[concurrent.futures.Future] = collections.deque()
  try:
    for item in items:
      pending.append(pool.submit(fn, item))
      if len(pending) >= ahead:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
  finally:
    for future in pending:
      future.cancel()


def map_threads(
  fn: Callable[[Any], Any], items: Iterable[Any]
) -> Iterator[Any]:
  """`map_ahead` in threads of its own, one a CPU: for what leaves the lock."""
  threads = processes.cpus()
  with concurrent.futures.ThreadPoolExecutor(threads, 'ahead') as pool:
    yield from map_ahead(fn, items, pool, 4 * threads)
