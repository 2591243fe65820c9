"""`vidlm eval`: captions by CIDEr-D, answers by exact match."""

import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging

from vidlm import decoding, restored, samplers
from vidlm.core import commands
from vidlm.data import feed, tasks
from vidlm.evals import captioning, vqa


def predict(
  vlm: restored.RestoredVLM,
  task: tasks.ClipTask,
  *,
  num_frames: int,
  batch_size: int,
  max_length: int,
) -> dict[str, str]:
  """Greedy text for every example of a task.

  Args:
    vlm: A restored model.
    task: What to ask; example ids must be distinct.
    num_frames: T.
    batch_size: Examples at once.
    max_length: Tokens at most.

  Returns:
    {example id: text}.

  Raises:
    ValueError: If two examples share an id.
  """
  config = feed.DatasetConfig(
    task,
    task_feature_lengths={**vlm.lengths, 'targets': max_length},
    batch_size=batch_size,
    frames=tasks.FrameOptions(num_frames, vlm.image_size),
  )
  model = vlm.objective.model
  params = jax.device_put(vlm.params)

  @jax.jit
  def generate(params: Any, batch: Any, keys: Any) -> Any:
    return decoding.sample(
      model,
      params,
      batch,
      sampler=samplers.Greedy(),
      num_samples=1,
      max_length=max_length,
      keys=keys,
    )

  keys = jax.random.split(jax.random.key(0), batch_size)[:, None]
  predictions: dict[str, str] = {}
  for ids, batch in feed.evaluation_batches(config):
    inputs = {
      name: batch[name]
      for name in ('frames', 'frame_mask', 'encoder_input_tokens')
    }
    tokens = np.asarray(generate(params, inputs, keys).tokens)[:, 0]
    for example_id, row in zip(ids, tokens, strict=False):
      if example_id in predictions:
        raise ValueError(f'two examples are called {example_id!r}')
      predictions[example_id] = vlm.vocabulary.decode(row.tolist())
  return predictions


def evaluate(
  *,
  checkpoint: str | restored.RestoredVLM,
  clip_dataset: str,
  split: str = 'test',
  kind: str = 'caption',
  prompt: str = '',
  num_frames: int | None = None,
  batch_size: int = 16,
  max_length: int = 64,
  output: str | None = None,
) -> dict[str, Any]:
  """Scores a model on a clip set by greedy decoding.

  Args:
    checkpoint: A MODEL_DIR, a checkpoint in it, or a model in memory.
    clip_dataset: Folder of the clip set.
    split: Its split.
    kind: 'caption' (CIDEr-D) or 'question' (exact match).
    prompt: The instruction, by default the paper's.
    num_frames: T; by default as in training.
    batch_size: Examples at once.
    max_length: Tokens at most.
    output: JSON file for scores and predictions.

  Returns:
    The scores with their protocol, and `predictions`.

  Raises:
    FileNotFoundError: If checkpoint or clip set is not there.
    ValueError: If there is nothing to score, or an argument makes no sense.
  """
  commands.check_positive(
    batch_size=batch_size, max_length=max_length, num_frames=num_frames
  )
  commands.check_output(output)
  vlm = checkpoint
  if isinstance(checkpoint, str):
    vlm = restored.load_vlm(checkpoint)
  task = tasks.ClipTask(
    name=f'eval_{kind}',
    vocabulary=vlm.vocabulary,
    clips=clip_dataset,
    split=split,
    kind=kind,
    prompt=prompt,
  )
  table = task.examples()
  predictions = predict(
    vlm,
    task,
    num_frames=num_frames or vlm.num_frames,
    batch_size=batch_size,
    max_length=max_length,
  )
  if kind == 'question':
    answers = {
      i: texts[0] for i, texts in zip(table.ids, table.texts, strict=True)
    }
    scores = vqa.evaluate_answers(predictions, answers, split=split)
  else:
    references = dict(zip(table.ids, map(list, table.texts), strict=True))
    scores = captioning.evaluate_captions(predictions, references, split=split)
  logging.info(
    '%s: %s',
    clip_dataset,
    {k: v for k, v in scores.items() if isinstance(v, int | float)},
  )
  if output:
    _write_json({**scores, 'predictions': predictions}, output)
  return {**scores, 'predictions': predictions}


def _write_json(value: Mapping[str, Any], path: str) -> None:
  os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
  with open(f'{path}.partial', 'w', encoding='utf-8') as file:
    json.dump(value, file, indent=2)
  os.replace(f'{path}.partial', path)
