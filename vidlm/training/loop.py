"""The only training loop; both packages run it."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging

from vidlm.core import folder_lock, partitioning, prefetch, processes
from vidlm.training import (
  checkpoints,
  optim,
  preemption,
  scoring,
  step,
  train_log,
  train_state,
)
from vidlm.training import recipe as recipe_lib

Feed = Callable[[int], Iterator[dict[str, np.ndarray]]]

# How much longer one process may compile than another.
_COMPILE_SECONDS = 3600.0
# Steps that may wait on the devices; each holds its batch there.
_QUEUED_STEPS = 2


class NonFiniteError(ValueError):
  """The loss or its gradient is NaN or infinite."""


def train_loop(
  recipe: recipe_lib.Recipe,
  feed: Feed,
  model_dir: str,
  *,
  initial_params: Mapping[str, Any] | None = None,
  evaluation: scoring.Evaluation = scoring.Evaluation({}),
  on_claim: Callable[[Sequence[int]], None] = lambda steps: None,
  on_start: Callable[[int], None] = lambda step: None,
) -> train_state.TrainState:
  """Trains to the last step, going on from MODEL_DIR's newest checkpoint.

  Args:
    recipe: What trains, on which devices, and how the loop runs.
    feed: start_step -> host-local batches.
    model_dir: Where checkpoints and metrics go.
    initial_params: Nested arrays to start from, if MODEL_DIR has nothing.
    evaluation: What is scored every `eval_period` steps.
    on_claim: Called by the first process with the finished steps in MODEL_DIR,
      before anything is written there; raises ValueError for another's.
    on_start: Called with the step it goes on from, if there is any to train.

  Returns:
    The final state.

  Raises:
    NonFiniteError: At the first loss or gradient that isn't finite.
    preemption.Preempted: After SIGTERM or Ctrl-C, when the checkpoint is saved.
    ValueError: For a SCHEDULE or parameters that don't fit the model, a best
      score that nobody computes, or a MODEL_DIR where another run is at work.
  """
  how = recipe.loop
  best = None
  if how.keep_best is not None:
    best = scoring.find_name(how.keep_best, evaluation.names())
  tx = recipe.make_optimizer()
  partitioner = recipe.mesh.partitioner()
  built = step.build_train_step(
    recipe.objective,
    tx,
    partitioner,
    how.batch_size,
    how.frozen_dtype,
    how.num_microbatches,
  )
  with _claimed(model_dir, on_claim):
    saver = checkpoints.Checkpoints(model_dir, how.keep, best)
    try:
      state = saver.restore_latest(built.state)
      if state is None:
        state = _start(recipe, tx, partitioner, initial_params)
      first = int(state.step)
      if first >= how.train_steps:
        logging.info(
          '%s: at step %d already, of %d asked for; nothing to do',
          model_dir,
          first,
          how.train_steps,
        )
        return state
      on_start(first)
      with (
        contextlib.closing(
          train_log.TrainLog(recipe, tx, model_dir, first)
        ) as log,
        preemption.StopFlag() as stop,
        partitioner.activate(),
      ):
        run = _Run(
          model_dir, how, built, tx, partitioner, saver, log, stop, evaluation
        )
        return run(state, feed(first))
    finally:
      saver.close()


@contextlib.contextmanager
def _claimed(
  model_dir: str, on_claim: Callable[[Sequence[int]], None]
) -> Iterator[None]:
  """Holds MODEL_DIR for this run alone, of however many processes."""
  with contextlib.ExitStack() as stack:

    def claim() -> bytes:
      if processes.is_first():
        try:
          stack.enter_context(folder_lock.held(model_dir, 'MODEL_DIR'))
          on_claim(checkpoints.finished(model_dir))
        except OSError as error:  # the other processes must hear of it
          raise ValueError(f'MODEL_DIR={model_dir}: {error}') from error
      return b''

    processes.gather(claim, 'claimed', _COMPILE_SECONDS)
    yield


def _start(
  recipe: recipe_lib.Recipe,
  tx: optim.Optimizer,
  partitioner: partitioning.Partitioner,
  initial_params: Mapping[str, Any] | None,
) -> train_state.TrainState:
  loaded: Mapping[str, Any] = {}
  if initial_params is not None:
    loaded, dropped, fresh = checkpoints.fit_params(
      initial_params, recipe.shapes()
    )
    logging.info(
      '%d parameters loaded; dropped: %s; fresh: %s',
      len(loaded),
      ', '.join(dropped) or 'none',
      ', '.join(fresh) or 'none',
    )
  how = recipe.loop
  return step.initial_state(
    recipe.objective, tx, partitioner, how.frozen_dtype, how.seed, loaded
  )


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
  """The steps of a run, from a state on."""

  model_dir: str
  how: recipe_lib.Loop
  built: step.Step
  tx: optim.Optimizer
  partitioner: partitioning.Partitioner
  saver: checkpoints.Checkpoints
  log: train_log.TrainLog
  stop: preemption.StopFlag
  evaluation: scoring.Evaluation

  def __call__(
    self,
    state: train_state.TrainState,
    feed: Iterator[dict[str, np.ndarray]],
  ) -> train_state.TrainState:
    """Trains to the last step; see `train_loop`."""
    how, first = self.how, int(state.step)
    key = step.make_key(how.seed, self.partitioner)
    function = _compiled_by_all(self.built)
    finite = _FiniteCheck(self.model_dir, self.saver.steps)
    clock = False
    batches = prefetch.prefetch(feed, self.partitioner.shard_batch)
    with contextlib.closing(batches):
      for number in range(first, how.train_steps):
        batch = next(batches, None)
        if batch is None:
          raise ValueError(
            f'feed: no batch for step {number + 1} of {how.train_steps}; a '
            'feed has no end, epochs are its own affair'
          )
        rates = self.tx.learning_rates(number)
        if number + 1 in how.skip_steps:
          logging.warning('step %d: its batch is left out', number + 1)
          state, scalars = state.replace(step=state.step + 1), None
        else:
          state, scalars = function(state, batch, rates, key)
          finite.add(number, scalars)
          if not clock:
            self.log.start_clock(number + 1, scalars)
            clock = True
        self._after(number + 1, state, scalars, rates, finite)
    return state

  def _after(
    self,
    done: int,
    state: train_state.TrainState,
    scalars: Mapping[str, Any] | None,
    rates: np.ndarray,
    finite: '_FiniteCheck',
  ) -> None:
    """Scores, logs and saves, as it is time for."""
    how = self.how
    last = done == how.train_steps
    scores = {}
    if how.eval_period and (done % how.eval_period == 0 or last):
      finite.check()
      scores = self.log.scored(
        done, lambda: self.evaluation(state.params, self.partitioner)
      )
    # A batch that was left out has no loss.
    if scalars and (done % how.log_period == 0 or last or scores):
      finite.check()
      self.log.write(done, scalars, rates, scores)
    stopped = self.stop.agreed(done)
    due = done % how.checkpoint_period == 0 or last or stopped
    if due or self.saver.is_best(scores):
      # Before the next batch is taken; and never a state that isn't finite.
      finite.check()
      self.saver.save(done, state, scores)
    if stopped and not last:
      self.saver.wait()
      name = f'{self.model_dir.rstrip("/")}/checkpoint_{done}'
      raise preemption.Preempted(stopped, name)


def _compiled_by_all(built: step.Step) -> Callable[..., Any]:
  """The step; of several processes none runs it before all have compiled."""
  if jax.process_count() == 1:
    return built.function
  compiled = built.compile()
  processes.wait_for_all('compiled', _COMPILE_SECONDS)
  return compiled


class _FiniteCheck:
  """Looks at losses and norms late, so that steps are queued meanwhile."""

  def __init__(self, model_dir: str, saved: Callable[[], list[int]]):
    self._model_dir = model_dir
    self._saved = saved
    self._pending: list[tuple[int, Any, Any]] = []

  def add(self, number: int, scalars: Mapping[str, Any]) -> None:
    self._pending.append((number, scalars['loss'], scalars['grad_norm']))
    if len(self._pending) > _QUEUED_STEPS:
      jax.block_until_ready(self._pending[-1 - _QUEUED_STEPS][1])

  def check(self) -> None:
    for number, loss, norm in self._pending:
      loss, norm = float(loss), float(norm)
      if not (np.isfinite(loss) and np.isfinite(norm)):
        raise NonFiniteError(self._message(number + 1, loss, norm))
    self._pending.clear()

  def _message(self, step: int, loss: float, norm: float) -> str:
    steps = self._saved()
    last = f'{self._model_dir.rstrip("/")}/checkpoint_{max(steps, default=0)}'
    return (
      f'step {step}: loss {loss}, gradient norm {norm}; nothing after the step '
      'before is saved. The same command goes on from '
      f'{last if steps else "step 0"} and comes to the same batch: add '
      f'--skip_steps={step} to leave that batch out; or lower the learning '
      'rate or set GRAD_CLIP_NORM, with --allow=changed_config. To go back '
      'further, move the newest checkpoint_N away'
    )
