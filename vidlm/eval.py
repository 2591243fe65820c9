"""`vidlm eval`: a model's captions and answers, or a file of them, scored."""

from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np

from vidlm.core import command_line
from vidlm.data.feed import batches, tasks
from vidlm.evals import file_scores, protocols
from vidlm.models import decoding, restored, samplers


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
  config = batches.DatasetConfig(
    task,
    task_feature_lengths={
      'inputs': prompt_length(task),
      'targets': max_length,
    },
    batch_size=batch_size,
    frames=tasks.FrameOptions(num_frames, vlm.image_size, cache_mib=0),
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
  for ids, batch in batches.evaluation_batches(config):
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


def prompt_length(task: tasks.ClipTask) -> int:
  """Tokens of the longest prompt, rounded up: fewer lengths to compile for.

  What a model was trained with may be too short: visual adaptation sees the
  prompt of captions alone, and questions would be cut.
  """
  prompts = set(task.examples().prompts)
  longest = max((len(task.vocabulary.prompt(p)) for p in prompts), default=1)
  return -(-longest // 8) * 8


def evaluate(
  *,
  checkpoint: str | restored.RestoredVLM,
  clip_dataset: str,
  split: str | None = None,
  kind: str = 'caption',
  task: str | None = None,
  annotations: Sequence[str] = (),
  allow: Collection[str] = (),
  with_meteor: bool = False,
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
    split: Its split; by default the one the task's papers report.
    kind: Without a task: 'caption' (CIDEr-D) or 'question' (exact match).
    task: A protocol of `vidlm.evals.protocols`, by name.
    annotations: Files that say what is right; by default the clip set does.
    allow: Of `ids.ALLOWANCES`: clips that may lack, and what is done then.
    with_meteor: Adds NLTK's METEOR to scores of captions.
    prompt: The instruction, by default the paper's.
    num_frames: T; by default as in training.
    batch_size: Examples at once.
    max_length: Tokens at most.
    output: JSON file for scores and predictions.

  Returns:
    The scores with their protocol, and `predictions` by published id.

  Raises:
    FileNotFoundError: If checkpoint or clip set is not there.
    ValueError: For an unknown task or kind, ids that don't match, nothing to
      score, or an argument that makes no sense.
  """
  command_line.check_positive(
    batch_size=batch_size, max_length=max_length, num_frames=num_frames
  )
  command_line.check_output(output)
  task = task or {'caption': 'captions', 'question': 'answers'}.get(kind, kind)
  protocol = protocols.get(task)
  protocols.check_meteor(task, with_meteor)
  # What is right is read first: a mistake there costs no model run.
  refs = protocols.read_references(task, annotations, clip_dataset, split)
  vlm = checkpoint
  if isinstance(checkpoint, str):
    vlm = restored.load_vlm(checkpoint)
  clip_task = tasks.ClipTask(
    name=f'eval_{task}',
    vocabulary=vlm.vocabulary,
    clips=clip_dataset,
    split=split or protocol.split,
    kind=protocol.kind,
    prompt=prompt,
  )
  predictions = predict(
    vlm,
    clip_task,
    num_frames=num_frames or vlm.num_frames,
    batch_size=batch_size,
    max_length=max_length,
  )
  said = [(refs.published.get(i, i), text) for i, text in predictions.items()]
  scores = protocols.score(
    task, said, refs, allow=allow, with_meteor=with_meteor
  )
  scores['protocol']['clip_dataset'] = clip_dataset
  scores['protocol']['prompt'] = prompt or "the paper's"
  return file_scores.finish({**scores, 'predictions': dict(said)}, output)
