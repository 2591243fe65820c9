"""`vidlm eval`: a model's captions and answers, or a file of them, scored."""

import dataclasses
import functools
import json
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from vidlm.captions import vlm as vlm_lib
from vidlm.core import command_line, inference, prefetch, processes
from vidlm.data.feed import coverage, first_look, pixels, tasks
from vidlm.data.feed import examples as examples_lib
from vidlm.data.store import records
from vidlm.evals import blank, file_scores, prediction_files, protocols
from vidlm.models import restored, samplers

# Decoded clips kept: questions about one clip are neighbours.
_KEPT = 32


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """What a model is asked, and how its texts are scored.

  Attributes:
    clip_dataset: Folder of the clip set.
    split: Its split; by default the one the task's papers report.
    kind: Without a task: 'caption' (CIDEr-D) or 'question' (exact match).
    task: A protocol of `vidlm.evals.protocols`, by name.
    annotations: Files that say what is right; by default the clip set does.
    allow: Some of `ids.ALLOWANCES`: clips that may lack, and what is done then.
    with_meteor: Adds NLTK's METEOR to scores of captions.
    prompt: The instruction, by default what the model was trained with.
    num_frames: T; by default as in training.
    max_length: Tokens at most.
    clips_per_device: Examples a device takes at once, always so many: another
      number rounds differently.
  """

  clip_dataset: str
  split: str | None = None
  kind: str = 'caption'
  task: str | None = None
  annotations: Sequence[prediction_files.File] = ()
  allow: Collection[str] = ()
  with_meteor: bool = False
  prompt: str = ''
  num_frames: int | None = None
  max_length: int = 64
  clips_per_device: int = 16

  @property
  def protocol(self) -> str:
    """Name of the protocol that scores."""
    own = {'caption': 'captions', 'question': 'answers'}
    return self.task or own.get(self.kind, self.kind)

  def check(self) -> None:
    """Refuses what makes no sense, before any work.

    Raises:
      ValueError: For an unknown task or kind, or numbers that are none.
    """
    command_line.check_positive(
      clips_per_device=self.clips_per_device,
      max_length=self.max_length,
      num_frames=self.num_frames,
    )
    protocols.get(self.protocol)
    protocols.check_meteor(self.protocol, self.with_meteor)


def predict(
  vlm: restored.RestoredVLM,
  task: tasks.ClipTask,
  *,
  num_frames: int,
  clips_per_device: int,
  max_length: int,
) -> dict[str, str]:
  """Greedy text for every example of a task, by all devices.

  Connected processes (`jax.distributed`) share the examples, and all of them
  have all texts in the end.

  Args:
    vlm: A model, restored or in training.
    task: What to ask; example ids must be distinct.
    num_frames: T.
    clips_per_device: Examples a device takes at once.
    max_length: Tokens at most.

  Returns:
    {example id: text}.

  Raises:
    ValueError: If two examples share an id, or a clip is damaged.
  """
  table = task.examples()
  _check_distinct(table.ids)
  captioner = vlm_lib.VLMCaptioner(
    vlm.objective.model,
    vlm.params,
    vlm.vocabulary,
    sampler=samplers.Greedy(),
    num_samples=1,
    max_length=max_length,
    clips_per_device=clips_per_device,
    num_frames=num_frames,
    image_size=vlm.image_size,
    name='eval',  # by default it is hashed from the weights
  )

  def mine() -> bytes:
    rows = _rows(table, processes.part(len(table)), captioner)
    said = inference.run(
      rows, captioner.batch_size, lambda batch: captioner.submit(*batch)
    )
    return json.dumps([clip.captions[0] for clip in said]).encode()

  parts = processes.gather(mine, 'eval')
  texts = [text for part in parts for text in json.loads(part)]
  return dict(zip(table.ids, texts, strict=True))


def prompt_length(task: tasks.ClipTask) -> int:
  """Tokens that every prompt of a task is padded to.

  What a model was trained with may be too short: visual adaptation sees the
  prompt of captions alone, and questions would be cut.
  """
  return vlm_lib.prompt_length(task.vocabulary, task.examples().prompts)


def _check_distinct(ids: Sequence[str]) -> None:
  seen: set[str] = set()
  for example_id in ids:
    if example_id in seen:
      raise ValueError(f'two examples are called {example_id!r}')
    seen.add(example_id)


def _rows(
  table: examples_lib.ExampleTable,
  numbers: Sequence[int],
  captioner: vlm_lib.VLMCaptioner,
) -> Iterator[tuple[np.ndarray, ...]]:
  """What the captioner is given of each example, decoded ahead."""
  # The length is that of all processes' prompts.
  prompts = vlm_lib.prompt_tokens(captioner.vocabulary, table.prompts)
  unused = np.zeros((), np.uint32)  # greedy text needs no key

  @functools.lru_cache(_KEPT)
  def frames(row: int) -> tuple[np.ndarray, np.ndarray]:
    shape = captioner.num_frames, captioner.image_size
    if row < 0:  # text without a clip
      black = np.zeros((shape[0], shape[1], shape[1], 3), np.uint8)
      return black, np.zeros(shape[0], bool)
    (record,) = table.clips.read([row])
    try:
      return pixels.eval_frames_from_jpeg(
        records.encoded_frames(record), *shape
      )
    except ValueError as error:
      name = records.clip_id(record)
      raise ValueError(f'clip {name!r}: {error}') from error

  def read(number: int) -> tuple[np.ndarray, ...]:
    return *frames(int(table.rows[number])), unused, prompts[number]

  return prefetch.map_threads(read, numbers)


def evaluate(
  checkpoint: str | restored.RestoredVLM,
  config: EvalConfig,
  output: str | None = None,
) -> dict[str, Any]:
  """Scores a model on a clip set by greedy decoding.

  Args:
    checkpoint: A MODEL_DIR, a checkpoint in it, or a model in memory.
    config: What is asked, and how it is scored.
    output: JSON file for scores and predictions; of connected processes, the
      first writes it.

  Returns:
    The scores with their protocol, and `predictions` by published id.

  Raises:
    FileNotFoundError: If checkpoint or clip set is not there.
    ValueError: For an unknown task or kind, ids that don't match, nothing to
      score, or an argument that makes no sense.
  """
  config.check()
  command_line.check_output(output)
  name = config.protocol
  # What is right is read first: a mistake there costs no model run.
  refs = protocols.read_references(
    name, config.annotations, config.clip_dataset, config.split
  )
  vlm = (
    restored.load_vlm(checkpoint) if isinstance(checkpoint, str) else checkpoint
  )
  task = _task(config, vlm)
  refs, not_asked = blank.leave_out_unasked(refs, task)
  predictions = predict(
    vlm,
    task,
    num_frames=config.num_frames or vlm.num_frames,
    clips_per_device=config.clips_per_device,
    max_length=config.max_length,
  )
  said = [(refs.published.get(i, i), text) for i, text in predictions.items()]
  scores = protocols.score(
    name, said, refs, allow=config.allow, with_meteor=config.with_meteor
  )
  scores['protocol'] |= _circumstances(config, vlm, task)
  if not_asked:
    scores['protocol']['not_asked'] = not_asked
  return file_scores.finish({**scores, 'predictions': dict(said)}, output)


def _task(config: EvalConfig, vlm: restored.RestoredVLM) -> tasks.ClipTask:
  """What the model is asked; says what the set has of it."""
  protocol = protocols.get(config.protocol)
  task = tasks.ClipTask(
    name=f'eval_{config.protocol}',
    vocabulary=vlm.vocabulary,
    clips=config.clip_dataset,
    split=config.split or protocol.split,
    kind=protocol.kind,
    prompt=config.prompt or vlm.prompt(protocol.kind),
    unanswered=bool(config.annotations),
  )
  if processes.is_first():
    coverage.say(task.name, task.examples().coverage)
    first_look.say_prompt(task.prompt, vlm.vocabulary)
  return task


def _circumstances(
  config: EvalConfig, vlm: restored.RestoredVLM, task: tasks.ClipTask
) -> dict[str, Any]:
  """What a protocol says of the model, and how it was asked."""
  taught = task.prompt in vlm.prompts.get(task.kind, ())
  usual = 'training' if taught else 'the paper'
  return {
    'clip_dataset': config.clip_dataset,
    'checkpoint': vlm.read_from or vlm.checkpoint,
    'prompt': task.prompt,
    'prompt_from': 'given' if config.prompt else usual,
    'num_frames': config.num_frames or vlm.num_frames,
    'max_length': config.max_length,
    'clips_per_device': config.clips_per_device,
    'processes': jax.process_count(),
  }
