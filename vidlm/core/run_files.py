"""The files of a run beside its checkpoints, and those it had before.

MODEL_DIR/config.gin is what trained last. Each configuration that trained stays
as config_<step>.gin, with the step where it began. Where a later one has
another model or vocabulary, model_until_<step>.gin says what the checkpoints up
to that step are, and the vocabulary they need is never written over.
"""

import os
import re
import tokenize
from typing import Any

from vidlm.core import files, gin_text, old_gin

CONFIG = 'config.gin'
MODEL = 'model.gin'
VOCABULARY = 'vocabulary'
# Of model.gin; a later version that this one can't read has another.
FORMAT_VERSION = 1
# What model.gin is about: with all that these macros reach it is whole.
MACROS = (
  'MODEL',
  'VOCABULARY',
  'NUM_FRAMES',
  'IMAGE_SIZE',
  'TASK_FEATURE_LENGTHS',
  'PROMPTS',
)
PATH = 'VOCABULARY_PATH'
VERSION = 'FORMAT_VERSION'


def models(folder: Any) -> list[tuple[int, Any]]:
  """(step, file) of each model_until_<step>.gin, in order."""
  found = [
    (int(match[1]), path)
    for path in (folder.iterdir() if folder.is_dir() else ())
    if (match := re.fullmatch(r'model_until_(\d+)\.gin', path.name))
  ]
  return sorted(found, key=lambda one: one[0])


def model_at(folder: Any, step: int | None) -> str | None:
  """The text of the model.gin that a checkpoint was trained with.

  Args:
    folder: MODEL_DIR.
    step: The checkpoint's; None for the newest.
  """
  path = model_path(folder, step)
  return path.read_text() if path.exists() else None


def model_path(folder: Any, step: int | None) -> Any:
  """The file of `model_at`, which need not be there."""
  if step is not None:
    for until, path in models(folder):
      if step <= until:
        return path
  return folder / MODEL


def model_of_config(folder: Any) -> str | None:
  """What model.gin would say, of a config.gin, by its text alone.

  None if it can't be read so.
  """
  try:
    whole = gin_text.parse(old_gin.current((folder / CONFIG).read_text()))
  except (SyntaxError, tokenize.TokenError):
    return None
  path = _vocabulary_of(whole)
  name = copy_name(path) if path else ''
  has = bool(name) and (folder / name).is_file()
  return as_model(gin_text.part(whole, MACROS), name if has else None)


def _vocabulary_of(text: gin_text.Text) -> str | None:
  for x in text.statements:
    if isinstance(x, gin_text.Binding) and x.path == PATH:
      return x.value if isinstance(x.value, str) else None
  return None


def own_vocabulary(folder: Any) -> Any:
  """The vocabulary that the newest checkpoint was trained with, or None."""
  text = model_at(folder, None)
  if text is None and (folder / CONFIG).exists():
    text = model_of_config(folder)
  try:
    path = _vocabulary_of(gin_text.parse(text or ''))
  except (SyntaxError, tokenize.TokenError):
    return None
  copy = folder / vocabulary_name(folder, path) if path else None
  return copy if copy is not None and copy.is_file() else None


def copy_name(vocabulary: str) -> str:
  """Name of the copy: its ending tells the format."""
  return VOCABULARY + (os.path.splitext(vocabulary)[1] or '.model')


def vocabulary_name(folder: Any, path: str) -> str:
  """Name of the vocabulary beside a run's checkpoints.

  Args:
    folder: MODEL_DIR.
    path: VOCABULARY_PATH, as a run's file or a recipe has it.
  """
  # A run that changed it has several; its model.gin names the one it means.
  if os.path.basename(path) == path and (folder / path).is_file():
    return path
  return copy_name(path)


def as_model(needed: gin_text.Text, vocabulary: str | None) -> str:
  """The text of model.gin, with another VOCABULARY_PATH if there is one."""
  statements = [
    gin_text.Binding('', PATH, '', vocabulary)
    if vocabulary and isinstance(x, gin_text.Binding) and x.path == PATH
    else x
    for x in needed.statements
  ]
  version = gin_text.Binding('', VERSION, '', FORMAT_VERSION)
  return (
    '# What `--checkpoint` reads: a model, and how it takes text and frames.\n'
    f'{gin_text.Text(needed.imports, [version, *statements])}'
  )


def keep_vocabulary(folder: Any, step: int, path: str | None) -> str | None:
  """Copies the vocabulary under a name that is free, or has it already.

  Args:
    folder: MODEL_DIR.
    step: Where the run begins or goes on.
    path: VOCABULARY_PATH.

  Returns:
    The copy's name; the path, if that is no file.
  """
  from etils import epath

  if not path or not epath.Path(path).is_file():
    return path
  data = epath.Path(path).read_bytes()
  name = copy_name(path)
  stem, dot, ending = name.partition('.')
  # Nobody needs what lies where no checkpoint does.
  free = not any('checkpoint_' in p.name for p in folder.iterdir())
  for candidate in (name, f'{stem}_{step}{dot}{ending}'):
    if free or not (folder / candidate).exists():
      files.write_bytes(folder / candidate, data)
      return candidate
    if (folder / candidate).read_bytes() == data:
      return candidate
  copy = _free(folder, f'{stem}_{step}', f'{dot}{ending}')
  files.write_bytes(copy, data)
  return copy.name


def keep_model(folder: Any, step: int, text: str) -> None:
  """Writes model.gin; another one stays for the checkpoints up to here."""
  path = folder / MODEL
  before = model_at(folder, step)
  if before is None and (folder / CONFIG).exists() and step:
    # Of an earlier version, whose config.gin said it.
    before = model_of_config(folder)
  if before is not None and step and _is_other(before, text):
    files.write_text(folder / f'model_until_{step}.gin', before)
  for until, later in models(folder):
    if until > step:  # of checkpoints that are gone
      later.unlink()
  files.write_text(path, text)


def _is_other(before: str, text: str) -> bool:
  """Whether two model.gin differ in more than prompts that one lacks."""
  try:
    whole = [gin_text.parse(x).statements for x in (before, text)]
  except (SyntaxError, tokenize.TokenError):
    return True
  bound = [{str(x).split(' = ')[0]: str(x) for x in own} for own in whole]
  if not all('PROMPTS' in own for own in bound):
    for own in bound:
      own.pop('PROMPTS', None)
  return bound[0] != bound[1]


def keep_config(folder: Any, step: int, text: str) -> None:
  """Writes config.gin, and keeps each that trained.

  Args:
    folder: MODEL_DIR.
    step: Where this one begins.
    text: What it says.
  """
  path = folder / CONFIG
  kept = _kept(folder)
  if path.exists() and not kept:  # by an earlier version: it began at 0
    files.write_text(folder / 'config_0.gin', path.read_text())
    kept = _kept(folder)
  same = path.exists() and path.read_text() == text
  if not (same and any(one.read_text() == text for one in kept)):
    files.write_text(_free(folder, f'config_{step}'), text)
  files.write_text(path, text)


def _kept(folder: Any) -> list[Any]:
  pattern = re.compile(r'config_\d+(\.\d+)?\.gin')
  return [p for p in folder.iterdir() if pattern.fullmatch(p.name)]


def _free(folder: Any, stem: str, ending: str = '.gin') -> Any:
  path, count = folder / f'{stem}{ending}', 1
  while path.exists():
    count += 1
    path = folder / f'{stem}.{count}{ending}'
  return path
