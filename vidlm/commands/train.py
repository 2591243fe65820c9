"""`train` of both command lines: a stage, as its gin recipe says."""

import argparse

from vidlm.core import command_line

# The code after SIGTERM is `preemption.EXIT_CODE`.
_EXIT_STATUS = (
  'Exit status: 0 when all steps are done; 143 after SIGTERM, when a '
  'checkpoint is saved (one process of several is enough to stop all: at the '
  'next step that is a multiple of 10) and the same command goes on from it; '
  '2 after a mistake, with one line that says which.'
)


def add_flags(parser: argparse.ArgumentParser) -> None:
  """The recipe says everything: `train` has gin's flags alone."""
  del parser


def run(args: argparse.Namespace) -> int:
  """Trains; see `vidlm.train.run`."""
  command_line.parse_gin(args)
  from vidlm import train

  return train.run()


COMMAND = command_line.Command(
  'train',
  'train a stage, as its gin recipe says',
  add_flags,
  run,
  notes=_EXIT_STATUS,
)
