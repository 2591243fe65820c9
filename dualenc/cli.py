"""`dualenc train|eval|plan|convert`; see `vidlm.cli` for the manners."""

import sys
from collections.abc import Sequence

from dualenc.commands import eval
from vidlm.commands import convert, plan, train
from vidlm.core import command_line, huge_pages

COMMANDS = (train.COMMAND, eval.COMMAND, plan.COMMAND, convert.COMMAND)


def main(argv: Sequence[str] | None = None) -> None:
  """Entry point of the `dualenc` command."""
  if argv is None:
    huge_pages.restart()
    argv = sys.argv[1:]
  sys.exit(
    command_line.run(
      'dualenc',
      'Train a video-text dual encoder on captions, and score it zero-shot.',
      COMMANDS,
      argv,
    )
  )


if __name__ == '__main__':
  main()
