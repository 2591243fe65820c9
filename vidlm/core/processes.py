"""The processes of one run: how they find each other, and wait."""

import argparse
import os
import sys
from collections.abc import Callable

from absl import logging


def cpus() -> int:
  """CPUs this process may use; where nobody can tell, those there are."""
  if hasattr(os, 'sched_getaffinity'):  # not on macOS
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def start(args: argparse.Namespace) -> None:
  """Starts `jax.distributed` if the flags ask for several processes.

  Args:
    args: With the flags of `launch.add_flags`.

  Raises:
    ValueError: If the flags name no coordinator.
  """
  import jax

  # JAX's own service would swallow SIGTERM and tell nobody but whoever asks it;
  # the training loop has a flag of its own, all else may just end.
  jax.config.update('jax_enable_preemption_service', False)
  if args.multihost or args.process_count > 1:
    _keep_stdout()
  if args.multihost:
    jax.distributed.initialize()
  elif args.process_count > 1:
    if not args.coordinator_address:
      raise ValueError('--process_count > 1 needs --coordinator_address')
    jax.distributed.initialize(
      args.coordinator_address,
      args.process_count,
      args.process_index,
      # What the flags say holds: under Slurm, detection would also leave each
      # process one GPU only.
      cluster_detection_method='deactivate',
    )
  logging.info(
    'process %d of %d, %d devices',
    jax.process_index(),
    jax.process_count(),
    jax.device_count(),
  )


def _keep_stdout() -> None:
  """Keeps standard output for what was asked for, such as scores as JSON.

  Gloo greets its peers there; what libraries print goes to standard error.
  """
  sys.stdout.flush()
  sys.stdout = os.fdopen(os.dup(1), 'w', encoding=sys.stdout.encoding)
  os.dup2(2, 1)


def wait_for_all(place: str, seconds: float) -> None:
  """Waits until every process has come to the same place.

  The coordinator is asked, not the devices: on CPUs their first collective
  gives up on a process that is 30 s late, and compiling may take longer.

  Args:
    place: Name of the place in the program, the same in all processes.
    seconds: How long at most.

  Raises:
    ValueError: If a process has not come by then.
  """
  import jax

  if jax.process_count() == 1:
    return
  from orbax.checkpoint import multihost

  try:
    multihost.get_barrier_sync_fn()(
      key=f'vidlm/{place}', timeout_ms=round(1000 * seconds)
    )
  except jax.errors.JaxRuntimeError as error:
    raise ValueError(
      f'{place}: not all {jax.process_count()} processes came here within '
      f'{seconds:g} s; are they alive? ({error})'
    ) from error


def is_first() -> bool:
  """Whether this is the process that writes and prints what all have made."""
  import jax

  return jax.process_index() == 0


def part(count: int) -> range:
  """This process's part of `count` items: neighbours, as many as the others."""
  import jax

  index, total = jax.process_index(), jax.process_count()
  return range(count * index // total, count * (index + 1) // total)


def gather(
  work: Callable[[], bytes], place: str, seconds: float = 3600.0
) -> list[bytes]:
  """Lets every process do its part, and gives all parts to all.

  Args:
    work: This process's part; a mistake in it is raised by all of them.
    place: Name of the place in the program, the same in all processes.
    seconds: How long the first to be done waits for the last.

  Returns:
    What `work` gave in each process, in their order.

  Raises:
    ValueError: What `work` raised in one of them, or one hasn't come.
  """
  import jax

  if jax.process_count() == 1:
    return [work()]
  try:
    own = b'+' + work()
  except ValueError as error:
    own = b'-' + str(error).encode()
  wait_for_all(place, seconds)
  parts = _exchange(own)
  for said in parts:
    if said.startswith(b'-'):
      raise ValueError(said[1:].decode())
  return [said[1:] for said in parts]


def _exchange(own: bytes) -> list[bytes]:
  import numpy as np
  from jax.experimental import multihost_utils

  gathered = multihost_utils.process_allgather
  lengths = gathered(np.array([len(own)])).ravel()
  padded = np.frombuffer(own.ljust(int(lengths.max()), b'\0'), np.uint8)
  rows = np.asarray(gathered(padded))
  return [
    row[:length].tobytes() for row, length in zip(rows, lengths, strict=True)
  ]
