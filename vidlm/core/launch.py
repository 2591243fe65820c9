"""From a command line to a bound gin configuration, on one process or many.

The flags are t5x's (`t5x/main.py`): `--gin_file` and `--gin_bindings` may be
repeated, `--gin.NAME=VALUE` binds a macro or a parameter after the files, and
`--gin_search_paths` adds folders in which gin files and their includes are
looked up.
"""

import argparse
import contextlib
import copy
import logging as py_logging
import os
import pathlib
import re
import sys
import tokenize
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gin
from absl import flags, logging

from vidlm.core import gin_files, gin_flags, gin_record, messages

_PACKAGES = ('vidlm/', 'dualenc/')
_PACKAGED = pathlib.Path(__file__).resolve().parents[1] / 'configs'
_CHECKOUT = pathlib.Path(__file__).resolve().parents[2] / 'configs'


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Adds the gin and multi-process flags every command shares."""
  group = parser.add_argument_group('gin')
  group.add_argument(
    '--gin_file',
    action='append',
    default=[],
    metavar='FILE',
    help='a recipe; may be repeated, later files win',
  )
  group.add_argument(
    '--gin_bindings',
    action='append',
    default=[],
    metavar='BINDING',
    help='one binding, such as TRAIN_STEPS=10; may be repeated',
  )
  group.add_argument(
    '--gin_search_paths',
    default='',
    metavar='DIRS',
    help='comma-separated folders to look gin files up in',
  )
  group.add_argument(
    '--gin.NAME=VALUE',
    dest='_gin_help',
    action='store_true',
    help='binds NAME, strings quoted twice: --gin.MODEL_DIR=\'"runs/a"\'',
  )
  group = parser.add_argument_group('several processes')
  group.add_argument(
    '--multihost',
    action='store_true',
    help='jax.distributed with the values found on the pod',
  )
  group.add_argument('--coordinator_address', metavar='HOST:PORT')
  group.add_argument('--process_count', type=int, default=1)
  group.add_argument('--process_index', type=int, default=0)


def split_gin_flags(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Takes `--gin.NAME=VALUE` out of argv.

  Returns:
    The rest of argv, and the bindings as `NAME=VALUE`.

  Raises:
    SystemExit: For a `--gin.NAME` without a value.
  """
  rest, bindings = [], []
  for arg in argv:
    match = re.match(r'--gin\.([^=]+)(=.*)?$', arg, re.DOTALL)
    if not match or arg == '--gin.NAME=VALUE':
      rest.append(arg)
    elif match[2] is None:
      raise SystemExit(f'{arg}: needs a value, as in {arg}=VALUE')
    else:
      bindings.append(match[1] + match[2])
  return rest, bindings


def search_paths(extra: str = '') -> list[str]:
  """Folders for gin files: the user's, here, the checkout, the package."""
  paths = [path for path in extra.split(',') if path]
  paths.append('.')
  for root in _roots():
    # `include 'configs/...'` and a bare 'vidlm/...' both resolve.
    paths.extend([str(root.parent), str(root)])
  return paths


def _roots() -> list[pathlib.Path]:
  """The folders `configs` that come with the program."""
  return [root for root in (_CHECKOUT, _PACKAGED) if root.is_dir()]


def parse_gin(
  files: Sequence[str],
  bindings: Sequence[str] = (),
  paths: str = '',
) -> gin_record.Record:
  """Parses gin files, then bindings, and refuses macros nobody defines.

  A misspelt macro binds silently in gin itself (`--gin.BATCHSIZE=3`); here
  every macro bound on the command line has to be defined by a file.

  Args:
    files: Names of gin files, looked up in `search_paths`.
    bindings: `NAME=VALUE` strings.
    paths: Further comma-separated folders.

  Returns:
    What was read, for `unread.check`.

  Raises:
    ValueError: For a missing file, a binding gin refuses, a value of another
      kind than the recipe's, or a name that no file mentions; the message
      suggests the nearest name, or the file to add.
  """
  folders = search_paths(paths)
  for folder in folders:
    gin.add_config_file_search_path(folder)
  for file in files:
    if not any(os.path.exists(os.path.join(p, file)) for p in ['', *folders]):
      raise ValueError(
        f'--gin_file={file}: not found in {", ".join(dict.fromkeys(folders))}'
      )
  record = gin_record.Record()
  with gin_files.reading(', '.join(files), record):
    gin.parse_config_files_and_bindings(
      list(files), [], finalize_config=False, skip_unknown=False
    )
  known = _macro_names()
  for binding in bindings:
    name = binding.split('=', 1)[0].strip()
    is_macro = '.' not in name and '/' not in name
    if is_macro and files and name not in known:
      hint = gin_flags.hint_of_macro(name, known, _roots())
      raise ValueError(f'--gin.{name}: no gin file defines this macro{hint}')
  before = {name: gin.query_parameter(f'%{name}') for name in known}
  current = [gin_files.current_binding(binding) for binding in bindings]
  try:
    gin.parse_config(current)
    record.add_command_line(current)
  except (SyntaxError, tokenize.TokenError) as error:
    raise ValueError(
      f'--gin.{gin_flags.malformed(bindings)}: not a value; strings are quoted '
      'twice: --gin.MODEL_DIR=\'"runs/a"\''
    ) from error
  except ValueError as error:
    raise gin_flags.unnamed(error, _roots()) from error
  for name, value in before.items():
    gin_flags.check_kind(name, value, gin.query_parameter(f'%{name}'))
  return record


def is_ours(name: str) -> bool:
  """Whether a gin file is one of those that come with the program."""
  path = pathlib.Path(name).resolve()
  return any(path.is_relative_to(root) for root in (_CHECKOUT, _PACKAGED))


def parse_text(text: str, name: str) -> None:
  """Parses the text of a gin file of this version or an earlier one.

  Args:
    text: May include files of `configs/`.
    name: What messages call it.

  Raises:
    ValueError: For a text that gin refuses.
  """
  for folder in search_paths():
    gin.add_config_file_search_path(folder)
  with gin_files.reading(name):
    gin.parse_config(gin_files.NamedText(text, name))


def require_values() -> None:
  """Checks that no macro is left open.

  Raises:
    ValueError: If one is gin.REQUIRED still; names it.
  """
  names = [
    name
    for name in _macro_names()
    if repr(gin.query_parameter(f'%{name}')) == '%gin.REQUIRED'
  ]
  if names:
    raise ValueError(
      f'{", ".join(names)}: needs a value, as in '
      f'--gin.{names[0]}=\'"runs/a"\' (strings are quoted twice)'
    )


def _macro_names() -> list[str]:
  config = gin.config._CONFIG  # no public listing of macros exists
  return sorted(
    {scope for scope, selector in config if selector == 'gin.macro' and scope}
  )


def macro(name: str) -> Any:
  """Resolves macro NAME to the object it stands for.

  Raises:
    ValueError: If no configuration defines it.
  """
  try:
    # Copying a gin reference evaluates it.
    return copy.deepcopy(gin.query_parameter(f'%{name}'))
  except ValueError as error:
    raise ValueError(f'macro {name} is not defined by this config') from error


def bound(function: Callable[..., Any]) -> Callable[..., Any]:
  """The function with its gin bindings applied."""
  try:
    return gin.get_configurable(function)
  except ValueError:
    return gin.external_configurable(function)


@contextlib.contextmanager
def isolated_gin() -> Iterator[None]:
  """A clean gin configuration inside, cleared again outside."""
  gin.clear_config()
  try:
    with gin.unlock_config():
      yield
  finally:
    gin.clear_config()


def use_compilation_cache() -> None:
  """Keeps compiled programs on disk, so that a second start is quick."""
  import jax

  folder = os.environ.get(
    'JAX_COMPILATION_CACHE_DIR',
    os.path.join(os.path.expanduser('~'), '.cache', 'vidlm', 'jax'),
  )
  jax.config.update('jax_compilation_cache_dir', folder)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.5)


def start_logging() -> None:
  """Logs to standard error, one line a message."""
  if not flags.FLAGS.is_parsed():  # else absl warns that they are not
    flags.FLAGS.mark_as_parsed()
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  logging.set_stderrthreshold('info')
  handler = logging.get_absl_handler()
  handler.setFormatter(
    py_logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S')
  )
  handler.addFilter(_is_worth_reading)
  warnings.filterwarnings('ignore', module='tensorflow')


def _is_worth_reading(record: py_logging.LogRecord) -> bool:
  """Libraries report every file they touch, every name they will drop."""
  installed = record.pathname.rpartition('site-packages/')[2]
  ours = installed == record.pathname or installed.startswith(_PACKAGES)
  return ours or record.levelno > py_logging.WARNING


def fail(error: Exception) -> 'SystemExit':
  """One clear line on standard error, exit status 2."""
  start = 'error: '
  line = messages.one_line(error, messages.LIMIT - len(start))
  print(start + line, file=sys.stderr)
  return SystemExit(2)
