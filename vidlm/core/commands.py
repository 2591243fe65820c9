"""How both command lines are put together: flags -> gin -> a function."""

import argparse
import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

from vidlm.core import launch


@dataclasses.dataclass(frozen=True)
class Command:
  """One subcommand.

  Attributes:
    name: As typed.
    help: One line.
    add_flags: Adds the command's own flags.
    run: Takes the parsed flags; may return an exit status.
    uses_jax: Whether to start jax.distributed and the compilation cache.
  """

  name: str
  help: str
  add_flags: Callable[[argparse.ArgumentParser], None]
  run: Callable[[argparse.Namespace], int | None]
  uses_jax: bool = True


def run(
  program: str,
  description: str,
  commands: Sequence[Command],
  argv: Sequence[str] | None,
) -> int:
  """Parses argv and runs one command.

  Returns:
    Its exit status: 0, or 2 after a mistake of the user's, with one line.
  """
  parser = argparse.ArgumentParser(program, description=description)
  subparsers = parser.add_subparsers(dest='command', required=True)
  for command in commands:
    subparser = subparsers.add_parser(
      command.name, help=command.help, description=command.help
    )
    command.add_flags(subparser)
    launch.add_flags(subparser)
  rest, bindings = launch.split_gin_flags(argv)
  args = parser.parse_args(rest)
  args.gin_bindings = [*args.gin_bindings, *bindings]
  command = next(c for c in commands if c.name == args.command)
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  launch.start_logging()
  try:
    if command.uses_jax:
      launch.use_compilation_cache()
      launch.start_processes(args)
    return command.run(args) or 0
  except (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    ImportError,
  ) as error:
    if os.environ.get('VIDLM_TRACEBACK'):
      raise
    raise launch.fail(error) from None


def parse_gin(args: argparse.Namespace, required: bool = True) -> None:
  """Parses the gin flags of a command.

  Raises:
    ValueError: If a recipe is required and none was given.
  """
  if required and not args.gin_file:
    raise ValueError(
      f'{args.command}: give a recipe, as in '
      '--gin_file=configs/vidlm/recipes/adapt_visual.gin'
    )
  launch.parse_gin(args.gin_file, args.gin_bindings, args.gin_search_paths)


def add_plan_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of `plan`, for both command lines."""
  parser.add_argument(
    '--topology',
    metavar='TOPOLOGY',
    help='compile for this pod, such as v5e:8x16',
  )
  parser.add_argument('--json', metavar='FILE', help='also write it here')


def given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
  """The flags among `names` that were set, as keyword arguments."""
  values = {name: getattr(args, name) for name in names}
  return {name: value for name, value in values.items() if value is not None}
