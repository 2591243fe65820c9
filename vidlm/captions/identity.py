"""What a caption depends on, in hashes: configuration, weights, inputs."""

import concurrent.futures
import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vidlm.core import trees


def hash32(clip_id: str) -> int:
  """Returns the number a clip's random key is folded from."""
  # Four bytes: `jax.random.fold_in` takes 32 bits.
  digest = hashlib.blake2b(clip_id.encode(), digest_size=4).digest()
  return int.from_bytes(digest, 'little')


def file_digest(path: str | os.PathLike) -> str:
  """Returns the BLAKE2b of a file's bytes.

  Returns:
    32 hex digits; for a file that can't be read, a word for why. Such a file
    fails as a clip later on, and is tried again once it can be read.
  """
  try:
    with open(path, 'rb') as file:
      new = lambda: hashlib.blake2b(digest_size=16)
      return hashlib.file_digest(file, new).hexdigest()
  except OSError as error:
    return f'unreadable: {error.strerror}'


def digest_of(parts: Sequence[str]) -> str:
  """Returns one digest of several texts; no two lists of texts share it."""
  whole = hashlib.blake2b(digest_size=16)
  for part in parts:
    data = part.encode('utf-8', 'surrogateescape')
    whole.update(len(data).to_bytes(8, 'little'))
    whole.update(data)
  return whole.hexdigest()


def weights_digest(params: Any) -> str:
  """Returns the digest of a tree of arrays: names, types, shapes and bytes."""
  flat = trees.flatten(params)
  names = sorted(flat)
  # hashlib lets go of the interpreter while it works.
  with concurrent.futures.ThreadPoolExecutor() as pool:
    digests = pool.map(lambda name: _array_digest(flat[name]), names)
    parts = [part for pair in zip(names, digests, strict=True) for part in pair]
  return digest_of(parts)


def _array_digest(leaf: Any) -> str:
  array = np.ascontiguousarray(np.asarray(leaf))
  # The leaf's own shape: ascontiguousarray makes a scalar an array of one.
  head = f'{array.dtype.name}{list(np.shape(leaf))}'
  # As bytes: there is no buffer of bfloat16.
  data = hashlib.blake2b(array.reshape(-1).view(np.uint8).data, digest_size=16)
  return f'{head} {data.hexdigest()}'


def describe(value: Any) -> Any:
  """Returns a frozen dataclass or a linen module as plain JSON.

  Example:
    describe(Nucleus(top_p=0.9)) ->
      {'type': 'Nucleus', 'temperature': 0.7, 'top_p': 0.9}
  """
  if dataclasses.is_dataclass(value) and not isinstance(value, type):
    # A linen module's parent and name say where it is, not what it is.
    fields = [
      field.name
      for field in dataclasses.fields(value)
      if field.name not in ('parent', 'name')
    ]
    parts = {name: describe(getattr(value, name)) for name in fields}
    return {'type': type(value).__name__, **parts}
  if isinstance(value, Mapping):
    return {str(name): describe(part) for name, part in value.items()}
  if isinstance(value, list | tuple):
    return [describe(part) for part in value]
  if value is None or isinstance(value, bool | int | float | str):
    return value
  return str(value)


def differences(
  old: Mapping[str, Any], new: Mapping[str, Any], where: str = ''
) -> list[str]:
  """Returns what differs between two configurations, one 'a.b: 1 -> 2' each."""
  found = []
  for name in sorted(old.keys() | new.keys()):
    before, after = old.get(name), new.get(name)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
      found += differences(before, after, f'{where}{name}.')
    elif before != after:
      found.append(f'{where}{name}: {before!r} -> {after!r}')
  return found
