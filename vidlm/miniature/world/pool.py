"""Work in several processes, with results in the order of the jobs."""

import concurrent.futures
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def in_order(
  function: Callable[..., Any], jobs: Sequence[tuple], workers: int
) -> Iterator[Any]:
  """Yields function(*job) for each job, in order.

  Args:
    function: Defined at the top of a module, as another process looks it up.
    jobs: Its arguments.
    workers: Processes; 1 works in this one.
  """
  if workers <= 1:
    yield from (function(*job) for job in jobs)
    return
  # Not by fork: JAX and TensorFlow have threads.
  with concurrent.futures.ProcessPoolExecutor(
    workers, multiprocessing.get_context('spawn')
  ) as executor:
    yield from executor.map(function, *zip(*jobs, strict=True))
