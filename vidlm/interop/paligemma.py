"""PaliGemma and Gemma in Hugging Face's names <-> ours, which are big_vision's.

Source of the names: transformers, `models/{paligemma,gemma,gemma2,siglip}`, and
the checkpoints on its hub; google-research/big_vision, `models/ppp/gemma.py`.
A row of `paligemma_names` imports from right to left and exports from left to
right; both are pure functions of flat dicts of arrays, our layers numbered
(`scan_layout.stack` makes them one leaf).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import einops
import numpy as np

from vidlm.interop import paligemma_names

Flat = dict[str, Any]


def to_ours(theirs: Mapping[str, Any], config: Mapping[str, Any]) -> Flat:
  """Imports weights.

  Args:
    theirs: {name: array}, as on the hub or from a `state_dict`.
    config: their config.json.

  Returns:
    {slash-joined name: array}: 'llm/...' and, of a PaliGemma, 'img/...', layers
    numbered.

  Raises:
    ValueError: If tensors are missing or have no place.
  """
  table = paligemma_names.rows(config, theirs)
  wanted = {name for _, names, _ in table for name in names}
  # The output layer is the table of tokens; hub files hold it now and then.
  extra = {
    n for n in theirs if not n.endswith(('lm_head.weight', 'position_ids'))
  }
  for problem, names in (
    ('lack', wanted - theirs.keys()),
    ('have no place for', extra - wanted),
  ):
    if names:
      raise ValueError(
        f'PaliGemma weights {problem} {_some(names)}; config.json and weights '
        'belong to different models.'
      )
  sizes = paligemma_names.sizes(config)
  return {ours: _import(theirs, row, axes, sizes) for ours, row, axes in table}


def to_theirs(ours: Mapping[str, Any], config: Mapping[str, Any]) -> Flat:
  """Exports weights; the inverse of `to_ours`, in the hub's names.

  Args:
    ours: {slash-joined name: array}, layers numbered.
    config: the config.json that will lie beside them.

  Returns:
    {their name: array}.

  Raises:
    ValueError: If one of our leaves is missing.
  """
  table, out = paligemma_names.rows(config), {}
  sizes = paligemma_names.sizes(config)
  missing = {name for name, _, _ in table} - ours.keys()
  if missing:
    raise ValueError(f'the model lacks {_some(missing)}; nothing is written.')
  for name, theirs, axes in table:
    left, _, right = axes.partition(' -> ')
    x = _rearrange(np.asarray(ours[name]), f'{right} -> {left}', sizes)
    out |= dict(zip(theirs, x if len(theirs) > 1 else [x], strict=True))
  return out


def _import(
  theirs: Mapping[str, Any],
  names: tuple[str, ...],
  axes: str,
  sizes: Mapping[str, int],
) -> np.ndarray:
  values = [np.asarray(theirs[name]) for name in names]
  x = np.stack(values) if len(values) > 1 else values[0]
  return _rearrange(x, axes, sizes)


def _rearrange(
  x: np.ndarray, axes: str, sizes: Mapping[str, int]
) -> np.ndarray:
  used = {k: v for k, v in sizes.items() if k in axes.split('->')[0]}
  return np.ascontiguousarray(einops.rearrange(x, axes, **used))


def from_big_vision(flat: Mapping[str, Any]) -> Flat:
  """Renames the leaves of a big_vision `.npz`.

  Args:
    flat: {name: array}, with or without 'params/' in front; layers stacked, or
      numbered as 'llm/layers/0/...'.

  Returns:
    {our name: array}; stacked layers stay stacked.
  """
  out = {}
  for name, value in flat.items():
    parts = name.removeprefix('params/').split('/')
    if parts[:2] == ['llm', 'layers'] and parts[2].isdigit():
      parts[1:3] = [f'layers_{parts[2]}']
    out['/'.join(parts)] = value
  return out


def to_big_vision(flat: Mapping[str, Any]) -> Flat:
  """Names our leaves as big_vision saves them; `from_big_vision` undone.

  Args:
    flat: {our name: array}, layers stacked or numbered.
  """
  out = {}
  for name, value in flat.items():
    parts = name.split('/')
    if parts[0] == 'llm' and parts[1].startswith('layers_'):
      parts[1:2] = ['layers', parts[1].removeprefix('layers_')]
    out['params/' + '/'.join(parts)] = value
  return out


def with_vocabulary(flat: Mapping[str, Any], rows_wanted: int) -> Flat:
  """Cuts or fills the token table.

  Hugging Face's has 64 rows that no token uses behind big_vision's 257,152.

  Args:
    flat: {our name: array}.
    rows_wanted: rows afterwards; new ones are zeros.
  """
  name = 'llm/embedder/input_embedding'
  table = np.asarray(flat[name])[:rows_wanted]
  missing = rows_wanted - len(table)
  return {**flat, name: np.pad(table, ((0, missing), (0, 0)))}


def _some(names: Iterable[str], count: int = 3) -> str:
  names = sorted(names)
  more = len(names) - count
  return ', '.join(names[:count]) + (f' and {more} more' if more > 0 else '')
