"""`plan` of both command lines: the recipe that was parsed, and its cost."""

import argparse
from typing import Any

from vidlm.core import commands, launch, plan


def recipe() -> plan.Recipe:
  """The recipe that the parsed gin files describe.

  Raises:
    ValueError: If a macro is missing.
  """
  return plan.Recipe(
    objective=launch.macro('MODEL'),
    schedule=launch.macro('SCHEDULE'),
    optimizer=launch.macro('OPTIMIZER'),
    batch_size=launch.macro('BATCH_SIZE'),
    train_steps=launch.macro('TRAIN_STEPS'),
    mesh=launch.macro('MESH'),
    frozen_dtype=launch.macro('FROZEN_DTYPE'),
    peak_flops=launch.macro('PEAK_FLOPS'),
    grad_clip_norm=launch.macro('GRAD_CLIP_NORM'),
  )


def run(program: str, args: argparse.Namespace) -> dict[str, Any]:
  """Parses the recipe and reports what it needs."""
  commands.parse_gin(args)
  commands.check_output(args.json)
  return plan.run(program, args, recipe())
