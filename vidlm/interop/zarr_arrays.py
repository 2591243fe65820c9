"""Arrays in zarr folders, through tensorstore; what t5x keeps large ones in."""

import math
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from vidlm.interop import leaves as leaves_lib
from vidlm.interop.leaves import Leaf

_MAX_CHUNK_BYTES = 64 * 2**20  # as t5x
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


def read(folder: epath.Path, metadata: Mapping[str, Any], where: str) -> Leaf:
  """Opens an array; its values are read when asked for.

  Args:
    folder: Holds .zarray (zarr 2) or zarr.json (zarr 3) and the chunks.
    metadata: zarr 2's, for a folder that lost its .zarray; {} if unknown.
    where: What is read, for errors.

  Raises:
    FileNotFoundError: If there is no folder.
    ValueError: If it is damaged or a chunk is missing.
  """
  if not folder.exists():
    raise FileNotFoundError(f'{where}: {folder} is missing')
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


def write(folder: epath.Path, name: str, leaf: Leaf) -> dict[str, Any]:
  """Writes an array, cut into chunks.

  Args:
    folder: The checkpoint's.
    name: Name of the array's folder.
    leaf: The array.

  Returns:
    What t5x's msgpack file says of it.
  """
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
      'metadata': _complete({**metadata, 'dtype': zarr_type(dtype, name)}),
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


def _check_chunks(folder: epath.Path, store: Any, where: str) -> None:
  """Raises ValueError if a chunk file is missing: it would be read as zeros.

  zarr 3 leaves out chunks of zeros, so there it is a warning.
  """
  described = store.spec().to_json()['metadata']
  third = (folder / 'zarr.json').exists()
  if third:
    chunks = described['chunk_grid']['configuration']['chunk_shape']
    first, separator = 'c/', '/'
  else:
    chunks = described['chunks']
    first, separator = '', described.get('dimension_separator', '.')
  grid = [math.ceil(n / c) for n, c in zip(store.shape, chunks, strict=True)]
  wanted = [
    (first + separator.join(map(str, i))).rstrip('/') or '0'
    for i in np.ndindex(*grid)
  ]
  missing = [name for name in wanted if not (folder / name).exists()]
  if missing and third:
    logging.warning(
      '%s: %d of %d chunks are not there and read as zeros: %s',
      where,
      len(missing),
      len(wanted),
      folder,
    )
  elif missing:
    raise ValueError(
      f'{where}: {len(missing)} of {len(wanted)} chunks are missing in {folder}'
    )


def _complete(metadata: Mapping[str, Any]) -> dict[str, Any]:
  """Returns zarr's metadata from a tensorstore spec, defaults filled in."""
  out = {
    'zarr_format': 2,
    'order': 'C',
    'filters': None,
    'fill_value': None,
    'compressor': None,
    **metadata,
  }
  return {name: out[name] for name in out if name in _METADATA}


def zarr_type(name: str, where: str) -> str:
  """Returns zarr's name of a type.

  Raises:
    ValueError: If there is no such type.
  """
  if name == 'bfloat16':
    return name
  try:
    return np.dtype(name).newbyteorder('<').str
  except TypeError as error:
    raise ValueError(f'{where}: unknown type {name!r}') from error


def _kvstore(folder: epath.Path) -> dict[str, str]:
  text = os.fspath(folder)
  if text.startswith('gs://'):
    bucket, _, path = text.removeprefix('gs://').partition('/')
    return {'driver': 'gcs', 'bucket': bucket, 'path': f'{path}/'}
  return {'driver': 'file', 'path': f'{os.path.abspath(text)}/'}


def _opened(spec: Mapping[str, Any], **options: Any) -> Any:
  import tensorstore

  return tensorstore.open(dict(spec), **options).result()


def _short(error: Exception) -> str:
  return ' '.join(str(error).split())[:200]
