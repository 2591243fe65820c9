"""A run's own account: lines of metrics, of progress, and of scores."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from jaxtyping import Float

from vidlm.training import metrics, optim
from vidlm.training import objective as objective_lib
from vidlm.training import recipe as recipe_lib


class TrainLog:
  """Turns a step's scalars into a line of metrics and of progress."""

  def __init__(
    self,
    recipe: recipe_lib.Recipe,
    tx: optim.Optimizer,
    model_dir: str,
    start: int,
  ):
    """Opens the files of a run.

    Args:
      recipe: What is trained.
      tx: Its optimizer.
      model_dir: Where metrics go.
      start: Step that the run goes on from.
    """
    how = recipe.loop
    if isinstance(recipe.objective, objective_lib.Told):
      logging.info('loss: %s', recipe.objective.loss_says)
    self._writer = metrics.MetricsWriter(model_dir, start)
    name = model_dir.rstrip('/').rsplit('/', 1)[-1]
    self._progress = metrics.Progress(name, start, how.train_steps)
    self._flops = recipe.objective.flops_per_step(how.batch_size, tx.is_trained)
    self._labels = tx.labels()
    self._batch_size = how.batch_size
    self._peak = how.peak_flops
    self._last = (start, time.monotonic())

  def start_clock(self, done: int, scalars: Mapping[str, Any]) -> None:
    """Begins to measure after the first step, which was compiled."""
    jax.block_until_ready(scalars['loss'])
    self._last = (done, time.monotonic())
    self._progress.start_clock(done)

  def scored(
    self, done: int, evaluate: Callable[[], Mapping[str, float]]
  ) -> dict[str, float]:
    """Evaluates; the time it takes is not counted as training.

    Args:
      done: Steps done.
      evaluate: Returns the scores by name.
    """
    begun = time.monotonic()
    scores = {name: float(value) for name, value in evaluate().items()}
    before, then = self._last
    self._last = (before, then + time.monotonic() - begun)
    said = ', '.join(f'{name} {value:.4g}' for name, value in scores.items())
    logging.info('step %d: %s', done, said)
    odd = [name for name, value in scores.items() if not math.isfinite(value)]
    if odd:
      logging.warning(
        'step %d: %s is no finite number; the best checkpoint is not chosen '
        'by it',
        done,
        ', '.join(odd),
      )
    return scores

  def write(
    self,
    done: int,
    scalars: Mapping[str, Any],
    rates: Float[np.ndarray, 'groups'],
    scores: Mapping[str, float],
  ) -> None:
    """Writes the line of a step.

    Args:
      done: Steps done.
      scalars: What the step returned.
      rates: Learning rates of the step.
      scores: What an evaluation after it gave; may be empty.
    """
    values = {name: float(x) for name, x in scalars.items()} | dict(scores)
    before, then = self._last
    self._last = (done, time.monotonic())
    values |= {
      f'lr/{name}': float(rate)
      for name, rate in zip(self._labels, rates, strict=True)
    }
    if done > before:  # the first step alone has no rate
      rate = (done - before) / max(self._last[1] - then, 1e-9)
      values |= {
        'examples_per_second': rate * self._batch_size,
        'model_flops_per_second': rate * self._flops,
      }
      if self._peak:
        values['mfu'] = rate * self._flops / jax.device_count() / self._peak
    self._writer.write(done, values)
    self._progress.show(done, values)

  def close(self) -> None:
    """Closes the files."""
    self._writer.close()
