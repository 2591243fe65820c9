"""What a run leaves beside its checkpoints, so that it can be read again.

MODEL_DIR/config.gin is the resolved configuration; MODEL_DIR/vocabulary.model
(or .json) is the SentencePiece file or tokenizer.json it was trained with. A
folder with both can be moved to another machine, where the path in the
configuration means nothing.
"""

import os

import gin

from vidlm.core import files, launch

CONFIG = 'config.gin'
VOCABULARY = 'vocabulary'


def write_run(model_dir: str) -> None:
  """Writes config.gin and, where VOCABULARY_PATH is a file, a copy of it."""
  from etils import epath

  folder = epath.Path(model_dir)
  files.make_folder(folder)
  files.write_text(folder / CONFIG, gin.config_str())
  vocabulary = _vocabulary_path()
  if vocabulary and epath.Path(vocabulary).is_file():
    copy = folder / _copy_name(vocabulary)
    files.write_bytes(copy, epath.Path(vocabulary).read_bytes())


def _copy_name(vocabulary: str) -> str:
  """Name of the copy: its ending tells the format."""
  return VOCABULARY + (os.path.splitext(vocabulary)[1] or '.model')


def _vocabulary_path() -> str | None:
  try:
    return launch.macro('VOCABULARY_PATH')
  except ValueError:
    return None


def run_config(checkpoint: str) -> str:
  """Path of the config.gin that belongs to a MODEL_DIR or a checkpoint in it.

  Raises:
    FileNotFoundError: If there is none beside or above it.
  """
  from etils import epath

  path = epath.Path(checkpoint)
  for folder in (path, path.parent, path.parent.parent):
    if (folder / CONFIG).exists():
      return os.fspath(folder / CONFIG)
  raise FileNotFoundError(
    f'{checkpoint}: no config.gin here or above; give the MODEL_DIR of a run'
  )


def parse_run(checkpoint: str) -> None:
  """Parses the config.gin of a run, with the vocabulary that lies beside it.

  Raises:
    FileNotFoundError: As `run_config`.
  """
  from etils import epath

  config = run_config(checkpoint)
  launch.parse_gin([config])
  original = _vocabulary_path()
  if not original:
    return
  vocabulary = epath.Path(config).parent / _copy_name(original)
  if vocabulary.exists():
    gin.bind_parameter('%VOCABULARY_PATH', os.fspath(vocabulary))
