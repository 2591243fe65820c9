"""`train` of both command lines: a stage, as its gin recipe says."""

import argparse
import re

from vidlm.core import command_line, launch

# The codes are `preemption.EXIT_CODE` and `INTERRUPTED`.
_EXIT_STATUS = (
  'Exit status: 0 when all steps are done; 143 after SIGTERM and 130 after '
  'Ctrl-C, when a checkpoint is saved (one process of several is enough to '
  'stop all: at the next step that is a multiple of 10) and the same command '
  'goes on from it; a second Ctrl-C ends at once, with 130 too; 2 after a '
  'mistake, with one line that says which.'
)

# What --allow may say; `vidlm.train` reads it.
ALLOW = ('changed_config', 'unfinished_warmup', 'small_set')


def steps(text: str) -> tuple[int, ...]:
  """The numbers of '6,9-12'.

  Raises:
    argparse.ArgumentTypeError: For anything else.
  """
  found: list[int] = []
  for part in text.split(','):
    match = re.fullmatch(r'\s*(\d+)\s*(?:-\s*(\d+)\s*)?', part)
    first, last = (
      (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    )
    if first < 1 or last < first:
      raise argparse.ArgumentTypeError(
        f'{text!r}: need steps from 1 on, such as 6 or 6,9-12'
      )
    found += range(first, last + 1)
  return tuple(found)


def allowed(text: str) -> tuple[str, ...]:
  """The words of --allow.

  Raises:
    argparse.ArgumentTypeError: For a word that nobody knows.
  """
  words = tuple(word.strip() for word in text.split(','))
  for word in words:
    if word not in ALLOW:
      raise argparse.ArgumentTypeError(
        f'{word!r}: need one of {", ".join(ALLOW)}'
      )
  return words


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of `train`; all else is said by the recipe."""
  parser.add_argument(
    '--skip_steps',
    type=steps,
    default=(),
    metavar='STEPS',
    help='leave the batches of these steps out, such as 6 or 6,9-12: a way on '
    'after a loss that was no finite number',
  )
  parser.add_argument(
    '--allow',
    type=allowed,
    default=(),
    metavar='WHAT',
    help='changed_config: go on in a MODEL_DIR whose run had another '
    'configuration, data or vocabulary (what may always change: steps, '
    'periods, mesh, scores); unfinished_warmup: a run shorter than its '
    'warm-up; small_set: batches larger than the set; comma-separated',
  )


def run(args: argparse.Namespace) -> int:
  """Trains; see `vidlm.train.run`."""
  record = command_line.parse_gin(args)
  from vidlm import train

  train.check_bindings(record)
  # Whoever sets a warm-up means it, in a trial too.
  own = record.binds('warmup_steps', but=launch.is_ours)
  return train.run(args.skip_steps, args.allow, 0 if own else None)


COMMAND = command_line.Command(
  'train',
  'train a stage, as its gin recipe says',
  add_flags,
  run,
  notes=_EXIT_STATUS,
)
