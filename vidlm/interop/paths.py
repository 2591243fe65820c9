"""Where weights are: local folders, `hf://owner/name`, `gs://bucket/folder`."""

import io
import pathlib
import re
import zipfile

from etils import epath

_HUB = re.compile(
  r'hf://(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?(/(?P<sub>.*))?'
)
# What a model needs of a repository: no pickles, no other frameworks' copies.
_WEIGHTS = ('*.safetensors', '*.npz')
_WANTED = ('*.json', '*.model', '*.gin', *_WEIGHTS)
_PICKLES = ('.bin', '.pt', '.pth', '.ckpt', '.pkl', '.pickle')


def split_subtree(spec: str) -> tuple[str, str]:
  """Splits big_vision's `file.npz:img` into path and subtree.

  Args:
    spec: A path, with or without `:subtree` after its last slash.

  Returns:
    The path, and the subtree, '' for all.
  """
  head, slash, last = spec.rpartition('/')
  name, colon, subtree = last.partition(':')
  if colon:
    return head + slash + name, subtree.strip('/')
  # `file.npz:img/head`: the subtree has slashes of its own.
  match = re.match(r'(.*\.(?:npz|safetensors)):(.+)', spec)
  return (match[1], match[2].strip('/')) if match else (spec, '')


def local(path: str) -> str:
  """Returns a path that can be read: what is on the hub is fetched first.

  Args:
    path: Local, gs:// or hf://owner/name[@revision][/folder].

  Returns:
    The path, or where the repository's files are now.

  Raises:
    ValueError: If the hub can't be asked, or has no such repository, or that
      has no weights but pickles.
  """
  if not path.startswith('hf://'):
    return path
  match = _HUB.fullmatch(path.rstrip('/'))
  if match is None:
    raise ValueError(f'{path}: write hf://owner/name, as in hf://google/t5-xl')
  try:
    import huggingface_hub
  except ImportError as error:
    raise ValueError(
      f"{path}: needs the hub's client, pip install 'vidlm[hub]'"
    ) from error
  try:
    folder = huggingface_hub.snapshot_download(
      match['repo'], revision=match['revision'], allow_patterns=list(_WANTED)
    )
  except Exception as error:  # its own, requests', httpx': all one to a user
    reason = ' '.join(str(error).split())[:200]
    raise ValueError(f'{path}: could not be fetched: {reason}') from error
  if not any(any(pathlib.Path(folder).rglob(w)) for w in _WEIGHTS):
    raise ValueError(
      f'{path}: has no {" or ".join(_WEIGHTS)}; if it has a pickle, fetch that '
      'yourself: giving its path here names the command that converts it'
    )
  return f'{folder}/{match["sub"]}' if match['sub'] else folder


def refuse_pickle(path: epath.PathLike) -> None:
  """Raises ValueError if a file is a pickle, with the command that converts.

  Unpickling runs what the file says; nothing here does it.

  Args:
    path: A file.
  """
  path = epath.Path(path)
  with path.open('rb') as file:
    start = file.read(4)
  loader = ''
  if start.startswith(b'PK'):
    try:
      with path.open('rb') as file, zipfile.ZipFile(file) as archive:
        names = [name.rpartition('/')[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, io.UnsupportedOperation):
      names = []
    if 'constants.pkl' in names:  # TorchScript, as OpenAI's CLIP
      loader = "torch.jit.load(f, 'cpu').state_dict()"
    elif 'data.pkl' in names:
      loader = "torch.load(f, 'cpu', weights_only=True)"
  elif start[:1] == b'\x80' and (start[1:2] <= b'\x05'):
    loader = "torch.load(f, 'cpu', weights_only=True)"
  if not loader:
    if path.suffix not in _PICKLES:
      return
    loader = "torch.load(f, 'cpu', weights_only=True)"
  # Hugging Face's come in shards: one command for all.
  files = f"['{path.name}']"
  if path.match('pytorch_model*.bin'):
    files = "glob.glob('pytorch_model*.bin')"
  raise ValueError(
    f'{path} is a pickle, which can run any code and is not read here; '
    'convert it where you trust it, in its folder: python -c "import glob, '
    'torch, safetensors.torch as s; [s.save_file({k: v.clone().contiguous() '
    f"for k, v in {loader}.items()}}, f.rpartition('.')[0] + '.safetensors') "
    f'for f in {files}]"'
  )


def pickles(folder: epath.PathLike) -> list[epath.Path]:
  """Returns files in a folder whose names are those of pickles."""
  return sorted(
    child for child in epath.Path(folder).iterdir() if child.suffix in _PICKLES
  )
