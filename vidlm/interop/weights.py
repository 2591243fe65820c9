"""Opens weights of any format under our names, and fits them to a model."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath

from vidlm.core import checkpoints, trees
from vidlm.interop import big_vision, huggingface, leaves, paths, t5x
from vidlm.interop.leaves import Leaf
from vidlm.nn import posemb, scan_layout

# Leaves by which a model without a prefix is recognised, and its place.
_MARKS = {'token_embedder/embedding': 'llm', 'embedding/kernel': 'img'}


@dataclasses.dataclass(frozen=True)
class Weights:
  """What a source holds, not yet read.

  Attributes:
    source: As the user gave it.
    leaves: {our name: leaf}.
    left: Their names that have no place here.
    place: 'img' or 'llm' for one part of a VLM, '' for a whole model.
  """

  source: str
  leaves: dict[str, Leaf]
  left: list[str] = dataclasses.field(default_factory=list)
  place: str = ''


@dataclasses.dataclass(frozen=True)
class Fitted:
  """Weights as a model wants them.

  Attributes:
    leaves: {name: leaf} in the model's shapes.
    dropped: Names of the source that the model lacks.
    fresh: Names of the model that the source lacks.
    resampled: Position embeddings that were brought to another size.
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


def open_weights(spec: str) -> Weights:
  """Opens a path, whatever format lies there.

  Args:
    spec: A MODEL_DIR or checkpoint of ours, a Hugging Face folder, a
      safetensors file, a big_vision .npz, a t5x checkpoint; local, gs:// or
      hf://owner/name; with `:subtree` a part of it.

  Raises:
    FileNotFoundError: If nothing is there, or a part of it is missing.
    ValueError: If it is damaged, a pickle, or no model known here.
  """
  name, subtree = paths.split_subtree(spec)
  path = epath.Path(paths.local(name))
  if not path.exists():
    raise FileNotFoundError(f'{name}: no such file or folder')
  found, left, place = _open_folder(path) if path.is_dir() else _open_file(path)
  if subtree:
    found = _subtree(found, subtree, spec)
    place = ''
  return Weights(spec, found, left, place or _place(found))


def _open_file(path: epath.Path) -> tuple[dict[str, Leaf], list[str], str]:
  if path.suffix == '.npz':
    return big_vision.read(path), [], ''
  paths.refuse_pickle(path)
  if path.suffix == '.safetensors':
    return huggingface.read_file(path)
  return t5x.read(path), [], ''


def _open_folder(path: epath.Path) -> tuple[dict[str, Leaf], list[str], str]:
  if _is_ours(path):
    flat = trees.flatten(checkpoints.load_params(str(path)))
    return {n: leaves.from_array(x) for n, x in flat.items()}, [], ''
  if huggingface.is_folder(path):
    pickled = paths.pickles(path)
    if pickled and not list(path.glob('*.safetensors*')):
      paths.refuse_pickle(pickled[0])
    return huggingface.read(path)
  native = t5x.find(path)
  if native is not None:
    return t5x.read(native), [], ''
  for pickled in paths.pickles(path):
    paths.refuse_pickle(pickled)
  raise FileNotFoundError(
    f'{path}: no weights here; a MODEL_DIR with a finished checkpoint, a '
    'Hugging Face folder with config.json, or a t5x checkpoint is read'
  )


def _is_ours(path: epath.Path) -> bool:
  try:
    checkpoints.find(str(path))
  except FileNotFoundError:
    return False
  return True


def _subtree(
  found: Mapping[str, Leaf], subtree: str, spec: str
) -> dict[str, Leaf]:
  prefix = f'{subtree}/'
  taken = {
    name.removeprefix(prefix): leaf
    for name, leaf in found.items()
    if name.startswith(prefix)
  }
  if not taken:
    tops = sorted({name.split('/')[0] for name in found})
    raise ValueError(f'{spec}: no {subtree!r} there, only {", ".join(tops)}')
  return taken


def _place(found: Mapping[str, Leaf]) -> str:
  for name, place in _MARKS.items():
    if name in found:
      return place
  return ''


def parts(spec: str | Mapping[str, str]) -> dict[str, str]:
  """Which part of a model comes from where.

  Args:
    spec: One path for the whole; or {part: path}, as text 'img=PATH,llm=PATH'.

  Returns:
    {prefix: path}; the prefix '' stands for the whole model.

  Raises:
    ValueError: For text that is neither.
  """
  if not isinstance(spec, str):
    return {str(part).strip('/'): str(path) for part, path in spec.items()}
  if '=' not in spec.split('/')[0]:
    return {'': spec}
  out = {}
  for piece in spec.split(','):
    part, equals, path = piece.partition('=')
    if not (equals and part and path):
      raise ValueError(f'{spec}: write PART=PATH,PART=PATH, as in img=A,llm=B')
    out[part.strip()] = path.strip()
  return out


def assemble(spec: str | Mapping[str, str]) -> Weights:
  """Opens one source or several, each in its place.

  A part named 'img' takes a lone vision tower, or the `img` of a whole model.

  Args:
    spec: See `parts`.

  Raises:
    FileNotFoundError: As `open_weights`.
    ValueError: As `open_weights`; or if a source is no such part.
  """
  merged: dict[str, Leaf] = {}
  left: list[str] = []
  place = ''
  for part, path in parts(spec).items():
    opened = open_weights(path)
    left += [f'{path}: {name}' for name in opened.left]
    if not part:
      merged |= opened.leaves
      place = opened.place
      continue
    found = opened.leaves
    if opened.place and opened.place != part:
      raise ValueError(
        f'{part}={path}: holds what belongs under {opened.place!r}'
      )
    inner = {n: x for n, x in found.items() if n.startswith(f'{part}/')}
    left += [f'{path}: {n}' for n in found if inner and n not in inner]
    merged |= inner or {f'{part}/{n}': x for n, x in found.items()}
  return Weights(str(spec), merged, left, place)


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
    leaf = _resampled(name, flat[name], target)
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
  """As `fit`, for a model that is to be used: nothing may stay fresh.

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


def load_params(
  checkpoint: str,
  wanted: Callable[[], Mapping[str, Any]],
  vocabulary_size: int | None = None,
  zeros: Sequence[str] = (),
) -> dict[str, Any]:
  """The parameters of a model that is to be used, from any format.

  Args:
    checkpoint: See `open_weights`.
    wanted: Gives {name: shape} of the model; not asked for a checkpoint of
      ours, whose config.gin describes it already.
    vocabulary_size: See `fit`.
    zeros: See `fit_all`.

  Returns:
    Nested arrays.

  Raises:
    FileNotFoundError: As `open_weights`.
    ValueError: As `fit_all`.
  """
  if not checkpoint.startswith('hf://') and _is_ours(epath.Path(checkpoint)):
    return checkpoints.load_params(checkpoint)
  return fit_all(assemble(checkpoint), wanted(), vocabulary_size, zeros)


def _resampled(name: str, leaf: Leaf, target: tuple[int, ...]) -> Leaf:
  """The leaf, resampled if it is a position embedding of another size."""
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
      return Leaf(
        target,
        leaf.dtype,
        lambda f=function, s=side: f(leaf.load(), (s, s)),
      )
  return leaf


def _misfit(
  source: str, name: str, shape: tuple[int, ...], target: tuple[int, ...]
) -> str:
  line = (
    f'{name}: {source} has shape {list(shape)}, the model wants {list(target)}'
  )
  if name.endswith(('token_embedder/embedding', 'Embed_0/embedding')):
    line += f'; set its vocab_size to {shape[0]}'
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
    if size is None or not name.endswith(
      ('token_embedder/embedding', 'Embed_0/embedding')
    ):
      continue
    if leaf.shape[0] < size:
      raise ValueError(
        f'{name}: {source} has {leaf.shape[0]} rows, the tokenizer {size} ids; '
        'set VOCABULARY_PATH to the one it was trained with'
      )


def numbered(found: Mapping[str, Leaf]) -> dict[str, Leaf]:
  """Leaves with one name per layer, as most formats want them."""
  return scan_layout.unstack(found)
