"""The only training loop; both packages run it."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from vidlm.core import (
  checkpoints,
  metrics,
  optim,
  partitioning,
  prefetch,
  processes,
  step,
  train_state,
  trees,
)

Feed = Callable[[int], Iterator[dict[str, np.ndarray]]]

# 128 + SIGTERM: the scheduler asked to stop, a checkpoint was saved, and the
# same command goes on from it.
PREEMPTED_EXIT_CODE = 143

# Steps between two questions of all processes whether one got SIGTERM.
PREEMPTION_PERIOD = 10
# How much longer one process may compile than another.
_COMPILE_SECONDS = 3600.0
# Steps that may wait on the devices; each holds its batch there.
_QUEUED_STEPS = 2


class Preempted(Exception):
  """SIGTERM came, and the checkpoint of the current step is saved."""


class NonFiniteError(ValueError):
  """The loss or its gradient is NaN or infinite."""


def train_loop(
  *,
  objective: Any,
  feed: Feed,
  schedule: Any,
  optimizer: Any,
  partitioner: partitioning.Partitioner,
  model_dir: str,
  train_steps: int,
  batch_size: int,
  seed: int = 0,
  grad_clip_norm: float | None = None,
  lr_mults: Any = None,
  wd_mults: Any = None,
  initial_params: Mapping[str, Any] | None = None,
  frozen_dtype: str = 'bfloat16',
  checkpoint_period: int = 1000,
  keep: int = 2,
  log_period: int = 50,
  peak_flops: float | None = None,
  eval_fn: Callable[[train_state.TrainState], Mapping[str, float]] | None = (
    None
  ),
  eval_period: int = 1000,
  on_start: Callable[[], None] = lambda: None,
) -> train_state.TrainState:
  """Trains until `train_steps`, going on from MODEL_DIR's newest checkpoint.

  Args:
    objective: `core.objective.Objective`.
    feed: start_step -> host-local batches.
    schedule: SCHEDULE.
    optimizer: `optim.Adafactor`, `optim.Sgd` or `optim.AdamW`.
    partitioner: Mesh and rules.
    model_dir: Of checkpoints and metrics.
    train_steps: Where to stop.
    batch_size: Examples of a global batch.
    seed: Of fresh parameters and dropout.
    grad_clip_norm: See `optim.make`.
    lr_mults: See `optim.make`.
    wd_mults: See `optim.make`.
    initial_params: Nested arrays to start from, if MODEL_DIR has nothing.
    frozen_dtype: What frozen leaves are kept in.
    checkpoint_period: Steps between checkpoints; the last is always saved.
    keep: Checkpoints that stay.
    log_period: Steps between metrics.
    peak_flops: Of a device, for model FLOP utilisation.
    eval_fn: Scores a state; every process calls it.
    eval_period: Steps between evaluations; the last step is always scored.
    on_start: Called when what MODEL_DIR holds is known to be of this run.

  Returns:
    The final state.

  Raises:
    NonFiniteError: At the first loss or gradient that isn't finite.
    Preempted: After SIGTERM, when the checkpoint is saved.
    ValueError: For a SCHEDULE or parameters that don't fit the model.
  """
  names = list(trees.flatten(step.abstract_params(objective)))
  tx = optim.make(
    names, schedule, optimizer, grad_clip_norm, lr_mults, wd_mults
  )
  built = step.build_train_step(
    objective, tx, partitioner, batch_size, frozen_dtype
  )
  saver = checkpoints.Checkpoints(model_dir, keep)
  state = saver.restore_latest(built.state)
  if state is None:
    state = _start(
      objective, tx, partitioner, frozen_dtype, seed, initial_params
    )
  on_start()
  if int(state.step) >= train_steps:
    logging.info(
      '%s: at step %d already, of %d asked for; nothing to do',
      model_dir,
      int(state.step),
      train_steps,
    )
  log = _Log(
    objective,
    tx,
    model_dir,
    int(state.step),
    train_steps,
    batch_size,
    peak_flops,
  )
  key = step.make_key(seed, partitioner)
  try:
    with _SigtermFlag() as stop, partitioner.activate():
      return _run(
        built,
        tx,
        feed,
        partitioner,
        state,
        key,
        saver,
        log,
        stop,
        train_steps,
        checkpoint_period,
        log_period,
        eval_fn,
        eval_period,
      )
  finally:
    log.close()
    saver.close()


def _start(
  objective: Any,
  tx: optim.Optimizer,
  partitioner: Any,
  frozen_dtype: str,
  seed: int,
  initial_params: Mapping[str, Any] | None,
) -> train_state.TrainState:
  loaded: Mapping[str, Any] = {}
  if initial_params is not None:
    loaded, dropped, fresh = checkpoints.fit_params(
      initial_params, step.parameter_shapes(objective)
    )
    logging.info(
      '%d parameters loaded; dropped: %s; fresh: %s',
      len(loaded),
      ', '.join(dropped) or 'none',
      ', '.join(fresh) or 'none',
    )
  return step.initial_state(
    objective, tx, partitioner, frozen_dtype, seed, loaded
  )


def _run(
  built: step.Step,
  tx: optim.Optimizer,
  feed: Feed,
  partitioner: Any,
  state: train_state.TrainState,
  key: Any,
  saver: checkpoints.Checkpoints,
  log: '_Log',
  stop: '_SigtermFlag',
  train_steps: int,
  checkpoint_period: int,
  log_period: int,
  eval_fn: Any,
  eval_period: int,
) -> train_state.TrainState:
  first = int(state.step)
  if first >= train_steps:
    return state
  function = _compiled_by_all(built)
  finite = _FiniteCheck()
  batches = prefetch.prefetch(feed(first), partitioner.shard_batch)
  with contextlib.closing(batches):
    for number in range(first, train_steps):
      batch = next(batches, None)
      if batch is None:
        raise ValueError(
          f'feed: no batch for step {number + 1} of {train_steps}; a feed has '
          'no end, epochs are its own affair'
        )
      rates = tx.learning_rates(number)
      state, scalars = function(state, batch, rates, key)
      finite.add(number, scalars)
      done = number + 1
      last = done == train_steps
      if number == first:
        log.start_clock(done, scalars)
      scores = {}
      if eval_fn is not None and (done % eval_period == 0 or last):
        finite.check()
        scores = log.timed(eval_fn, state)
      if done % log_period == 0 or last or scores:
        finite.check()
        log.write(done, scalars, rates, scores)
      preempted = stop.agreed(done)
      if done % checkpoint_period == 0 or last or preempted:
        # Before the next batch is taken; and never a state that isn't finite.
        finite.check()
        saver.save(done, state)
      if preempted and not last:
        saver.wait()
        raise Preempted(f'saved checkpoint_{done} after SIGTERM')
  return state


def _compiled_by_all(built: step.Step) -> Callable[..., Any]:
  """The step; of several processes none runs it before all have compiled."""
  if jax.process_count() == 1:
    return built.function
  compiled = built.compile()
  processes.wait_for_all('compiled', _COMPILE_SECONDS)
  return compiled


class _FiniteCheck:
  """Looks at losses and norms late, so that steps are queued meanwhile."""

  def __init__(self):
    self._pending: list[tuple[int, Any, Any]] = []

  def add(self, number: int, scalars: Mapping[str, Any]) -> None:
    self._pending.append((number, scalars['loss'], scalars['grad_norm']))
    if len(self._pending) > _QUEUED_STEPS:
      jax.block_until_ready(self._pending[-1 - _QUEUED_STEPS][1])

  def check(self) -> None:
    for number, loss, norm in self._pending:
      loss, norm = float(loss), float(norm)
      if not (np.isfinite(loss) and np.isfinite(norm)):
        raise NonFiniteError(
          f'step {number + 1}: loss {loss}, gradient norm {norm}; nothing '
          'after the step before is saved. Lower the learning rate, clip '
          'gradients, or look at the batch of this step'
        )
    self._pending.clear()


class _Log:
  """Turns a step's scalars into a line of metrics and of progress."""

  def __init__(
    self,
    objective: Any,
    tx: optim.Optimizer,
    model_dir: str,
    start: int,
    total: int,
    batch_size: int,
    peak_flops: float | None,
  ):
    self._writer = metrics.MetricsWriter(model_dir, start)
    name = model_dir.rstrip('/').rsplit('/', 1)[-1]
    self._progress = metrics.Progress(name, start, total)
    self._flops = objective.flops_per_step(batch_size, tx.is_trained)
    self._labels = tx.labels()
    self._batch_size = batch_size
    self._peak = peak_flops
    self._last = (start, time.monotonic())

  def start_clock(self, done: int, scalars: Mapping[str, Any]) -> None:
    """Begins to measure after the first step, which was compiled."""
    jax.block_until_ready(scalars['loss'])
    self._last = (done, time.monotonic())
    self._progress.start_clock(done)

  def timed(self, eval_fn: Callable[[Any], Any], state: Any) -> dict[str, Any]:
    """Evaluates; the time it takes is not counted as training."""
    begun = time.monotonic()
    scores = {f'eval/{k}': float(v) for k, v in eval_fn(state).items()}
    before, then = self._last
    self._last = (before, then + time.monotonic() - begun)
    return scores

  def write(
    self,
    done: int,
    scalars: Mapping[str, Any],
    rates: np.ndarray,
    scores: Mapping[str, float],
  ) -> None:
    values = {name: float(x) for name, x in scalars.items()} | dict(scores)
    before, then = self._last
    self._last = (done, time.monotonic())
    rate = None  # steps a second; the first step alone has none
    if done > before:
      rate = (done - before) / max(self._last[1] - then, 1e-9)
    values |= {
      **{
        f'lr/{name}': float(r)
        for name, r in zip(self._labels, rates, strict=True)
      },
    }
    if rate is not None:
      values |= {
        'examples_per_second': rate * self._batch_size,
        'model_flops_per_second': rate * self._flops,
      }
    if rate is not None and self._peak:
      values['mfu'] = rate * self._flops / jax.device_count() / self._peak
    self._writer.write(done, values)
    self._progress.show(done, values)

  def close(self) -> None:
    self._writer.close()


class _SigtermFlag:
  """Notes SIGTERM while a run is on; the old handler comes back after it."""

  def __init__(self):
    self._set = threading.Event()
    self._old: Any = None

  def __enter__(self) -> '_SigtermFlag':
    if threading.current_thread() is threading.main_thread():
      self._old = signal.signal(signal.SIGTERM, lambda *_: self._set.set())
    return self

  def __exit__(self, *_: Any) -> None:
    if self._old is not None:
      signal.signal(signal.SIGTERM, self._old)

  def agreed(self, done: int) -> bool:
    """Whether to stop now; several processes ask each other now and then."""
    if jax.process_count() == 1:
      return self._set.is_set()
    if done % PREEMPTION_PERIOD:
      return False
    from jax.experimental import multihost_utils

    flags = multihost_utils.process_allgather(np.array(self._set.is_set()))
    return bool(np.any(flags))
