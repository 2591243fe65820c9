"""Weights of big_vision: .npz files of arrays with `/`-joined names.

Source: google-research/big_vision, `utils.load_params`, `utils.recover_dtype`
and `models/vit.fix_old_checkpoints` (behaviour matched). Names are ours but
for the root; bfloat16 is stored as two opaque bytes.
"""

import re
import zipfile
from collections.abc import Mapping

import ml_dtypes
import numpy as np
from etils import epath

from vidlm.core import files
from vidlm.interop import leaves as leaves_lib
from vidlm.interop.leaves import Leaf
from vidlm.nn import scan_layout

# Parameters lie under one of these, or at the top.
_ROOTS = ('params/', 'opt/target/')
# Blocks of the first ViTs counted all modules together.
_OLD_BLOCK = {
  'MultiHeadDotProductAttention_1': 'MultiHeadDotProductAttention_0',
  'LayerNorm_2': 'LayerNorm_1',
  'MlpBlock_3': 'MlpBlock_0',
}
# A Gemma that is not scanned has layers/0; here they are called as T5's.
_GEMMA_LAYER = re.compile(r'^((?:llm/)?)layers/(\d+)/')
_GEMMA = re.compile(r'((?:llm/)?)embedder/input_embedding')
# Parts of a pooling head that once stood at the top of a tower.
_INLINED = ('MlpBlock_0', 'MultiHeadDotProductAttention_0', 'LayerNorm_0')


def read(path: epath.PathLike) -> dict[str, Leaf]:
  """Opens a file; arrays are read, and their checksums checked, when asked for.

  Args:
    path: Local or gs://.

  Returns:
    {our name: leaf}.

  Raises:
    ValueError: If it is damaged or holds pickled objects.
  """
  path = epath.Path(path)
  found = {}
  try:
    with path.open('rb') as file, zipfile.ZipFile(file) as archive:
      for member in archive.namelist():
        if member.endswith('.npy'):
          found[member.removesuffix('.npy')] = _open(path, archive, member)
  except (zipfile.BadZipFile, EOFError, OSError, KeyError) as error:
    raise ValueError(f'{path}: cut off or damaged: {error}') from error
  if not found:
    raise ValueError(f'{path}: no NumPy archive, it holds no .npy')
  for root in _ROOTS:
    if any(name.startswith(root) for name in found):
      found = {
        name.removeprefix(root): leaf
        for name, leaf in found.items()
        if name.startswith(root)
      }
      break
  return modern(found)


def _open(path: epath.Path, archive: zipfile.ZipFile, member: str) -> Leaf:
  with archive.open(member) as stream:
    try:
      version = np.lib.format.read_magic(stream)
      read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
      }[version]
      shape, _, dtype = read_header(stream)
    except (ValueError, KeyError) as error:
      raise ValueError(f'{path}: {member} is damaged: {error}') from error
  if dtype.hasobject:
    raise ValueError(
      f'{path}: {member} is a pickle, which can run any code and is not read'
    )

  def load() -> np.ndarray:
    try:
      with (
        path.open('rb') as file,
        zipfile.ZipFile(file) as opened,
        opened.open(member) as stream,
      ):
        value = np.lib.format.read_array(stream, allow_pickle=False)
    except (zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
      raise ValueError(f'{path}: {member} is damaged: {error}') from error
    return value.view(ml_dtypes.bfloat16) if _opaque(value.dtype) else value

  real = np.dtype(ml_dtypes.bfloat16) if _opaque(dtype) else dtype
  return leaves_lib.checked(shape, real, load, f'{path}: {member}')


def _opaque(dtype: np.dtype) -> bool:
  return dtype.kind == 'V' and dtype.itemsize == 2 and dtype.names is None


def modern(found: Mapping[str, Leaf]) -> dict[str, Leaf]:
  """Brings checkpoints of older code to the names and layout of today.

  Args:
    found: {name: leaf}, perhaps of old ViTs.

  Returns:
    {name: leaf}: positions at the top of a tower, blocks numbered as now, the
    pooling head in a module of its own, and the position of the class token
    added to it.
  """
  renamed = {}
  for name, leaf in found.items():
    name = name.replace('Transformer/posembed_input/pos_', 'pos_')
    name = _GEMMA_LAYER.sub(r'\1layers_\2/', name)
    parts = [
      _OLD_BLOCK.get(p, p) if 'encoderblock' in name else p
      for p in name.split('/')
    ]
    renamed['/'.join(parts)] = leaf
  for name in list(renamed):
    tower, _, last = name.rpartition('/')
    prefix = f'{tower}/' if tower else ''
    if last == 'probe' and not tower.endswith('MAPHead_0'):
      _move_head(renamed, prefix)
    elif last == 'cls' and f'{prefix}ln_pre/scale' not in renamed:
      _split_class_token(renamed, prefix)
  return renamed


def _move_head(flat: dict[str, Leaf], prefix: str) -> None:
  pattern = re.compile(
    re.escape(prefix) + rf'(probe|({"|".join(_INLINED)})/.*)'
  )
  for name in list(flat):
    match = pattern.fullmatch(name)
    if match:
      flat[f'{prefix}MAPHead_0/{match[1]}'] = flat.pop(name)


def _split_class_token(flat: dict[str, Leaf], prefix: str) -> None:
  """Adds the class token's position to it; CLIP's towers keep the two."""
  cls = flat[f'{prefix}cls']
  table = flat.get(f'{prefix}pos_embedding')
  if (
    table is None
    or round((table.shape[1] - 1) ** 0.5) ** 2 + 1 != (table.shape[1])
  ):
    return
  flat[f'{prefix}cls'] = Leaf(
    cls.shape, cls.dtype, lambda: cls.load() + table.load()[:, :1]
  )
  flat[f'{prefix}pos_embedding'] = table.then(lambda x: x[:, 1:])


def write(path: epath.PathLike, ours: Mapping[str, Leaf]) -> None:
  """Writes a file that big_vision's `load_params` reads; whole or not at all.

  Args:
    path: Where to, ending in .npz.
    ours: {name: leaf}, layers numbered. Those of a PaliGemma or Gemma are
      stacked, as big_vision publishes them: its reader does not do it.
  """
  if any(_GEMMA.fullmatch(name) for name in ours):
    ours = scan_layout.stack(ours, leaves_lib.join)
  files.make_folder(epath.Path(path).parent)
  with (
    files.writer(path, sole=True) as file,
    zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED, allowZip64=True) as archive,
  ):
    for name, leaf in sorted(ours.items()):
      # A fixed date: the same weights make the same bytes.
      member = zipfile.ZipInfo(f'params/{name}.npy')
      value = np.ascontiguousarray(leaf.load())
      if value.dtype == ml_dtypes.bfloat16:
        value = value.view('V2')
      with archive.open(member, 'w', force_zip64=True) as stream:
        np.lib.format.write_array(stream, value, allow_pickle=False)
