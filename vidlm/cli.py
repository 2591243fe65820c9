"""`vidlm prepare|instruct|train|caption|eval|plan|convert`.

Only argparse is imported here and by `commands`; every command imports what
it needs when it runs, so that `--help` answers at once.
"""

import io
import sys
from collections.abc import Sequence

from vidlm.commands import (
  caption,
  convert,
  eval,
  instruct,
  plan,
  prepare,
  train,
)
from vidlm.core import command_line, huge_pages

COMMANDS = (
  prepare.COMMAND,
  instruct.COMMAND,
  train.COMMAND,
  caption.COMMAND,
  eval.COMMAND,
  plan.COMMAND,
  convert.COMMAND,
)


def main(argv: Sequence[str] | None = None) -> None:
  """Entry point of the `vidlm` command."""
  # Names of files, and texts, that the terminal's encoding lacks.
  if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors='backslashreplace')
  if argv is None:
    huge_pages.restart()
    argv = sys.argv[1:]
  sys.exit(
    command_line.run(
      'vidlm',
      'Adapt an image vision-language model to video, and caption with it.',
      COMMANDS,
      argv,
    )
  )


if __name__ == '__main__':
  main()
