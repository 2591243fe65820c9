"""The best checkpoint of a run by one of its scores.

MODEL_DIR/best.json names it: {"checkpoint": "checkpoint_300", "step": 300,
"name": "infer_eval/cider", "score": 0.41}. Every checkpoint of a state that was
scored holds its scores, so the record can be made again of what is there.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from vidlm.core import files, processes
from vidlm.training import scoring

RECORD = 'best.json'
# Item of a checkpoint: the scores of its state.
SCORES = 'scores'


def finite(scores: Mapping[str, float]) -> dict[str, float]:
  """The scores that are numbers; JSON has no others."""
  return {n: float(x) for n, x in scores.items() if math.isfinite(x)}


class Best:
  """Knows which checkpoint is the best, writes it down, and has it kept."""

  def __init__(self, model_dir: str, name: str | None, keep: int | None):
    """Knows nothing yet; see `look`.

    Args:
      model_dir: The run's folder.
      name: The score; None for what best.json says.
      keep: Newest checkpoints that stay; None for all.
    """
    self._keep = keep
    self._folder = epath.Path(model_dir)
    self._name = name
    self._found: dict[str, Any] | None = None
    self._recorded: dict[str, Any] | None = None

  def look(self, steps: Iterable[int]) -> None:
    """Looks at the finished checkpoints; a record that is outdated is renewed.

    Args:
      steps: The checkpoints there are.
    """
    steps = sorted(steps)
    recorded = _read(self._folder / RECORD) or {}
    self._recorded = recorded if 'step' in recorded else None
    self._found = None
    if self._name is None:
      # A run goes on without scores: what was best before stays.
      if self._recorded and self._recorded['step'] in steps:
        self._found = self._recorded
      return
    for step in steps:
      path = self._folder / f'checkpoint_{step}' / SCORES / 'metadata'
      scores = _read(path) or {}
      if self.is_better(scores):
        self._found = self._describe(step, scores)
    self.record()

  def is_better(self, scores: Mapping[str, float]) -> bool:
    """Whether these scores beat the best so far; of equal ones the first."""
    if self._name is None:
      return False
    score = scores.get(self._name)
    if score is None or not math.isfinite(score):
      return False
    if self._found is None:
      return True
    best = self._found['score']
    lower = scoring.lower_is_better(self._name)
    return score < best if lower else score > best

  def propose(self, step: int, scores: Mapping[str, float]) -> None:
    """Takes note of a checkpoint that is about to be saved."""
    if self.is_better(scores):
      self._found = self._describe(step, scores)

  def _describe(self, step: int, scores: Mapping[str, float]) -> dict[str, Any]:
    name = str(self._name)
    return {
      'checkpoint': f'checkpoint_{step}',
      'step': step,
      'name': name,
      'score': float(scores[name]),
    }

  def kept(self, steps: Sequence[int]) -> set[int]:
    """Of all steps those that stay: the newest, and the best.

    Where another became the best, the one on record stays until that is
    written.
    """
    newest = steps if self._keep is None else sorted(steps)[-self._keep :]
    best = [one['step'] for one in (self._found, self._recorded) if one]
    return {*newest, *best} & set(steps)

  def should_preserve(self, checkpoints: Any, *, context: Any) -> list[bool]:
    """See Orbax's `PreservationPolicy`."""
    del context
    kept = self.kept([info.step for info in checkpoints])
    return [info.step in kept for info in checkpoints]

  def record(self) -> bool:
    """Writes best.json if it says something else; whether it did."""
    if self._name is None or self._found == self._recorded:
      return False
    if processes.is_first():
      path = self._folder / RECORD
      if self._found is None:
        path.unlink(missing_ok=True)
      else:
        files.write_json(path, self._found)
    self._recorded = self._found
    return True


def _read(path: epath.Path) -> dict[str, Any] | None:
  try:
    value = json.loads(path.read_text())
  except (OSError, ValueError):  # not there, or cut short
    return None
  return value if isinstance(value, dict) else None
