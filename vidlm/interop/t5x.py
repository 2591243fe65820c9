"""Checkpoints of t5x: native, through Orbax, and plain Flax msgpack.

A native checkpoint is a folder with one msgpack file, `checkpoint`, and beside
it a zarr folder for each large array, which the msgpack describes in
tensorstore's words with the paths of the machine that wrote it. Source:
google-research/t5x, `checkpoints.py` (layout and versions matched).
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from vidlm.core import files, trees
from vidlm.interop import leaves as leaves_lib
from vidlm.interop import zarr_arrays
from vidlm.interop.leaves import Leaf

FILE = 'checkpoint'
_PLACEHOLDER = 'PLACEHOLDER://'
# As t5x: smaller arrays lie in the msgpack file.
_INLINE_VALUES = 10_000
# Modules that t5x's scalable T5 scans: 'encoder/encoder/...', layers on axis 1.
_SCANNED = re.compile(r'(.*\b)?(encoder|decoder)/\2/(.+)')


def find(folder: epath.Path) -> epath.Path | None:
  """Finds the msgpack file of a checkpoint, or of the newest below a folder."""
  if (folder / FILE).is_file():
    return folder / FILE
  steps = []
  for child in folder.iterdir():
    match = re.fullmatch(r'checkpoint_(\d+)', child.name)
    if match and (child / FILE).is_file():
      steps.append(int(match[1]))
  return folder / f'checkpoint_{max(steps)}' / FILE if steps else None


def read(path: epath.Path) -> dict[str, Leaf]:
  """Reads the parameters of a checkpoint.

  Args:
    path: Its msgpack file.

  Returns:
    {our name: leaf}.

  Raises:
    ValueError: If it is damaged, or holds no parameters.
  """
  target = {
    match[1]: leaf
    for name, leaf in read_everything(path).items()
    if (match := re.fullmatch(r'(?:\w+/)?target/(.+)', name))
  }
  if not target:
    raise ValueError(f'{path}: holds no parameters (target)')
  return dict(_unscanned(name, leaf) for name, leaf in target.items())


def _unscanned(name: str, leaf: Leaf) -> tuple[str, Leaf]:
  match = _SCANNED.fullmatch(name)
  if match is None:
    return name, leaf
  prefix, side, rest = match[1] or '', match[2], match[3]
  # [in, layers, heads, size] there; here heads and size are one axis.
  leaf = leaf.then(lambda x: np.moveaxis(x, 1, 0))
  if leaf.ndim == 4:
    heads_first = rest.endswith('out/kernel')
    leaf = leaf.then(
      lambda x: (
        x.reshape(x.shape[0], -1, x.shape[3])
        if heads_first
        else x.reshape(*x.shape[:2], -1)
      )
    )
  return f'{prefix}{side}/layers/{rest}', leaf


def read_everything(path: epath.Path) -> dict[str, Leaf]:
  """Reads all arrays of a checkpoint, optimizer state too, by joined names.

  Args:
    path: Its msgpack file.

  Raises:
    ValueError: If it is damaged.
  """
  import flax.serialization

  try:
    tree = flax.serialization.msgpack_restore(path.read_bytes())
  except Exception as error:  # msgpack's own types
    raise ValueError(
      f'{path}: no t5x checkpoint, or damaged: {" ".join(str(error).split())}'
    ) from error
  if not isinstance(tree, Mapping):
    raise ValueError(f'{path}: no t5x checkpoint: it holds no tree')
  version = tree.get('version', 3)
  found = {}
  for name, value in _arrays(tree):
    found[name] = _leaf(path, name, value, version)
  return found


def _arrays(tree: Mapping[str, Any], prefix: str = '') -> Any:
  """Yields (name, leaf) of a state tree; a tensorstore spec is a leaf."""
  for key, value in tree.items():
    name = f'{prefix}/{key}' if prefix else str(key)
    if isinstance(value, Mapping) and not {'driver', 'kvstore'} <= value.keys():
      yield from _arrays(value, name)
    elif value is not None and name != 'version':
      yield name, value


def _leaf(path: epath.Path, name: str, value: Any, version: int) -> Leaf:
  where = f'{path}: {name}'
  if isinstance(value, str) and value.startswith(_PLACEHOLDER):
    return zarr_arrays.read(
      path.parent / value.removeprefix(_PLACEHOLDER), {}, where
    )
  if isinstance(value, Mapping):
    # The path in the spec is relative, behind whatever bucket or driver the
    # writer had; from tensorstore 0.1.14 on it lies in the kvstore.
    stored = value['kvstore'].get('path') or value.get('path', '')
    folder = path.parent / str(stored).strip('/').rpartition('/')[2]
    metadata = dict(value.get('metadata', {}))
    if metadata and 'dtype' in value:
      metadata.setdefault('dtype', zarr_arrays.zarr_type(value['dtype'], where))
    leaf = zarr_arrays.read(folder, metadata, where)
    # Version 2 had no name for bfloat16.
    if version < 3 and leaf.dtype == np.uint16:
      leaf = leaf.then(lambda x: x.view(ml_dtypes.bfloat16))
    return leaf
  array = np.asarray(value)
  return leaves_lib.checked(array.shape, array.dtype, lambda: array, where)


def write(
  folder: epath.PathLike, ours: Mapping[str, Leaf], step: int = 0
) -> None:
  """Writes a native checkpoint of version 3, without optimizer state.

  Args:
    folder: Where to; t5x wants it called checkpoint_<step>.
    ours: {name: leaf}, layers numbered.
    step: What the checkpoint says.
  """
  import flax.serialization

  folder = epath.Path(folder)
  files.make_folder(folder)
  target: dict[str, Any] = {}
  for name, leaf in ours.items():
    if math.prod(leaf.shape) < _INLINE_VALUES:
      target[name] = leaf.load()
    else:
      target[name] = zarr_arrays.write(
        folder, 'target.' + name.replace('/', '.'), leaf
      )
  tree = {
    'version': 3,
    'optimizer': {
      'target': trees.unflatten(target),
      'state': {'step': np.asarray(step, np.int32), 'param_states': {}},
    },
  }
  # Last: a folder without it is no checkpoint.
  files.write_bytes(folder / FILE, flax.serialization.msgpack_serialize(tree))
