"""Opens weights of any format under our names."""

import dataclasses
from collections.abc import Mapping

from etils import epath

from vidlm.core import runs, trees
from vidlm.interop import big_vision, huggingface, leaves, paths, t5x
from vidlm.interop.leaves import Leaf
from vidlm.nn import scan_layout
from vidlm.training import checkpoints

# Leaves by which a model without a prefix is recognised, and its place.
_MARKS = {
  'token_embedder/embedding': 'llm',
  'embedder/input_embedding': 'llm',
  'embedding/kernel': 'img',
}


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
  if is_ours(path):
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


def is_ours(path: epath.Path) -> bool:
  """Whether a path is a MODEL_DIR or a checkpoint in one."""
  if not path.is_dir():
    return False
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


def numbered(found: Mapping[str, Leaf]) -> dict[str, Leaf]:
  """Leaves with one name per layer, as most formats want them."""
  return scan_layout.unstack(found)


def has_run(path: str) -> bool:
  """Whether a model.gin, or a config.gin, belongs to a path.

  That of a folder above counts for a checkpoint of ours alone: a model of
  someone else may lie anywhere.

  Args:
    path: A folder.
  """
  try:
    found = epath.Path(runs.find(path))
  except FileNotFoundError:
    return False
  return found.parent == epath.Path(path) or is_ours(epath.Path(path))


def parse_run(path: str) -> None:
  """As `runs.parse_run`; says why weights alone are not enough.

  Args:
    path: A run, or a file or folder in one.

  Raises:
    FileNotFoundError: If nothing is there, or no model.gin and no config.gin.
    ValueError: If what is there is damaged, or a pickle.
  """
  try:
    runs.find(path)
  except FileNotFoundError:
    if not epath.Path(path).exists():
      raise
    open_weights(path)
    raise FileNotFoundError(
      f'{path}: weights without a run: nothing says which prompts and '
      'vocabulary go with them; put the model.gin of a run beside them, or '
      'start one from them (INITIAL_CHECKPOINT_PATH)'
    ) from None
  runs.parse_run(path)
