"""t5x's checkpoints: native, through Orbax, and plain Flax msgpack.

A native checkpoint is a folder with one msgpack file, `checkpoint`, and beside
it a zarr folder for each large array, which the msgpack describes in
tensorstore's words with the paths of the machine that wrote it. Source:
google-research/t5x, `checkpoints.py` (layout and versions matched).
"""

import math
import os
import re
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from vidlm.core import trees
from vidlm.interop import leaves as leaves_lib
from vidlm.interop.leaves import Leaf

FILE = 'checkpoint'
_PLACEHOLDER = 'PLACEHOLDER://'
# As t5x: smaller arrays lie in the msgpack file.
_INLINE_VALUES = 10_000
_MAX_CHUNK_BYTES = 64 * 2**20
# Modules that t5x's scalable T5 scans: 'encoder/encoder/...', layers on axis 1.
_SCANNED = re.compile(r'(.*\b)?(encoder|decoder)/\2/(.+)')


def find(folder: epath.Path) -> epath.Path | None:
  """The msgpack file of a checkpoint, or of the newest below a folder."""
  if (folder / FILE).is_file():
    return folder / FILE
  steps = []
  for child in folder.iterdir():
    match = re.fullmatch(r'checkpoint_(\d+)', child.name)
    if match and (child / FILE).is_file():
      steps.append(int(match[1]))
  return folder / f'checkpoint_{max(steps)}' / FILE if steps else None


def read(path: epath.Path) -> dict[str, Leaf]:
  """The parameters of a checkpoint.

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
  return {
    new: leaf
    for name, old in target.items()
    for new, leaf in _unscanned(name, old, path)
  }


def _unscanned(
  name: str, leaf: Leaf, path: epath.Path
) -> list[tuple[str, Leaf]]:
  match = _SCANNED.fullmatch(name)
  if match is None:
    return [(name, leaf)]
  prefix, side, rest = match[1] or '', match[2], match[3]
  if rest.startswith('relpos_bias'):
    raise ValueError(
      f'{path}: {name}: a relative position table in every layer, as umT5 has '
      'it; the T5 here has one for a stack'
    )
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
  return [(f'{prefix}{side}/layers/{rest}', leaf)]


def read_everything(path: epath.Path) -> dict[str, Leaf]:
  """All arrays of a checkpoint, optimizer state too, by slash-joined names.

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
  """(name, leaf) of a state tree; a tensorstore spec is a leaf."""
  for key, value in tree.items():
    name = f'{prefix}/{key}' if prefix else str(key)
    if isinstance(value, Mapping) and not {'driver', 'kvstore'} <= value.keys():
      yield from _arrays(value, name)
    elif value is not None and name != 'version':
      yield name, value


def _leaf(path: epath.Path, name: str, value: Any, version: int) -> Leaf:
  where = f'{path}: {name}'
  if isinstance(value, str) and value.startswith(_PLACEHOLDER):
    return _stored(path.parent / value.removeprefix(_PLACEHOLDER), {}, where)
  if isinstance(value, Mapping):
    # The path in the spec is relative, behind whatever bucket or driver the
    # writer had; from tensorstore 0.1.14 on it lies in the kvstore.
    stored = value['kvstore'].get('path') or value.get('path', '')
    folder = path.parent / str(stored).strip('/').rpartition('/')[2]
    metadata = dict(value.get('metadata', {}))
    if metadata and 'dtype' in value:
      metadata.setdefault('dtype', _zarr_type(value['dtype'], where))
    leaf = _stored(folder, metadata, where)
    # Version 2 had no name for bfloat16.
    if version < 3 and leaf.dtype == np.uint16:
      leaf = leaf.then(lambda x: x.view(ml_dtypes.bfloat16))
    return leaf
  array = np.asarray(value)
  return leaves_lib.checked(array.shape, array.dtype, lambda: array, where)


def _stored(
  folder: epath.Path, metadata: Mapping[str, Any], where: str
) -> Leaf:
  """An array in a zarr folder."""
  spec: dict[str, Any] = {'kvstore': _kvstore(folder)}
  if (folder / 'zarr.json').exists():
    spec['driver'] = 'zarr3'
  elif (folder / '.zarray').exists():
    spec['driver'] = 'zarr'
  elif metadata:
    # Copied without its hidden file: the msgpack describes it as well.
    spec |= {
      'driver': 'zarr',
      'metadata': _complete(metadata),
      'open': True,
      'assume_metadata': True,
    }
  else:
    raise ValueError(
      f'{where}: {folder} has no .zarray and no zarr.json; was the checkpoint '
      'copied without hidden files?'
    )
  if not folder.exists():
    raise FileNotFoundError(f'{where}: {folder} is missing')
  try:
    store = _opened(spec)
  except Exception as error:  # tensorstore raises ValueError and KeyError
    raise ValueError(
      f'{where}: {folder} can not be opened: {_short(error)}'
    ) from error

  def load() -> np.ndarray:
    try:
      return np.asarray(store.read().result())
    except Exception as error:
      raise ValueError(
        f'{where}: {folder} is damaged: {_short(error)}'
      ) from error

  _check_chunks(folder, store, where)
  return leaves_lib.checked(store.shape, store.dtype.numpy_dtype, load, where)


def _zarr_type(name: str, where: str) -> str:
  if name == 'bfloat16':
    return name
  try:
    return np.dtype(name).newbyteorder('<').str
  except TypeError as error:
    raise ValueError(f'{where}: unknown type {name!r}') from error


def _check_chunks(folder: epath.Path, store: Any, where: str) -> None:
  """Raises ValueError if a chunk file is missing: it would be read as zeros."""
  if (folder / 'zarr.json').exists():
    return  # may hold many chunks a file
  described = store.spec().to_json()['metadata']
  separator = described.get('dimension_separator', '.')
  grid = [
    math.ceil(n / c)
    for n, c in zip(store.shape, described['chunks'], strict=True)
  ]
  wanted = [separator.join(map(str, i)) or '0' for i in np.ndindex(*grid)]
  missing = [name for name in wanted if not (folder / name).exists()]
  if missing:
    raise ValueError(
      f'{where}: {len(missing)} of {len(wanted)} chunks are missing in {folder}'
    )


def _kvstore(folder: epath.Path) -> dict[str, str]:
  text = os.fspath(folder)
  if text.startswith('gs://'):
    bucket, _, path = text.removeprefix('gs://').partition('/')
    return {'driver': 'gcs', 'bucket': bucket, 'path': f'{path}/'}
  return {'driver': 'file', 'path': f'{os.path.abspath(text)}/'}


def _complete(metadata: Mapping[str, Any]) -> dict[str, Any]:
  """zarr's metadata from a tensorstore spec, as its defaults fill it in."""
  out = {
    'zarr_format': 2,
    'order': 'C',
    'filters': None,
    'fill_value': None,
    'compressor': None,
    **metadata,
  }
  return {name: out[name] for name in out if name in _METADATA}


_METADATA = (
  'zarr_format',
  'order',
  'filters',
  'fill_value',
  'compressor',
  'shape',
  'chunks',
  'dtype',
)


def _opened(spec: Mapping[str, Any], **options: Any) -> Any:
  import tensorstore

  return tensorstore.open(dict(spec), **options).result()


def _short(error: Exception) -> str:
  return ' '.join(str(error).split())[:200]


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
  folder.mkdir(parents=True, exist_ok=True)
  target: dict[str, Any] = {}
  for name, leaf in ours.items():
    if math.prod(leaf.shape) < _INLINE_VALUES:
      target[name] = leaf.load()
    else:
      target[name] = _store(folder, 'target.' + name.replace('/', '.'), leaf)
  tree = {
    'version': 3,
    'optimizer': {
      'target': trees.unflatten(target),
      'state': {'step': np.asarray(step, np.int32), 'param_states': {}},
    },
  }
  # Last: a folder without it is no checkpoint.
  partial = folder / f'.{FILE}.{os.getpid()}'
  partial.write_bytes(flax.serialization.msgpack_serialize(tree))
  partial.replace(folder / FILE)


def _store(folder: epath.Path, name: str, leaf: Leaf) -> dict[str, Any]:
  """Writes an array to a zarr folder; returns what msgpack says of it."""
  chunks = list(leaf.shape)
  while math.prod(chunks) * leaf.dtype.itemsize > _MAX_CHUNK_BYTES:
    longest = int(np.argmax(chunks))
    chunks[longest] = -(-chunks[longest] // 2)
  value = leaf.load()
  dtype = value.dtype.name
  metadata = {
    'shape': list(leaf.shape),
    'chunks': chunks,
    'compressor': {'id': 'gzip', 'level': 1},
  }
  store = _opened(
    {
      'driver': 'zarr',
      'kvstore': _kvstore(folder / name),
      'metadata': _complete({**metadata, 'dtype': _zarr_type(dtype, name)}),
      # A chunk of zeros that is left out can't be told from a lost one.
      'store_data_equal_to_fill_value': True,
    },
    create=True,
    delete_existing=True,
  )
  store.write(value).result()
  return {
    'driver': 'zarr',
    'dtype': dtype,
    'kvstore': {'driver': 'file', 'path': f'{name}/'},
    'metadata': metadata,
  }
