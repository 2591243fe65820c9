"""How both command lines are put together: flags -> gin -> a function."""

import argparse
import dataclasses
import errno
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from vidlm.core import gin_record, launch, processes

# What a user's mistake shows as; anything else is ours, and has a traceback.
_MISTAKES = (
  ValueError,
  FileNotFoundError,
  FileExistsError,
  IsADirectoryError,
  NotADirectoryError,
  PermissionError,
  ImportError,
)
# Of the machine: nobody needs a traceback to see that a disk is full.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)


@dataclasses.dataclass(frozen=True)
class Command:
  """One subcommand.

  Attributes:
    name: As typed.
    help: One line.
    add_flags: Adds the command's own flags.
    run: Takes the parsed flags; may return an exit status.
    uses_jax: Whether to start jax.distributed and the compilation cache.
    notes: Further lines of its `--help`.
  """

  name: str
  help: str
  add_flags: Callable[[argparse.ArgumentParser], None]
  run: Callable[[argparse.Namespace], int | None]
  uses_jax: bool = True
  notes: str = ''


class _Version(argparse.Action):
  """`--version`: what it prints is made when it is asked for."""

  def __init__(self, option_strings: Sequence[str], dest: str, **options: Any):
    super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

  def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
    from vidlm.core import circumstances

    print(circumstances.describe())
    parser.exit()


def make_parser(
  program: str, description: str, commands: Sequence[Command]
) -> argparse.ArgumentParser:
  """The parser of a command line, `--gin.NAME=VALUE` aside."""
  parser = argparse.ArgumentParser(program, description=description)
  parser.add_argument(
    '--version',
    action=_Version,
    help='versions, backend and commit, for a report of a fault',
  )
  subparsers = parser.add_subparsers(dest='command', required=True)
  for command in commands:
    subparser = subparsers.add_parser(
      command.name,
      help=command.help,
      description=command.help,
      epilog=command.notes,
    )
    command.add_flags(subparser)
    launch.add_flags(subparser)
  return parser


def run(
  program: str,
  description: str,
  commands: Sequence[Command],
  argv: Sequence[str],
) -> int:
  """Parses argv and runs one command.

  Args:
    program: Its name.
    description: One line for `--help`.
    commands: What it can do.
    argv: What was typed behind the name.

  Returns:
    The exit status: the command's, 141 if the reader of its output left, or
    130 after Ctrl-C.

  Raises:
    SystemExit: With 2 after a mistake of the user's, told in one line.
  """
  parser = make_parser(program, description, commands)
  rest, bindings = launch.split_gin_flags(argv)
  args = parser.parse_args(rest)
  args.gin_bindings = [*args.gin_bindings, *bindings]
  args.program = program  # commands that both share start it anew
  command = next(c for c in commands if c.name == args.command)
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  launch.start_logging()
  try:
    if command.uses_jax:
      launch.use_compilation_cache()
      processes.start(args)
    status = command.run(args) or 0
    sys.stdout.flush()
    return status
  except BrokenPipeError:
    if not _reader_left():
      raise
    return 128 + signal.SIGPIPE
  except KeyboardInterrupt:
    if os.environ.get('VIDLM_TRACEBACK'):
      raise
    print('Ctrl-C: ended before it was done', file=sys.stderr)
    return 128 + signal.SIGINT
  except (*_MISTAKES, OSError) as error:
    told = isinstance(error, _MISTAKES) or error.errno in _NO_ROOM
    if not told or os.environ.get('VIDLM_TRACEBACK'):
      raise
    raise launch.fail(error) from None


def _reader_left() -> bool:
  """Whether nobody reads our output any more, as after `| head`."""
  if hasattr(select, 'poll'):
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
      return False
  else:
    try:
      os.write(sys.stdout.fileno(), b'\n')  # before a traceback at worst
    except BrokenPipeError:
      pass
    else:
      return False
  # Python flushes once more at its end.
  os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
  return True


def parse_gin(
  args: argparse.Namespace, required: bool = True
) -> gin_record.Record:
  """Parses the gin flags of a command, and returns what was read.

  Raises:
    ValueError: If a recipe is required and none was given.
  """
  if required and not args.gin_file:
    raise ValueError(
      f'{args.command}: give a recipe, as in '
      '--gin_file=configs/vidlm/recipes/adapt_visual.gin'
    )
  return launch.parse_gin(
    args.gin_file, args.gin_bindings, args.gin_search_paths
  )


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
  """The flags among `names` that were set, as keyword arguments."""
  values = {name: getattr(args, name) for name in names}
  return {name: value for name, value in values.items() if value is not None}


def check_positive(**values: Any) -> None:
  """Checks whole numbers that were given; None stands for a default.

  Raises:
    ValueError: If one is none or below 1; names it.
  """
  for name, value in values.items():
    if value is None:
      continue
    if not isinstance(value, int):  # gin hands over whatever it was given
      raise ValueError(f'{name}={value!r}: need a whole number')
    if value < 1:
      raise ValueError(f'{name}={value}: need at least 1')


def check_output(path: str | None) -> None:
  """Checks, before the work, that its result can be a file here.

  Raises:
    ValueError: If it is a folder.
  """
  if path and os.path.isdir(path):
    raise ValueError(f'output={path}: is a folder; name a file')
