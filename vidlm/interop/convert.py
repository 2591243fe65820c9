"""`vidlm convert`: weights from one layout to another, with a card.

A target appears whole or not at all. Beside weights for Hugging Face's classes
lie the run's model.gin and vocabulary, so that `--checkpoint=TARGET` works, and
its config.gin.
"""

import dataclasses
import re
from collections.abc import Callable

import numpy as np
from etils import epath

from vidlm.core import files, launch, runs
from vidlm.interop import (
  big_vision,
  card,
  clip_gin,
  clip_names,
  described,
  export,
  huggingface,
  leaves,
  paligemma_gin,
  paths,
  registry,
  t5x,
  weights,
)
from vidlm.interop.leaves import Leaf
from vidlm.nn import scan_layout
from vidlm.training import checkpoints, train_state

FORMATS = ('huggingface', 'big_vision', 't5x', 'checkpoint')
# Of config.gin, for the card.
_RECIPE = (
  'TRAIN_STEPS',
  'BATCH_SIZE',
  'NUM_FRAMES',
  'IMAGE_SIZE',
  'SCHEDULE',
  'OPTIMIZER',
  'INITIAL_CHECKPOINT_PATH',
  'RANDOM_SEED',
)
# What transformers wants beside weights, and what reads prompts here.
_PROCESSOR = (
  paligemma_gin.TOKENIZER,
  'tokenizer.model',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'preprocessor_config.json',
  'processor_config.json',
  'generation_config.json',
)
_TEMPORAL = 'img/temporal_embedding'
# Behind the name of a single file; a folder has README.md.
_CARD = '.md'


def convert(
  source: str,
  target: str,
  *,
  format: str | None = None,
  license: str = '',
  shard_bytes: int = huggingface.SHARD_BYTES,
) -> str:
  """Reads weights of any known layout and writes them in another.

  Args:
    source: What `weights.open_weights` reads, or several as 'img=A,llm=B'.
    target: A folder that is not there yet; a file for big_vision.
    format: One of `FORMATS`; by default what the target's name says.
    license: For the card.
    shard_bytes: Where a new safetensors file begins.

  Returns:
    What was done, as text.

  Raises:
    FileExistsError: If the target is there already.
    FileNotFoundError: If the source isn't.
    ValueError: If the source is damaged, or the format can't hold it.
  """
  format = format or (
    'big_vision' if target.endswith('.npz') else 'huggingface'
  )
  if format not in FORMATS:
    raise ValueError(f'--format={format}: choose one of {", ".join(FORMATS)}')
  if target.startswith('hf://'):
    raise ValueError(
      f'{target}: convert writes files; give a folder, and upload that'
    )
  if epath.Path(target).exists():
    raise FileExistsError(f'{target} is there already; choose another name')
  if format == 'big_vision':
    if not target.endswith('.npz'):
      raise ValueError(f'{target}: a big_vision target is a file, X.npz')
    if epath.Path(target + _CARD).exists():
      raise FileExistsError(f'{target}{_CARD} is there already, its card')
  opened = weights.assemble(source)
  run = _Run(source)
  ours = weights.numbered(opened.leaves)
  facts = card.Facts(
    name=target.rstrip('/').rpartition('/')[2],
    source=source,
    license=license,
    step=run.step,
    parameters=sum(int(np.prod(leaf.shape)) for leaf in ours.values()),
    recipe=run.recipe(),
    data=run.data(),
    scores=card.find_scores(run.folder) if run.folder else (),
  )
  if format == 'big_vision':
    big_vision.write(target, ours)
    files.write_text(target + _CARD, card.text(facts))
  else:
    whole = {
      'huggingface': lambda folder: _huggingface(
        folder, ours, run, shard_bytes
      ),
      't5x': lambda folder: t5x.write(folder, ours, run.step or 0),
      'checkpoint': lambda folder: _checkpoint(folder, opened.leaves, run),
    }
    _whole(epath.Path(target), whole[format], facts)
  lines = [f'{target}: {len(ours)} parameters as {format}']
  if opened.left:
    lines.append(
      f'left behind ({len(opened.left)}): {", ".join(opened.left[:5])}'
      + (' ...' if len(opened.left) > 5 else '')
    )
  return '\n'.join(lines)


class _Run:
  """What lies beside a source: its configuration, vocabulary and step."""

  def __init__(self, source: str):
    path, self.subtree = paths.split_subtree(source)
    self.folder: epath.Path | None = None
    self.step: int | None = None
    self.path = path
    if '' not in weights.parts(source):
      return
    self.path = paths.local(path)
    if weights.has_run(self.path):
      self.folder = epath.Path(runs.find(self.path)).parent
    if weights.is_ours(epath.Path(self.path)):
      name = checkpoints.find(self.path).parent.name
      found = re.fullmatch(r'checkpoint_(\d+)', name)
      self.step = int(found[1]) if found else None

  def text(self) -> str:
    """config.gin, or nothing."""
    path = self.folder / runs.CONFIG if self.folder else None
    return path.read_text() if path and path.exists() else ''

  def recipe(self) -> dict[str, str]:
    """Macros of config.gin as they stand there."""
    found = {}
    for name in _RECIPE:
      match = re.search(
        rf'^{name} = (.*\n(?:[ \t].*\n)*)', self.text(), re.MULTILINE
      )
      if match:
        value = ' '.join(match[1].replace('\\\n', ' ').split())
        found[name] = value.replace('|', '\\|')
    return found

  def data(self) -> list[str]:
    """The tasks' clip sets and texts, as config.gin names them."""
    found = re.findall(
      r'^([\w/.]*)ClipTask\.(clips|texts) = (\S+)', self.text(), re.MULTILINE
    )
    return [
      f'{scope.split("/")[0] + ": " if "/" in scope else ""}{what} {value}'
      for scope, what, value in found
      if value not in ("''", '%CAPTIONS', '%CLIPS')
    ] + [
      f'{name.lower()} {value}'
      for name, value in re.findall(
        r"^(CLIPS|CAPTIONS) = ('.+')", self.text(), re.MULTILINE
      )
    ]

  def describe(self, ours: dict[str, Leaf]) -> described.Description:
    """By the run's model, else config.json, else shapes."""
    if self.folder is not None:
      with launch.isolated_gin():
        runs.parse_run(self.path)
        model = launch.macro('MODEL').model
        frames = launch.macro('NUM_FRAMES')
      whole = described.of_model(model, frames)
      if not self.subtree:
        return whole
      if self.subtree in ('img', 'llm') and whole.clip is None:
        part = {self.subtree: getattr(whole, self.subtree)}
        return described.Description(**part)
    config = epath.Path(self.path) / huggingface.CONFIG
    if not self.subtree and config.exists():
      found = huggingface.read_config(config.parent)
      if 'parts' not in found:
        return registry.family(found, self.path).describe(found)
    return described.of_leaves(ours)


def _whole(
  target: epath.Path,
  write: Callable[[epath.Path], list[str] | None],
  facts: card.Facts,
) -> None:
  """Writes a folder beside the target and moves it there when it is done."""
  with files.partial_folder(target) as partial:
    extra = write(epath.Path(partial))
    facts = dataclasses.replace(facts, extra=extra or ())
    files.write_text(partial / 'README.md', card.text(facts))


def _huggingface(
  folder: epath.Path, ours: dict[str, Leaf], run: _Run, shard_bytes: int
) -> list[str]:
  extra = export.write_huggingface(
    folder, ours, run.describe(ours), shard_bytes
  )
  _copy_run(folder, run)
  if run.folder is None and not run.subtree:
    for name in _PROCESSOR:
      _copy(epath.Path(run.path) / name, folder / name)
  return extra


def _copy_run(folder: epath.Path, run: _Run) -> None:
  if run.folder is None or run.subtree:
    return
  beside = [run.folder / runs.CONFIG, *run.folder.glob(f'{runs.VOCABULARY}*')]
  for path in beside:
    _copy(path, folder / path.name)
  files.write_text(folder / runs.MODEL, runs.read_model(run.path))


def _copy(source: epath.Path, target: epath.Path) -> None:
  if source.exists():
    files.write_bytes(target, source.read_bytes())


def _checkpoint(
  folder: epath.Path, found: dict[str, Leaf], run: _Run
) -> list[str]:
  """A MODEL_DIR with one checkpoint; layers as the run has them, or stacked."""
  if run.folder is None:
    shape = _clip_shape(found, run)
    _write_paligemma_run(folder, found, run)
    found = scan_layout.stack(found, leaves.join)
    if shape is not None:
      # A CLIP is a whole model of one frame: what scores it needs no more.
      found.setdefault(_TEMPORAL, _no_time(found))
      model = runs.made_of(clip_gin.text(shape))
      files.write_text(folder / runs.MODEL, model)
  flat = {name: np.asarray(leaf) for name, leaf in found.items()}
  state = train_state.TrainState(
    np.asarray(run.step or 0, np.int32), flat, {}, ()
  )
  saver = checkpoints.Checkpoints(str(folder), keep=None)
  saver.save(run.step or 0, state)
  saver.close()
  _copy_run(folder, run)
  return []


def _write_paligemma_run(
  folder: epath.Path, found: dict[str, Leaf], run: _Run
) -> None:
  if 'llm/embedder/input_embedding' not in found or run.subtree:
    return
  whole = run.describe(weights.numbered(found))
  if not paligemma_gin.is_paligemma(whole):
    return
  tokenizer = epath.Path(run.path) / paligemma_gin.TOKENIZER
  copy = folder / f'{runs.VOCABULARY}.json'
  _copy(tokenizer, copy)
  text = paligemma_gin.text(whole)
  model = runs.made_of(text, copy.name if copy.exists() else None)
  files.write_text(folder / runs.MODEL, model)


def _clip_shape(found: dict[str, Leaf], run: _Run) -> clip_names.Shape | None:
  numbered = weights.numbered(found)
  if 'txt/Embed_0/embedding' not in numbered:
    return None
  return run.describe(numbered).clip


def _no_time(found: dict[str, Leaf]) -> Leaf:
  width = found['img/cls'].shape[2]
  return leaves.from_array(np.zeros((1, 1, width), np.float32))
