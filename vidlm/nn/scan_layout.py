"""Converts parameters between one leaf per layer and stacked layers.

Checkpoints of big_vision and t5x come in both layouts; a model here is scanned
(stacked on axis 0) or not by a field, with equal results.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# 'encoderblock_7' in big_vision, 'layers_7' in t5x.
_NUMBERED = re.compile(r'(.*?)\b(encoderblock|layers)_(\d+)/(.+)')
_STACKED = re.compile(r'(.*?)\b(encoderblock|layers)/(.+)')


def is_stacked(name: str) -> bool:
  """Returns whether a parameter's leading axis runs over layers.

  Args:
    name: Slash-joined, e.g. 'llm/encoder/layers/mlp/wo/kernel'.
  """
  return _STACKED.fullmatch(name) is not None


def stack(
  flat: Mapping[str, Any],
  join: Callable[[list[Any]], Any] | None = None,
) -> dict[str, Any]:
  """Stacks numbered layers on a new leading axis.

  Args:
    flat: {name: array}; names such as 'img/Transformer/encoderblock_0/...' or
      'llm/decoder/layers_0/...' are stacked, all others kept.
    join: Stacks the layers of a leaf; by default numpy's or JAX's `stack`.

  Returns:
    {name: array}, the number gone from the names.

  Raises:
    ValueError: If a layer is missing.
  """
  out: dict[str, Any] = {}
  groups: dict[str, dict[int, Any]] = {}
  for name, value in flat.items():
    match = _NUMBERED.fullmatch(name)
    if match is None:
      out[name] = value
      continue
    prefix, kind, number, rest = match.groups()
    groups.setdefault(f'{prefix}{kind}/{rest}', {})[int(number)] = value
  for name, members in groups.items():
    missing = set(range(max(members) + 1)) - set(members)
    if missing:
      raise ValueError(f'{name}: layers {sorted(missing)} are missing.')
    out[name] = (join or _join)([members[i] for i in range(len(members))])
  return out


def _join(values: list[Any]) -> Any:
  xp = jnp if isinstance(values[0], jax.Array) else np
  return xp.stack(values)


def unstack(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Splits stacked layers; the inverse of `stack`.

  Args:
    flat: {name: array}.

  Returns:
    {name: array}, one leaf per layer, numbered from 0.
  """
  out = {}
  for name, value in flat.items():
    match = _STACKED.fullmatch(name)
    if match is None:
      out[name] = value
      continue
    prefix, kind, rest = match.groups()
    for i in range(value.shape[0]):
      out[f'{prefix}{kind}_{i}/{rest}'] = value[i]
  return out
