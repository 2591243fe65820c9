"""The safetensors format: a JSON header, then the bytes of each tensor.

Read here rather than by the package: bfloat16 without PyTorch, one tensor at a
time from local disks and buckets alike, and one line for each kind of damage.
Source: huggingface/safetensors README, "Format".
"""

import json
import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from etils import epath

from vidlm.core import files
from vidlm.interop import leaves as leaves_lib
from vidlm.interop.leaves import Leaf

_DTYPES = {
  'F64': np.dtype(np.float64),
  'F32': np.dtype(np.float32),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(ml_dtypes.bfloat16),
  'I64': np.dtype(np.int64),
  'I32': np.dtype(np.int32),
  'I16': np.dtype(np.int16),
  'I8': np.dtype(np.int8),
  'U8': np.dtype(np.uint8),
  'BOOL': np.dtype(np.bool_),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_MAX_HEADER = 100 * 2**20


def read(path: epath.PathLike) -> dict[str, Leaf]:
  """Opens a file; tensors are read when asked for.

  Args:
    path: Local or gs://.

  Returns:
    {name: leaf}.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If the header is damaged or the file is shorter or longer than
      it says.
  """
  path = epath.Path(path)
  size = path.stat().length
  with path.open('rb') as file:
    start = file.read(8)
    length = struct.unpack('<Q', start)[0] if len(start) == 8 else 0
    if not 2 <= length <= min(_MAX_HEADER, size - 8):
      raise ValueError(
        f'{path}: no safetensors file, or cut off: its header would have '
        f'{length:,} bytes, the file has {size:,}'
      )
    header = file.read(length)
  tensors = _parse(header, path)
  offset, end = 8 + length, 0
  for name, (dtype, shape, (first, last)) in sorted(
    tensors.items(), key=lambda item: item[1][2]
  ):
    wanted = math.prod(shape) * dtype.itemsize
    if first != end or last - first != wanted:
      raise ValueError(
        f'{path}: the header is damaged: {name} is {dtype}{shape}, {wanted:,} '
        f'bytes, and would lie at {first:,} to {last:,} behind {end:,}'
      )
    end = last
  if offset + end != size:
    raise ValueError(
      f'{path}: {size:,} bytes, its header describes {offset + end:,}; the '
      'file is cut off or damaged, fetch it again'
    )
  return {
    name: _leaf(path, name, dtype, shape, offset + first)
    for name, (dtype, shape, (first, _)) in tensors.items()
  }


def _span(offsets: Sequence[Any]) -> tuple[int, int]:
  first, end = offsets
  return _natural(first), _natural(end)


def _parse(
  header: bytes, path: epath.Path
) -> dict[str, tuple[np.dtype, list[int], tuple[int, int]]]:
  try:
    described = json.loads(header.decode('utf-8'))
    described.pop('__metadata__', None)
    return {
      name: (
        _DTYPES[tensor['dtype']],
        [_natural(n) for n in tensor['shape']],
        _span(tensor['data_offsets']),
      )
      for name, tensor in described.items()
    }
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise ValueError(
      f'{path}: the safetensors header is damaged: {error}'
    ) from error


def _natural(number: Any) -> int:
  # By type: JSON's true is an int to isinstance.
  if type(number) is not int or number < 0:
    raise ValueError(f'{number!r} is no size')
  return number


def _leaf(
  path: epath.Path,
  name: str,
  dtype: np.dtype,
  shape: list[int],
  offset: int,
) -> Leaf:
  count = math.prod(shape) * dtype.itemsize

  def load() -> np.ndarray:
    with path.open('rb') as file:
      file.seek(offset)
      data = file.read(count)
    if len(data) != count:
      raise ValueError(f'{path}: cut off within {name}')
    return np.frombuffer(data, dtype).reshape(shape)

  return leaves_lib.checked(shape, dtype, load, f'{path}: {name}')


def write(path: epath.PathLike, tensors: Mapping[str, Leaf]) -> None:
  """Writes a file, whole or not at all; one tensor is in memory at a time.

  Args:
    path: Where to.
    tensors: {name: leaf}.

  Raises:
    ValueError: If a tensor's type has no name in the format.
  """
  # As every reader of PyTorch's world expects it.
  header: dict[str, Any] = {'__metadata__': {'format': 'pt'}}
  end = 0
  for name, leaf in tensors.items():
    if leaf.dtype not in _NAMES:
      raise ValueError(f'{name}: safetensors has no type for {leaf.dtype}')
    first, end = end, end + math.prod(leaf.shape) * leaf.dtype.itemsize
    header[name] = {
      'dtype': _NAMES[leaf.dtype],
      'shape': list(leaf.shape),
      'data_offsets': [first, end],
    }
  encoded = json.dumps(header, separators=(',', ':')).encode()
  encoded += b' ' * (-len(encoded) % 8)  # tensors start aligned
  with files.writer(path, sole=True) as file:
    file.write(struct.pack('<Q', len(encoded)) + encoded)
    for leaf in tensors.values():
      file.write(np.ascontiguousarray(leaf.load()).tobytes())
