"""What a run is refused for at once: numbers that don't go together."""

from collections.abc import Sequence

from absl import logging

from vidlm.training import checkpoints, schedules


def check_warmup(
  schedule: Sequence[tuple[str, schedules.Schedule | None]],
  train_steps: int,
  trial_steps: int,
  allow: Sequence[str],
) -> None:
  """Refuses a run that ends before its learning rate is up.

  Args:
    schedule: SCHEDULE.
    train_steps: How long the run is.
    trial_steps: Up to here it is a trial, and is warned alone.
    allow: Words of --allow.

  Raises:
    ValueError: If it does.
  """
  for pattern, rate in schedule:
    steps = schedules.warmup_of(rate) if rate is not None else 0
    if steps <= train_steps:
      continue
    message = (
      f'TRAIN_STEPS={train_steps}: the warm-up of {pattern!r} takes '
      f'{steps} steps, so the learning rate would never be what it is set to; '
      'train longer, or lower warmup_steps'
    )
    if train_steps > trial_steps and 'unfinished_warmup' not in allow:
      raise ValueError(f'{message}, or --allow=unfinished_warmup')
    logging.warning('%s', message)


def check_set(
  batch_size: int, examples: int, model_dir: str, allow: Sequence[str]
) -> None:
  """Refuses to begin with batches that hold an example twice for sure.

  Args:
    batch_size: Of a global batch.
    examples: How many there are.
    model_dir: Where the run may have begun.
    allow: Words of --allow.

  Raises:
    ValueError: If they would, and the run is a new one.
  """
  if batch_size <= examples:
    return
  message = (
    f'BATCH_SIZE={batch_size}: there are {examples} examples, so that a batch '
    'holds some of them more than once'
  )
  # What began before this was asked may go on.
  if 'small_set' in allow or checkpoints.finished(model_dir):
    logging.warning('%s', message)
    return
  raise ValueError(
    f'{message}; lower BATCH_SIZE, add examples, or --allow=small_set'
  )
