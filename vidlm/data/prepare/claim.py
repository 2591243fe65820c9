"""Whose a folder is: prepared as asked, half of it, or something else."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

from vidlm.core import files
from vidlm.data.prepare import cut_short, shard_plan, summary
from vidlm.data.video import inventory


def claim(
  folder: pathlib.Path, plan: shard_plan.Plan, overwrite: bool
) -> summary.Summary | None:
  """Makes sure the folder is ours.

  Args:
    folder: Folder of the set; nobody else may be working in it.
    plan: What is to be done.
    overwrite: Discard what the folder holds of another preparation.

  Returns:
    The counts if all is done already, else None.

  Raises:
    FileExistsError: If it holds something else.
  """
  config_file = folder / 'prepare.json'
  if config_file.exists():
    before = json.loads(config_file.read_text(encoding='utf-8'))
    if before == plan.config:
      return summary.read(folder)
    if not overwrite:
      raise FileExistsError(
        f'{folder}: was prepared otherwise: {_differences(before, plan)}; '
        'choose another --output, or --overwrite'
      )
  elif (folder / 'dataset_info.json').exists() and not overwrite:
    raise FileExistsError(
      f'{folder}: holds a dataset already; choose another --output, or '
      '--overwrite'
    )
  if overwrite:
    _clear(folder)
  files.write_json(config_file, plan.config, indent=1, ensure_ascii=False)
  return None


def _differences(before: Mapping[str, Any], plan: shard_plan.Plan) -> str:
  now = plan.config
  parts = []
  for key in sorted({*before, *now}):
    old, new = before.get(key), now.get(key)
    if old != new:
      digest = key in ('clips', 'video_files')
      what = key.replace('_', ' ') + ' changed'
      parts.append(what if digest else f'{key} was {old}, is {new}')
  return ', '.join(parts)


def _clear(folder: pathlib.Path) -> None:
  """Removes what an earlier preparation left, and nothing else."""
  # First what makes it a dataset: half of one must not look like one.
  for name in (
    'dataset_info.json',
    'features.json',
    'summary.json',
    'errors.jsonl',
    'prepare.json',
    'renamed.jsonl',
    'overlap.jsonl',
    inventory.FILE,
    cut_short.FILE,
  ):
    (folder / name).unlink(missing_ok=True)
  for pattern in (
    '*.array_record-?????-of-?????',
    'index-*.parquet',
    'annotated-*.parquet',
  ):
    for path in folder.glob(pattern):
      path.unlink()
  shutil.rmtree(folder / '.staging', ignore_errors=True)
