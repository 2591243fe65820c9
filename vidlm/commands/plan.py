"""`plan` of both command lines: the recipe that was parsed, and its cost."""

import argparse
import os
from typing import Any

from vidlm.core import command_line, launch


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of `plan`."""
  parser.add_argument(
    '--topology',
    metavar='TOPOLOGY',
    help='compile for this pod or these GPUs, such as v5e:8x16 or h200:1',
  )
  parser.add_argument('--json', metavar='FILE', help='also write it here')


def run(args: argparse.Namespace) -> None:
  """Parses the recipe and reports what it needs."""
  # Counting needs no accelerator, and must not take one from a running job.
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  record = command_line.parse_gin(args)
  command_line.check_output(args.json)
  from vidlm import train

  train.check_bindings(record, whole=False)
  from vidlm.training import plan

  plan.run(args.program, args, recipe())


def recipe() -> Any:
  """The `training.recipe.Recipe` that the parsed gin files describe.

  Raises:
    ValueError: If a macro is missing.
  """
  from vidlm.training import recipe as recipe_lib

  return recipe_lib.Recipe(
    objective=launch.macro('MODEL'),
    schedule=launch.macro('SCHEDULE'),
    optimizer=launch.macro('OPTIMIZER'),
    loop=recipe_lib.Loop(
      train_steps=launch.macro('TRAIN_STEPS'),
      batch_size=launch.macro('BATCH_SIZE'),
      frozen_dtype=launch.macro('FROZEN_DTYPE'),
      grad_clip_norm=launch.macro('GRAD_CLIP_NORM'),
      peak_flops=launch.macro('PEAK_FLOPS'),
      num_microbatches=_num_microbatches(),
    ),
    mesh=launch.macro('MESH'),
  )


def _num_microbatches() -> int | None:
  try:
    return launch.macro('NUM_MICROBATCHES')
  except ValueError:  # the config.gin of a run from before there were any
    return None


COMMAND = command_line.Command(
  'plan',
  'parameters, FLOPs, bytes and hours of a recipe',
  add_flags,
  run,
  uses_jax=False,
)
