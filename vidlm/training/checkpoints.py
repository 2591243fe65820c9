"""Orbax checkpoints at MODEL_DIR/checkpoint_<step>/state.

The layout is t5x's: `{target, state: {step, param_states}}`. Nothing of the
data pipeline is kept: the order of examples is a function of the step.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from vidlm.core import files, trees
from vidlm.training import best as best_lib
from vidlm.training import fingerprints, train_state

_PREFIX = 'checkpoint'


class Checkpoints:
  """Saves without holding up the run, and finds the newest that is whole."""

  def __init__(
    self,
    model_dir: str,
    keep: int | None = 2,
    keep_best: str | None = None,
  ):
    """Opens MODEL_DIR, making it if need be.

    Leftovers of a save that was killed are removed.

    Args:
      model_dir: Where checkpoint_<step> folders go.
      keep: Newest checkpoints that stay; None keeps all.
      keep_best: Score whose best checkpoint stays too, recorded in best.json;
        None for no other than the one recorded there before.
    """
    self._dir = _absolute(model_dir)
    self._best = best_lib.Best(self._dir, keep_best, keep)
    options = ocp.CheckpointManagerOptions(
      preservation_policy=self._best,
      step_prefix=_PREFIX,
      create=True,
      enable_async_checkpointing=True,
      cleanup_tmp_directories=True,
    )
    files.make_folder(model_dir, 'MODEL_DIR')
    self._manager = ocp.CheckpointManager(self._dir, options=options)

  def steps(self) -> list[int]:
    """Finished steps, oldest first."""
    return sorted(self._manager.all_steps())

  def is_best(self, scores: Mapping[str, float]) -> bool:
    """Whether these scores beat those of every checkpoint so far."""
    return self._best.is_better(scores)

  def save(
    self,
    step: int,
    state: train_state.TrainState,
    scores: Mapping[str, float] | None = None,
  ) -> None:
    """Begins to save; errors surface here, at the next save, or in `wait`.

    Args:
      step: The state's.
      state: What to save.
      scores: This state's, if it was scored; kept with it.

    Raises:
      RuntimeError: If a newer checkpoint stands in the way.
      ValueError: If MODEL_DIR is gone.
    """
    # Made anew where a mount has vanished, it would be on another disk.
    files.check_there(self._dir, 'MODEL_DIR')
    if step in self._manager.all_steps():
      return
    self.wait()
    if scores:
      self._best.propose(step, scores)
    saved = train_state.to_state_dict(state)
    items = {
      'state': ocp.args.StandardSave(saved),
      'fingerprints': ocp.args.JsonSave(fingerprints.of(trees.flatten(saved))),
    }
    if scores:
      items[best_lib.SCORES] = ocp.args.JsonSave(best_lib.finite(scores))
    begun = self._manager.save(step, args=ocp.args.Composite(**items))
    if not begun:
      raise RuntimeError(
        f'{self._dir}: checkpoint_{step} was not saved, the folder already '
        f'holds steps {self.steps()}; move the newer ones away'
      )

  def wait(self) -> None:
    """Waits for saves under way; raises if one failed."""
    self._manager.wait_until_finished()
    self._manager.check_for_errors()
    # Only now it is whole: best.json never names what isn't there. The best one
    # before it stayed until here.
    if self._best.record():
      steps = self.steps()
      for step in set(steps) - self._best.kept(steps):
        self._manager.delete(step)

  def close(self) -> None:
    """Waits, and lets go of the folder; raises if a save failed."""
    try:
      self.wait()
    finally:
      self._manager.close()

  def restore_latest(
    self, abstract: train_state.TrainState
  ) -> train_state.TrainState | None:
    """Reads the newest checkpoint that is whole and fits.

    Those after it are renamed to damaged_checkpoint_<step>, so that their
    steps can be saved again.

    Args:
      abstract: Shapes, types and shardings wanted; the number of devices may
        differ from when it was saved.

    Returns:
      The state, or None if there is no checkpoint.

    Raises:
      ValueError: If there are checkpoints and none can be read; says what is
        wrong with the newest.
    """
    state = self._newest(abstract)
    self._best.look(self.steps())
    return state

  def _newest(
    self, abstract: train_state.TrainState
  ) -> train_state.TrainState | None:
    steps = self.steps()
    errors: dict[int, Exception] = {}
    for step in reversed(steps):
      try:
        state = self._restore(step, abstract)
      except Exception as error:  # damage shows as many types of error
        errors[step] = error
        logging.warning(
          '%s/checkpoint_%d is damaged or of another model, trying the one '
          'before: %s',
          self._dir,
          step,
          _short(error),
        )
        continue
      self._set_aside(list(errors))
      return state
    if errors:
      raise ValueError(
        f'{self._dir}: none of the checkpoints {steps} can be read into this '
        f'run; the newest: {_short(errors[steps[-1]])}; choose another '
        'MODEL_DIR, or undo what changed since'
      ) from errors[steps[-1]]
    return None

  def _restore(
    self, step: int, abstract: train_state.TrainState
  ) -> train_state.TrainState:
    wanted = train_state.to_state_dict(abstract)
    folder = epath.Path(self._dir) / f'{_PREFIX}_{step}'
    _check_same(_metadata(folder / 'state'), wanted)
    saved = self._manager.restore(
      step, args=ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
    )['state']
    _verify(trees.flatten(saved), folder)
    state = train_state.from_state_dict(saved, abstract)
    if int(state.step) != step:
      raise ValueError(f'holds step {int(state.step)}, not {step}')
    logging.info('restored %s/checkpoint_%d', self._dir, step)
    return state

  def _set_aside(self, steps: Sequence[int]) -> None:
    if not steps:
      return
    for step in steps if jax.process_index() == 0 else ():
      old = epath.Path(self._dir) / f'{_PREFIX}_{step}'
      new, count = old.parent / f'damaged_{old.name}', 1
      while new.exists():
        count += 1
        new = old.parent / f'damaged_{old.name}.{count}'
      old.rename(new)
    if jax.process_count() > 1:
      from jax.experimental import multihost_utils

      multihost_utils.sync_global_devices('checkpoints_set_aside')
    self._manager.reload()


def _absolute(path: str) -> str:
  return path if '://' in path else os.path.abspath(path)


def _metadata(folder: epath.Path) -> dict[str, Any]:
  """{name: shape and dtype} of a saved state, without reading values."""
  reader = ocp.PyTreeCheckpointHandler()
  try:
    return trees.flatten(reader.metadata(folder).tree)
  finally:
    reader.close()


def _check_same(saved: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
  """Raises ValueError at the first leaf in which a checkpoint differs."""
  wanted = trees.flatten(wanted)
  names = saved.keys() | wanted.keys()
  # Parameters first: what differs in them shows in the optimizer state too.
  for name in sorted(names, key=lambda n: (not n.startswith('target/'), n)):
    if name not in saved:
      raise ValueError(f'lacks {name}; has the model or SCHEDULE changed?')
    if name not in wanted:
      raise ValueError(f'also holds {name}; has the model or SCHEDULE changed?')
    old, new = saved[name], wanted[name]
    if (tuple(old.shape), old.dtype) != (tuple(new.shape), new.dtype):
      raise ValueError(
        f'{name} is {old.dtype}{list(old.shape)}, this run wants '
        f'{new.dtype}{list(new.shape)}; has the model or SCHEDULE changed?'
      )


def _verify(arrays: Mapping[str, Any], folder: epath.Path) -> None:
  """Raises ValueError if values are not those that were saved."""
  path = folder / 'fingerprints' / 'metadata'
  if not path.exists():  # another program's checkpoint
    return
  expected = json.loads(path.read_text())
  for name, value in fingerprints.of(arrays).items():
    if expected.get(name) != value:
      raise ValueError(f'the bytes of {name} are not those that were saved')


def _short(error: Exception) -> str:
  return ' '.join(str(error).split())[:300]


def find(path: str) -> epath.Path:
  """The `state` folder of a MODEL_DIR (its newest), or of a checkpoint in it.

  Raises:
    FileNotFoundError: If there is no finished checkpoint.
  """
  return _find_all(path)[0]


def finished(model_dir: str) -> list[int]:
  """Steps whose checkpoint is whole, oldest first; none where there is none."""
  folder = epath.Path(_absolute(model_dir))
  steps = []
  if folder.is_dir():
    for child in folder.iterdir():
      match = re.fullmatch(rf'{_PREFIX}_(\d+)', child.name)
      if match and (child / 'state').exists():
        steps.append(int(match[1]))
  return sorted(steps)


def _find_all(path: str) -> list[epath.Path]:
  """The `state` folders that `path` may mean, newest first."""
  folder = epath.Path(_absolute(path))
  if folder.name == 'state' and folder.exists():
    return [folder]
  if (folder / 'state').exists():
    return [folder / 'state']
  steps = finished(path)
  if not steps:
    raise FileNotFoundError(
      f'{path}: no finished checkpoint here; give a MODEL_DIR or a '
      'checkpoint_<step> folder'
    )
  return [folder / f'{_PREFIX}_{step}' / 'state' for step in reversed(steps)]


def load_params(path: str) -> dict[str, Any]:
  """Reads the parameters of a checkpoint as nested numpy arrays; see `load`."""
  return load(path)[1]


def load(path: str) -> tuple[str, dict[str, Any]]:
  """Reads the parameters of a checkpoint, and says which it is.

  Args:
    path: A MODEL_DIR (its newest checkpoint that is whole, as training would
      go on from), or a checkpoint in it (that one or none).

  Returns:
    The folder of the checkpoint, and nested numpy arrays.

  Raises:
    FileNotFoundError: If there is no finished checkpoint.
    ValueError: If none can be read; says what is wrong with the newest.
  """
  folders = _find_all(path)
  errors: list[Exception] = []
  for folder in folders:
    try:
      return os.fspath(folder.parent), _read_params(folder)
    except Exception as error:  # damage shows as many types of error
      errors.append(error)
      if folder != folders[-1]:
        logging.warning(
          '%s is damaged or of another kind, trying the one before: %s',
          folder.parent,
          _short(error),
        )
  raise ValueError(
    f'{folders[0]}: the checkpoint is damaged or of another kind: '
    f'{_short(errors[0])}'
  ) from errors[0]


def _read_params(folder: epath.Path) -> dict[str, Any]:
  with ocp.PyTreeCheckpointer() as reader:
    # No optimizer state is read.
    item = trees.unflatten(
      {
        name: leaf
        for name, leaf in _metadata(folder).items()
        if name.startswith('target/')
      }
    )
    args = jax.tree.map(
      lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item
    )
    saved = reader.restore(
      folder,
      args=ocp.args.PyTreeRestore(
        item=item, restore_args=args, partial_restore=True
      ),
    )
  _verify(trees.flatten(saved), folder.parent)
  return saved['target']


def fit_params(
  params: Mapping[str, Any],
  wanted: Mapping[str, Any],
) -> tuple[dict[str, Any], list[str], list[str]]:
  """Chooses from loaded parameters those that a model wants.

  Args:
    params: Nested arrays as loaded.
    wanted: {name: array or shape} of the model.

  Returns:
    {name: array} of those that fit, the names that were dropped, and the names
    that stay fresh.

  Raises:
    ValueError: If a name is in both with another shape, or nothing fits.
  """
  flat = trees.flatten(params)
  for name in sorted(flat.keys() & wanted.keys()):
    if tuple(flat[name].shape) != tuple(wanted[name].shape):
      raise ValueError(
        f'{name}: the checkpoint has shape {tuple(flat[name].shape)}, the '
        f'model {tuple(wanted[name].shape)}'
      )
  kept = {name: flat[name] for name in wanted if name in flat}
  if not kept:
    raise ValueError(
      'the checkpoint shares no parameter with the model; it has '
      f'{_some(flat)}, the model {_some(wanted)}'
    )
  return (
    kept,
    sorted(flat.keys() - wanted.keys()),
    sorted(wanted.keys() - flat.keys()),
  )


def _some(names: Mapping[str, Any] | Sequence[str]) -> str:
  return ', '.join(sorted(names)[:3]) + ' ...'
