"""A MODEL_DIR that holds a run: whether another may go on there."""

import dataclasses
import os
import re
from collections.abc import Sequence
from typing import Any

import gin
from absl import logging

from vidlm.core import gin_meaning, gin_text, old_gin, run_files, runs

ALLOW = 'changed_config'
_TRAIN = 'vidlm.train.train'
# Their value may change: steps; places, whose content is compared instead.
_SYMBOLS = ('TRAIN_STEPS', 'MODEL_DIR', 'DATA_DIR', 'VOCABULARY_PATH')
# What a run may change and stay the same run: how long, how often, on what, and
# what is scored. Nothing of it decides what a step computes.
_MAY_CHANGE = re.compile(
  r'model_dir|train_steps|skip_steps|trial_steps|allow|mesh.*|num_microbatches|peak_flops'
  r'|log_period|eval_period|eval_steps|checkpoint_cfg.*|infer_evaluator.*'
  r'|(train|infer)_eval_dataset_cfg.*'
  r'|.*\.(remat_policy|cache_mib|allow_missing)'
)
_PATHS = re.compile(r'.*[._](path|dir)')
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Run:
  """The run that is asked for.

  Attributes:
    model_dir: Its folder.
    data: A line a set that it trains on, with a digest.
    allow_changed: Go on in a folder whose run was another.
  """

  model_dir: str
  data: Sequence[str] = ()
  allow_changed: bool = False

  def check(self, steps: Sequence[int]) -> None:
    """Refuses a folder that holds another run; nothing is written.

    Args:
      steps: Its finished checkpoints.

    Raises:
      ValueError: If it does, with what differs.
    """
    from etils import epath

    config = epath.Path(self.model_dir) / runs.CONFIG
    if not steps or not config.exists():
      return
    changes, free = self._changes(config)
    if free:
      logging.info('%s goes on with %s', self.model_dir, '; '.join(free))
    if not changes:
      return
    shown = '; '.join(changes[:_SHOWN])
    if len(changes) > _SHOWN:
      shown += f'; and {len(changes) - _SHOWN} more'
    if self.allow_changed:
      logging.warning('%s goes on, changed: %s', self.model_dir, shown)
      return
    raise ValueError(
      f'MODEL_DIR={self.model_dir} holds another run ({shown}), at step '
      f'{max(steps)}; choose another MODEL_DIR, undo what changed, or go on '
      f'with it by --allow={ALLOW}'
    )

  def _changes(self, config: Any) -> tuple[list[str], list[str]]:
    """What differs, and what differs but may."""
    text = config.read_text()
    try:
      before = _meaning(old_gin.current(text))
    except Exception as error:  # no gin, or a module of then that fails today
      return [f'its {config.name} cannot be read: {error}'], []
    now = _meaning(gin.config_str())
    if before is None or now is None:  # another program's, or none
      return [], []
    changes, free = [], []
    for one in gin_meaning.differences(before, now):
      if _MAY_CHANGE.fullmatch(one.path) or _is_same_path(one):
        free.append(str(one))
      elif str(one) not in changes:
        changes.append(str(one))
    data = [
      x[len(runs.DATA) :] for x in text.splitlines() if x.startswith(runs.DATA)
    ]
    if data and self.data and sorted(data) != sorted(self.data):
      old, new = set(data), set(self.data)
      said = [', '.join(sorted(x)) or 'none' for x in (old - new, new - old)]
      changes.append(f'data: {said[0]} -> {said[1]}')
    return changes + _vocabulary_changes(config.parent), free


def _meaning(text: str) -> dict[str, Any] | None:
  return gin_meaning.of(gin_text.parse(text), _TRAIN, _SYMBOLS)


def _is_same_path(one: gin_meaning.Difference) -> bool:
  """Whether two names are of one place."""
  if not _PATHS.fullmatch(one.path):
    return False
  paths = [one.old, one.new]
  return all(isinstance(x, str) for x in paths) and (
    os.path.realpath(one.old) == os.path.realpath(one.new)
  )


def _vocabulary_changes(folder: Any) -> list[str]:
  """Whether the vocabulary of now is not that beside the checkpoints."""
  from etils import epath

  path = runs.vocabulary_path()
  copy = run_files.own_vocabulary(folder)
  if not path or copy is None or not epath.Path(path).is_file():
    return []
  if epath.Path(path).read_bytes() == copy.read_bytes():
    return []
  return [f'vocabulary: {path} is not the {copy.name} it was trained with']
