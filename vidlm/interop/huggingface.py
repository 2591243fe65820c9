"""Folders in the Hugging Face layout: config.json and safetensors.

A VLM or a dual encoder of ours is such a folder too. What transformers has a
class for lies in a folder that class loads; what it has none for (projection,
temporal embedding) lies beside it in vidlm.safetensors, under our own names.
"""

import json
from collections.abc import Mapping
from typing import Any

from etils import epath

from vidlm.core import files
from vidlm.interop import (
  clip_names,
  described,
  mapping,
  openai_names,
  registry,
  safetensors_format,
)
from vidlm.interop.leaves import Leaf

CONFIG = 'config.json'
EXTRA = 'vidlm.safetensors'
_WEIGHTS = 'model.safetensors'
_INDEX = 'model.safetensors.index.json'
# A tensor larger than a shard gets one to itself.
SHARD_BYTES = 5 * 10**9


def is_folder(folder: epath.Path) -> bool:
  """Returns whether a folder is in this layout."""
  return any(
    (folder / name).exists() for name in (CONFIG, _WEIGHTS, _INDEX, EXTRA)
  )


def read(folder: epath.Path) -> tuple[dict[str, Leaf], list[str], str]:
  """Opens a folder under our names.

  Args:
    folder: Where config.json lies.

  Returns:
    {our name: leaf}, the names that were left behind, and the place in a VLM
    ('img', 'llm', or '' for a whole model).

  Raises:
    FileNotFoundError: If config.json or a shard is missing.
    ValueError: If it is damaged or no model of ours.
  """
  config = read_config(folder)
  extra = {}
  if (folder / EXTRA).exists():
    extra = safetensors_format.read(folder / EXTRA)
  if 'parts' in config:
    return _read_parts(folder, config['parts'], extra)
  family = registry.family(config, str(folder))
  theirs = read_tensors(folder)
  try:
    table = family.read_table(config, theirs)
  except (KeyError, TypeError, ZeroDivisionError) as error:
    raise ValueError(f'{folder}: config.json is damaged: {error}') from error
  except ValueError as error:
    raise ValueError(f'{folder}: {error}') from error
  ours, left = table.to_ours(theirs, str(folder))
  return {**ours, **extra}, left, family.place


def _read_parts(
  folder: epath.Path, parts: Mapping[str, str], extra: Mapping[str, Leaf]
) -> tuple[dict[str, Leaf], list[str], str]:
  ours, left = dict(extra), []
  for prefix, name in parts.items():
    leaves, behind, _ = read(folder / name)
    ours |= {f'{prefix}/{leaf}': value for leaf, value in leaves.items()}
    left += behind
  return ours, left, ''


def read_config(folder: epath.Path) -> dict[str, Any]:
  """Reads the config.json of a folder.

  Raises:
    FileNotFoundError: If there is none.
    ValueError: If it is no JSON object.
  """
  path = folder / CONFIG
  if not path.exists():
    raise FileNotFoundError(
      f'{folder}: no config.json; it says which architecture the weights are of'
    )
  return _json(path)


def _json(path: epath.Path) -> dict[str, Any]:
  try:
    value = json.loads(path.read_text())
  except ValueError as error:
    raise ValueError(f'{path}: is damaged: {error}') from error
  if not isinstance(value, dict):
    raise ValueError(f'{path}: holds no JSON object')
  return value


def read_tensors(folder: epath.Path) -> dict[str, Leaf]:
  """Reads the tensors of a folder, one file or many.

  Raises:
    FileNotFoundError: If there is no weight file, or a shard is missing.
    ValueError: If the index and the shards disagree.
  """
  if (folder / _WEIGHTS).exists():
    return safetensors_format.read(folder / _WEIGHTS)
  if not (folder / _INDEX).exists():
    return _read_loose(folder)
  files = _json(folder / _INDEX).get('weight_map')
  if not isinstance(files, dict):
    raise ValueError(f'{folder / _INDEX}: has no weight_map')
  names = sorted(set(files.values()))
  missing = [name for name in names if not (folder / name).exists()]
  if missing:
    raise FileNotFoundError(
      f'{folder}: {len(missing)} of {len(names)} shards are missing: '
      f'{", ".join(missing)}'
    )
  shards = {name: safetensors_format.read(folder / name) for name in names}
  absent = sorted(t for t, file in files.items() if t not in shards[file])
  if absent:
    raise ValueError(
      f'{folder / files[absent[0]]}: lacks {absent[0]}, which the index says '
      'it holds'
    )
  return {tensor: shards[file][tensor] for tensor, file in files.items()}


def _read_loose(folder: epath.Path) -> dict[str, Leaf]:
  """Reads shards without an index, as pickles converted one by one."""
  files = sorted(p for p in folder.glob('*.safetensors') if p.name != EXTRA)
  if not files:
    raise FileNotFoundError(f'{folder}: no {_WEIGHTS} and no {_INDEX}')
  found: dict[str, Leaf] = {}
  for file in files:
    shard = safetensors_format.read(file)
    twice = sorted(found.keys() & shard.keys())
    if twice:
      raise ValueError(
        f'{file}: holds {twice[0]}, as another file there does; keep the '
        f'files of one model, or their {_INDEX}'
      )
    found |= shard
  return found


def read_file(path: epath.Path) -> tuple[dict[str, Leaf], list[str], str]:
  """Reads a lone safetensors file; its tensors themselves say what it is.

  Returns:
    As `read`: openai/CLIP's names become ours, our own stay.

  Raises:
    ValueError: For names that say nothing.
  """
  theirs = safetensors_format.read(path)
  if openai_names.is_openai(theirs):
    try:
      table = openai_names.table(openai_names.shape(theirs))
    except (KeyError, IndexError, ValueError) as error:
      raise ValueError(f'{path}: not a whole CLIP: lacks {error}') from error
    ours, left = table.to_ours(theirs, str(path))
    return ours, left, ''
  if any('/' in name for name in theirs):
    return theirs, [], ''
  raise ValueError(
    f'{path}: no config.json says which architecture this is; give the folder '
    "that has one (openai/CLIP's names need none)"
  )


def clip_shape(path: str) -> clip_names.Shape | None:
  """Returns sizes of the CLIP that lies at a path, or None if none does.

  Args:
    path: A folder of `CLIPModel`, or a file with openai/CLIP's names.

  Raises:
    ValueError: If it is damaged, or not computed as ours is.
  """
  where = epath.Path(path)
  if (where / CONFIG).exists():
    config = read_config(where)
    if registry.family(config, path) is registry.CLIP:
      return clip_names.shape(config)
  elif where.suffix == '.safetensors' and where.exists():
    theirs = safetensors_format.read(where)
    if openai_names.is_openai(theirs):
      return openai_names.shape(theirs)
  return None


def paligemma(path: str) -> described.Description | None:
  """Returns sizes of the PaliGemma that lies at a path, or None if none does.

  Args:
    path: A folder.

  Raises:
    ValueError: If it is damaged, or not computed as ours is.
  """
  where = epath.Path(path)
  if not (where / CONFIG).exists():
    return None
  config = read_config(where)
  if 'parts' in config or registry.family(config, path) is not (
    registry.PALIGEMMA
  ):
    return None
  return registry.PALIGEMMA.describe(config)


def write(
  folder: epath.Path,
  config: Mapping[str, Any],
  table: mapping.Table,
  ours: Mapping[str, Leaf],
  shard_bytes: int = SHARD_BYTES,
) -> None:
  """Writes config.json and weights; the inverse of `read`.

  Args:
    folder: Where to.
    config: The architecture.
    table: Names of the same architecture.
    ours: {our name: leaf}, layers numbered.
    shard_bytes: Where a new file begins.
  """
  write_json(folder / CONFIG, config)
  write_tensors(folder, table.to_theirs(ours), shard_bytes)


def write_tensors(
  folder: epath.Path,
  tensors: Mapping[str, Leaf],
  shard_bytes: int = SHARD_BYTES,
) -> None:
  """Writes model.safetensors, or shards with their index.

  Args:
    folder: Where to.
    tensors: {their name: leaf}.
    shard_bytes: Where a new file begins.
  """
  shards: list[dict[str, Leaf]] = [{}]
  used = total = 0
  for name, leaf in sorted(tensors.items()):
    size = leaf.dtype.itemsize
    for length in leaf.shape:
      size *= length
    if shards[-1] and used + size > shard_bytes:
      shards.append({})
      used = 0
    shards[-1][name] = leaf
    used, total = used + size, total + size
  files.make_folder(folder)
  if len(shards) == 1:
    safetensors_format.write(folder / _WEIGHTS, shards[0])
    return
  index: dict[str, str] = {}
  for i, shard in enumerate(shards, 1):
    file = f'model-{i:05d}-of-{len(shards):05d}.safetensors'
    safetensors_format.write(folder / file, shard)
    index |= dict.fromkeys(shard, file)
  write_json(
    folder / _INDEX, {'metadata': {'total_size': total}, 'weight_map': index}
  )


def write_json(path: epath.Path, value: Mapping[str, Any]) -> None:
  """Writes a JSON file, making its folder."""
  files.make_folder(path.parent)
  files.write_json(path, value, sort_keys=True)
