"""Orbax checkpoints at MODEL_DIR/checkpoint_<step>/state.

The layout is t5x's: `{target, state: {step, param_states}}`. Nothing of the
data pipeline is kept: the order of examples is a function of the step.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from vidlm.core import train_state, trees

_PREFIX = 'checkpoint'


class Checkpoints:
  """Saves without holding up the run, and finds the newest that is whole."""

  def __init__(self, model_dir: str, keep: int = 2):
    """Opens MODEL_DIR, making it if need be.

    Args:
      model_dir: Where checkpoint_<step> folders go.
      keep: Newest checkpoints that stay.
    """
    self._dir = os.path.abspath(model_dir) if '://' not in model_dir else (
      model_dir
    )
    options = ocp.CheckpointManagerOptions(
      max_to_keep=keep, step_prefix=_PREFIX, create=True,
      enable_async_checkpointing=True, cleanup_tmp_directories=True,
    )
    self._manager = ocp.CheckpointManager(
      self._dir, options=options, item_names=('state',)
    )

  def steps(self) -> list[int]:
    """Finished steps, oldest first."""
    return sorted(self._manager.all_steps())

  def save(self, step: int, state: train_state.TrainState) -> None:
    """Begins to save; errors surface here or in `wait`."""
    if step in self._manager.all_steps():
      return
    self._manager.save(step, args=ocp.args.Composite(
      state=ocp.args.StandardSave(train_state.to_state_dict(state))
    ))

  def wait(self) -> None:
    """Waits for saves under way; raises if one failed."""
    self._manager.wait_until_finished()
    self._manager.check_for_errors()

  def close(self) -> None:
    """Waits, and lets go of the folder."""
    self.wait()
    self._manager.close()

  def restore_latest(
    self, abstract: train_state.TrainState
  ) -> train_state.TrainState | None:
    """Reads the newest checkpoint that can be read.

    Args:
      abstract: Shapes, types and shardings wanted.

    Returns:
      The state, or None if there is no checkpoint.

    Raises:
      ValueError: If there are checkpoints and none can be read.
    """
    steps = self.steps()
    for step in reversed(steps):
      try:
        return self._restore(step, abstract)
      except Exception as error:  # damage shows as many types of error
        logging.warning(
          '%s/checkpoint_%d is damaged or of another model, trying the one '
          'before: %s', self._dir, step, ' '.join(str(error).split())[:300],
        )
        damaged = error
    if steps:
      raise ValueError(
        f'{self._dir}: none of the checkpoints {steps} can be read into this '
        'model; choose another MODEL_DIR or delete them'
      ) from damaged
    return None

  def _restore(
    self, step: int, abstract: train_state.TrainState
  ) -> train_state.TrainState:
    wanted = train_state.to_state_dict(abstract)
    saved = self._manager.restore(step, args=ocp.args.Composite(
      state=ocp.args.StandardRestore(wanted)
    ))['state']
    state = train_state.from_state_dict(saved, abstract)
    if int(state.step) != step:
      raise ValueError(f'holds step {int(state.step)}, not {step}')
    logging.info('restored %s/checkpoint_%d', self._dir, step)
    return state


def find(path: str) -> epath.Path:
  """The `state` folder of a MODEL_DIR (its newest), or of a checkpoint in it.

  Raises:
    FileNotFoundError: If there is no finished checkpoint.
  """
  folder = epath.Path(path)
  if folder.name == 'state' and folder.exists():
    return folder
  if (folder / 'state').exists():
    return folder / 'state'
  steps = []
  if folder.exists():
    for child in folder.iterdir():
      match = re.fullmatch(rf'{_PREFIX}_(\d+)', child.name)
      if match and (child / 'state').exists():
        steps.append(int(match[1]))
  if not steps:
    raise FileNotFoundError(
      f'{path}: no finished checkpoint here; give a MODEL_DIR or a '
      'checkpoint_<step> folder'
    )
  return folder / f'{_PREFIX}_{max(steps)}' / 'state'


def load_params(path: str) -> dict[str, Any]:
  """Reads the parameters of a checkpoint as nested numpy arrays.

  Args:
    path: A MODEL_DIR (its newest checkpoint), or a checkpoint in it.

  Raises:
    FileNotFoundError: If there is no finished checkpoint.
    ValueError: If it can't be read.
  """
  folder = find(path)
  try:
    with ocp.PyTreeCheckpointer() as reader:
      tree = reader.metadata(folder).item_metadata.tree
      args = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree
      )
      saved = reader.restore(
        folder, args=ocp.args.PyTreeRestore(item=tree, restore_args=args)
      )
  except Exception as error:
    raise ValueError(
      f'{folder}: the checkpoint is damaged or of another kind: '
      f'{" ".join(str(error).split())[:300]}'
    ) from error
  return saved['target']


def fit_params(
  params: Mapping[str, Any], wanted: Mapping[str, Any],
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
  return kept, sorted(flat.keys() - wanted.keys()), sorted(
    wanted.keys() - flat.keys()
  )


def _some(names: Mapping[str, Any] | Sequence[str]) -> str:
  return ', '.join(sorted(names)[:3]) + ' ...'
