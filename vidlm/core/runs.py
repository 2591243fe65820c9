"""What a run leaves beside its checkpoints, so that it can be read again.

MODEL_DIR/model.gin says what its model is and how it reads text and frames:
all that is asked of a run but to go on. MODEL_DIR/config.gin is the resolved
configuration, for people and for going on. MODEL_DIR/vocabulary.model (or
.json) is the SentencePiece file or tokenizer.json it was trained with. A folder
with them can be moved to another machine, where the paths in the configuration
mean nothing. Runs of earlier versions have no model.gin: what it would say is
taken out of their config.gin.
"""

import os
import re
import tokenize
from collections.abc import Mapping, Sequence

import gin
from absl import logging

from vidlm.core import files, gin_text, launch, old_gin, run_files

CONFIG = run_files.CONFIG
MODEL = run_files.MODEL
VOCABULARY = run_files.VOCABULARY
# Before the data of a run, in its config.gin.
DATA = '# Trained on '
# {kind of task: prompts of training}; only model.gin has it.
_PROMPTS = 'PROMPTS'
Prompts = Mapping[str, Sequence[str]]


def write_run(
  model_dir: str,
  prompts: Prompts | None = None,
  step: int = 0,
  data: Sequence[str] = (),
) -> None:
  """Writes config.gin, model.gin and, where it is a file, the vocabulary.

  What the run was before stays beside them, see `run_files`.

  Args:
    model_dir: The run's folder.
    prompts: What it is trained with, by kind of task.
    step: Where it begins or goes on.
    data: A line a set that it trains on.
  """
  from etils import epath

  folder = epath.Path(model_dir)
  files.make_folder(folder)
  vocabulary = run_files.keep_vocabulary(folder, step, vocabulary_path())
  run_files.keep_model(folder, step, model_text(vocabulary, prompts))
  lines = ''.join(f'{DATA}{line}\n' for line in data)
  run_files.keep_config(folder, step, lines + gin.config_str())


def model_text(
  vocabulary: str | None = None, prompts: Prompts | None = None
) -> str:
  """The text of model.gin for the gin configuration that is parsed.

  Args:
    vocabulary: The value of VOCABULARY_PATH: the name of a file beside; by
      default the path as it is.
    prompts: See `write_run`.
  """
  whole = gin_text.parse(gin.config_str())
  needed = gin_text.part(whole, run_files.MACROS)
  if prompts:
    plain = {kind: list(own) for kind, own in prompts.items()}
    own = gin_text.Binding('', _PROMPTS, '', plain)
    needed = gin_text.Text(needed.imports, [*needed.statements, own])
  return run_files.as_model(needed, vocabulary)


def prompts() -> dict[str, list[str]]:
  """The prompts that the parsed model.gin says its run was trained with."""
  try:
    return {kind: list(own) for kind, own in launch.macro(_PROMPTS).items()}
  except ValueError:  # an earlier version's, or no run's
    return {}


def prompts_of(checkpoint: str) -> dict[str, list[str]]:
  """The prompts of the run behind a path; none where it is no run's.

  Nothing is imported or bound.
  """
  from etils import epath

  try:
    path = epath.Path(find(checkpoint))
    statements = gin_text.parse(path.read_text()).statements
  except (OSError, ValueError, SyntaxError, tokenize.TokenError):
    return {}
  for found in statements:
    if isinstance(found, gin_text.Binding) and found.path == _PROMPTS:
      return {kind: list(own) for kind, own in found.value.items()}
  return {}


def made_of(text: str, vocabulary: str | None = None) -> str:
  """The text of model.gin for another gin text; clears gin's configuration.

  Args:
    text: A model, as a recipe has it.
    vocabulary: See `model_text`.
  """
  with launch.isolated_gin():
    launch.parse_text(text, CONFIG)
    return model_text(vocabulary)


def read_model(checkpoint: str) -> str:
  """The model.gin of a checkpoint; made of config.gin if there is none.

  Clears gin's configuration.

  Args:
    checkpoint: A MODEL_DIR, for its newest, or a checkpoint in one.

  Raises:
    FileNotFoundError: If there is neither.
    ValueError: As `parse_run`.
  """
  from etils import epath

  path = epath.Path(find(checkpoint))
  if path.name != CONFIG:
    return path.read_text()
  with launch.isolated_gin():
    parse_run(checkpoint)
    vocabulary = epath.Path(vocabulary_path() or '')
    beside = vocabulary.parent == path.parent
    return model_text(vocabulary.name if beside else None)


def vocabulary_path() -> str | None:
  """VOCABULARY_PATH of the configuration that is parsed."""
  try:
    return launch.macro(run_files.PATH)
  except ValueError:
    return None


def find(checkpoint: str) -> str:
  """The model.gin of a MODEL_DIR or a checkpoint in it, or else its config.gin.

  Raises:
    FileNotFoundError: If there is neither beside or above it.
  """
  from etils import epath

  path = epath.Path(checkpoint)
  steps = [
    re.fullmatch(r'checkpoint_(\d+)', p.name) for p in (path, path.parent)
  ]
  step = next((int(match[1]) for match in steps if match), None)
  for folder in (path, path.parent, path.parent.parent):
    for file in (run_files.model_path(folder, step), folder / CONFIG):
      if file.exists():
        return os.fspath(file)
  raise FileNotFoundError(
    f'{checkpoint}: no {MODEL} or {CONFIG} here or above; give the MODEL_DIR '
    'of a run'
  )


def parse_run(checkpoint: str) -> None:
  """Parses what a run says of its model, with the vocabulary beside it.

  Nothing else of the run is read, so that what trained it may be gone.

  Args:
    checkpoint: A MODEL_DIR, or a checkpoint in one.

  Raises:
    FileNotFoundError: As `find`.
    ValueError: If it can't be read; a later version's can't.
  """
  from etils import epath

  path = epath.Path(find(checkpoint))
  text = path.read_text()
  if path.name != CONFIG:
    _check_version(text, path)
  else:
    text = _of_config(text, path)
  launch.parse_text(text, os.fspath(path))
  original = vocabulary_path()
  if not original:
    return
  vocabulary = path.parent / run_files.vocabulary_name(path.parent, original)
  if vocabulary.exists():
    gin.bind_parameter(f'%{run_files.PATH}', os.fspath(vocabulary))


def _check_version(text: str, path: os.PathLike[str]) -> None:
  found = re.search(rf'^{run_files.VERSION} = (\d+)$', text, re.MULTILINE)
  if found is None:
    raise ValueError(
      f'{path}: no {run_files.VERSION}; the file is damaged, delete it to read '
      f'the run by its {CONFIG}'
    )
  if int(found[1]) > run_files.FORMAT_VERSION:
    raise ValueError(
      f'{path}: format version {found[1]}, this version of vidlm reads up to '
      f'{run_files.FORMAT_VERSION}; install a newer one'
    )


def _of_config(text: str, path: os.PathLike[str]) -> str:
  """What an earlier version's config.gin says of the model."""
  try:
    whole = gin_text.parse(old_gin.current(text))
  except (SyntaxError, tokenize.TokenError):  # gin says where
    return text
  if any(isinstance(x, gin_text.Include) for x in whole.statements):
    # `convert` of an earlier version wrote it: a model, and nothing else.
    return text
  needed = gin_text.part(whole, run_files.MACROS)
  kept = set(map(id, needed.statements))
  rest = [x for x in whole.statements if id(x) not in kept]
  unknown = old_gin.unknown_arguments(gin_text.Text(whole.imports, rest))
  if unknown:
    logging.warning(
      '%s: %s: no longer arguments of what trains; not needed to read the run',
      path,
      ', '.join(unknown),
    )
  return str(old_gin.without_gone(needed))
