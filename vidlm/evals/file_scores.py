"""Scores a file of predictions, without any model; writes scores."""

import json
import os
from collections.abc import Collection, Sequence
from typing import Any

from absl import logging

from vidlm.core import files, processes
from vidlm.evals import meaning, prediction_files, protocols


def evaluate_file(
  *,
  predictions: prediction_files.File,
  task: str,
  annotations: Sequence[prediction_files.File] = (),
  clip_dataset: str | None = None,
  split: str | None = None,
  allow: Collection[str] = (),
  with_meteor: bool = False,
  output: str | None = None,
) -> dict[str, Any]:
  """Scores predictions of any model by the rules ours are scored by.

  Args:
    predictions: File of texts by id, or a caption set; see
      `prediction_files`.
    task: A key of `protocols.PROTOCOLS`.
    annotations: Files that say what is right; by default the clip set does.
    clip_dataset: Folder of a clip set.
    split: By default the one the task's papers report.
    allow: Some of `ids.ALLOWANCES`.
    with_meteor: Adds NLTK's METEOR to scores of captions.
    output: JSON file for the scores.

  Returns:
    The scores with their protocol.

  Raises:
    FileNotFoundError: If a file isn't there.
    ValueError: For an unknown task, or ids that don't match.
  """
  refs = protocols.read_references(task, annotations, clip_dataset, split)
  scores = protocols.score_file(
    task, predictions, refs, allow=allow, with_meteor=with_meteor
  )
  scores['protocol'] |= {
    'predictions': os.path.basename(os.path.abspath(predictions)),
    # Nobody knows how they were made.
    **dict.fromkeys(('checkpoint', 'prompt', 'num_frames', 'max_length')),
    'processes': 1,
  }
  return finish(scores, output)


def finish(scores: dict[str, Any], output: str | None) -> dict[str, Any]:
  """Logs scores, writes them as JSON if asked to, and returns them.

  Of connected processes the first does so.
  """
  if not processes.is_first():
    return scores
  figures = {k: v for k, v in scores.items() if isinstance(v, int | float)}
  logging.info('%s: %s', scores['protocol']['task'], figures)
  meaning.warn(scores)
  if output:
    files.make_folder(os.path.dirname(output) or '.')
    files.write_text(output, json.dumps(scores, indent=2))
  return scores
