"""Brings opened weights into the layout and sizes of a model."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from vidlm.core import trees
from vidlm.interop import leaves, paths
from vidlm.interop import weights as weights_lib
from vidlm.interop.leaves import Leaf
from vidlm.interop.weights import Weights
from vidlm.nn import posemb
from vidlm.training import checkpoints

# Tables with a row for each id of the tokenizer.
_TOKENS = (
  'token_embedder/embedding',
  'embedder/input_embedding',
  'Embed_0/embedding',
)
# Rows that no id needs: up to 128 in public tables, 1,216 in PaliGemma's. mT5's
# has 218,000 more than T5's tokenizer.
_USELESS_ROWS = 2048
# Hugging Face's table of PaliGemma has so many rows behind big_vision's 257,152
# ids, of which the first stands for an image.
_SPARE_ROWS = 64


@dataclasses.dataclass(frozen=True)
class Fitted:
  """Weights as a model wants them.

  Attributes:
    leaves: {name: leaf} in the model's shapes.
    dropped: Names of the source that the model lacks.
    fresh: Names of the model that the source lacks.
    resampled: Position embeddings that were brought to another size, and token
      tables that got spare rows.
  """

  leaves: dict[str, Leaf]
  dropped: list[str]
  fresh: list[str]
  resampled: list[str]

  def __str__(self) -> str:
    lines = [f'{len(self.leaves)} parameters loaded']
    for what in ('resampled', 'dropped', 'fresh'):
      names = getattr(self, what)
      if names:
        lines.append(f'{what} ({len(names)}): {", ".join(names)}')
    return '\n  '.join(lines)


def fit(
  weights: Weights,
  wanted: Mapping[str, Any],
  vocabulary_size: int | None = None,
) -> Fitted:
  """Brings weights into the layout and sizes of a model.

  Layers are stacked or split, position embeddings of images and frames
  resampled.

  Args:
    weights: From `assemble`.
    wanted: {name: array or shape} of the model.
    vocabulary_size: Ids of the tokenizer; the token table must hold them all.

  Returns:
    What fits, and lists of what doesn't.

  Raises:
    ValueError: If a leaf has another shape, nothing fits, or the tokenizer has
      more ids than the token table rows.
  """
  flat = leaves.like_layers(weights.leaves, wanted)
  kept, resampled = {}, []
  for name in sorted(flat.keys() & wanted.keys()):
    target = tuple(wanted[name].shape)
    leaf = _resampled(name, _padded(name, flat[name], target), target)
    if leaf is not flat[name]:
      resampled.append(f'{name} {list(flat[name].shape)} -> {list(target)}')
    if leaf.shape != target:
      raise ValueError(_misfit(weights.source, name, leaf.shape, target))
    kept[name] = leaf
  if not kept:
    raise ValueError(_nothing(weights, flat, wanted))
  _check_vocabulary(weights.source, kept, vocabulary_size)
  return Fitted(
    kept,
    sorted(flat.keys() - wanted.keys()) + sorted(weights.left),
    sorted(wanted.keys() - flat.keys()),
    resampled,
  )


def fit_all(
  weights: Weights,
  wanted: Mapping[str, Any],
  vocabulary_size: int | None = None,
  zeros: Sequence[str] = (),
) -> dict[str, Any]:
  """Fits as `fit`, for a model that is to be used: nothing may stay fresh.

  Args:
    weights: From `assemble`.
    wanted: See `fit`.
    vocabulary_size: See `fit`.
    zeros: Leaves that are zero where the source lacks them.

  Returns:
    Nested arrays.

  Raises:
    ValueError: As `fit`, and if the source lacks a parameter.
  """
  fitted = fit(weights, wanted, vocabulary_size)
  fresh = [name for name in fitted.fresh if name not in zeros]
  if fresh:
    raise ValueError(
      f'{weights.source}: {len(fresh)} parameters of the model are not there: '
      f'{", ".join(fresh[:3])}'
    )
  flat = {name: np.asarray(leaf) for name, leaf in fitted.leaves.items()}
  for name in fitted.fresh:
    flat[name] = np.zeros(wanted[name].shape, np.float32)
  return trees.unflatten(flat)


def load_params(checkpoint: str, *more: Any, **options: Any) -> dict[str, Any]:
  """Loads the parameters of a model that is to be used; see `load`."""
  return load(checkpoint, *more, **options)[1]


def load(
  checkpoint: str,
  wanted: Callable[[], Mapping[str, Any]],
  vocabulary_size: int | None = None,
  zeros: Sequence[str] = (),
) -> tuple[str, dict[str, Any]]:
  """Loads the parameters of a model that is to be used, from any format.

  Args:
    checkpoint: See `open_weights`.
    wanted: Gives {name: shape} of the model; not asked for a checkpoint of
      ours, whose model.gin describes it already.
    vocabulary_size: See `fit`.
    zeros: See `fit_all`.

  Returns:
    Where they are from, of a MODEL_DIR the checkpoint; and nested arrays.

  Raises:
    FileNotFoundError: As `open_weights`.
    ValueError: As `fit_all`.
  """
  folder = paths.local(checkpoint)
  if weights_lib.is_ours(epath.Path(folder)):
    return checkpoints.load(folder)
  opened = weights_lib.assemble(folder)
  return checkpoint, fit_all(opened, wanted(), vocabulary_size, zeros)


def _padded(name: str, leaf: Leaf, target: tuple[int, ...]) -> Leaf:
  """Pads a Gemma's table of tokens with the spare rows of the hub's."""
  if not name.endswith('embedder/input_embedding') or len(target) != 2:
    return leaf
  more = target[0] - leaf.shape[0]
  if (
    leaf.ndim != 2
    or leaf.shape[1] != target[1]
    or not (0 < more <= _SPARE_ROWS)
  ):
    return leaf

  def load() -> np.ndarray:
    value = leaf.load()
    # The mean's logit is the mean of the logits: it is never the largest.
    mean = value.mean(0, dtype=np.float32).astype(value.dtype)
    return np.concatenate([value, np.broadcast_to(mean, (more, target[1]))])

  return Leaf(target, leaf.dtype, load)


def _resampled(name: str, leaf: Leaf, target: tuple[int, ...]) -> Leaf:
  """Resamples a leaf if it is a position embedding of another size."""
  if leaf.shape == target or leaf.ndim != 3 or len(target) != 3:
    return leaf
  if leaf.shape[2] != target[2] or 'txt/' in name:
    return leaf
  last = name.rsplit('/', 1)[-1]
  if last == 'temporal_embedding':
    return Leaf(
      target,
      leaf.dtype,
      lambda: posemb.resample_temporal(leaf.load(), target[1]),
    )
  if last != 'pos_embedding':
    return leaf
  for function, extra in (
    (posemb.resample, 0),
    (posemb.resample_behind_class_token, 1),
  ):
    side = math.isqrt(target[1] - extra)
    old = math.isqrt(leaf.shape[1] - extra)
    if side**2 + extra == target[1] and old**2 + extra == leaf.shape[1]:
      load = functools.partial(_apply, function, leaf, (side, side))
      return Leaf(target, leaf.dtype, load)
  return leaf


def _apply(
  function: Callable[..., np.ndarray], leaf: Leaf, grid: tuple[int, int]
) -> np.ndarray:
  return function(leaf.load(), grid)


def _misfit(
  source: str, name: str, shape: tuple[int, ...], target: tuple[int, ...]
) -> str:
  line = (
    f'{name}: {source} has shape {list(shape)}, the model wants {list(target)}'
  )
  if name.endswith(_TOKENS):
    line += f'; set its vocab_size to {shape[0]}'
  if name.endswith('embedding/kernel') and (len(shape), len(target)) == (2, 4):
    line += '; a NaFlex tower embeds patches otherwise, take a fixed resolution'
  return line


def _nothing(
  weights: Weights, flat: Mapping[str, Leaf], wanted: Mapping[str, Any]
) -> str:
  line = (
    f'{weights.source} shares no parameter with the model; it has '
    f'{", ".join(sorted(flat)[:3])} ..., the model '
    f'{", ".join(sorted(wanted)[:3])} ...'
  )
  if weights.place and any(n.startswith(f'{weights.place}/') for n in wanted):
    line += f"; write {{'{weights.place}': '{weights.source}'}}"
  return line


def _check_vocabulary(
  source: str, kept: Mapping[str, Leaf], size: int | None
) -> None:
  for name, leaf in kept.items():
    if size is None or not name.endswith(_TOKENS):
      continue
    if leaf.shape[0] < size:
      raise ValueError(
        f'{name}: {source} has {leaf.shape[0]} rows, the tokenizer {size} ids; '
        'set VOCABULARY_PATH to the one it was trained with'
      )
    if leaf.shape[0] - size > _USELESS_ROWS:
      logging.warning(
        '%s: %s has %d rows, the tokenizer only %d ids; is VOCABULARY_PATH the '
        'one it was trained with?',
        name,
        source,
        leaf.shape[0],
        size,
      )
