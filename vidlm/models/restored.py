"""A trained VLM, put together again from its MODEL_DIR."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vidlm.core import launch, runs
from vidlm.data.feed import tasks
from vidlm.data.feed.vocabulary import AnyVocabulary
from vidlm.interop import fitting, huggingface, paligemma_gin, paths, weights
from vidlm.models import objective as objective_lib
from vidlm.training import step


@dataclasses.dataclass(frozen=True)
class RestoredVLM:
  """What captioning and scoring need.

  Attributes:
    objective: With its model in `.model`.
    params: Nested arrays {img, llm}.
    vocabulary: What reads prompts and writes captions.
    num_frames: T of the training run.
    image_size: Pixels of the training run.
    lengths: Tokens of 'inputs' and 'targets' in training.
    checkpoint: The path that was given.
    read_from: The checkpoint that was read, where the path is a MODEL_DIR.
    prompts: What it was trained with, by kind of task, the most drawn first.
  """

  objective: Any
  params: Any
  vocabulary: AnyVocabulary
  num_frames: int
  image_size: int
  lengths: Mapping[str, int]
  checkpoint: str
  read_from: str = ''
  prompts: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)

  def prompt(self, kind: str) -> str:
    """What it is asked unless somebody says otherwise: what it was taught.

    Args:
      kind: 'caption', 'question' (then with `{question}`) or 'label'.

    Returns:
      The paper's prompt if it is one of those of training, or if there are
      none; or else the one that was drawn most.
    """
    taught = self.prompts.get(kind) or ()
    usual = tasks.PROMPTS[kind]
    return usual if usual in taught or not taught else taught[0]


def load_vlm(checkpoint: str) -> RestoredVLM:
  """Reads a model as the model.gin that lies beside it says.

  The current gin configuration is cleared.

  Args:
    checkpoint: A MODEL_DIR, a checkpoint in it, what `vidlm convert` made of
      one, or a PaliGemma with its tokenizer.json; local, gs:// or
      hf://owner/name.

  Raises:
    FileNotFoundError: If there is no model.gin or no finished checkpoint.
    ValueError: If it is no video VLM's, or the weights are damaged.
  """
  folder = paths.local(checkpoint)
  with launch.isolated_gin():
    _parse(folder)
    objective = launch.macro('MODEL')
    if not isinstance(objective, objective_lib.VLMObjective):
      raise ValueError(
        f'{checkpoint}: holds a {type(objective).__name__}, no video VLM; give '
        'the MODEL_DIR of `vidlm train`'
      )
    vocabulary = launch.macro('VOCABULARY')
    num_frames = launch.macro('NUM_FRAMES')
    image_size = launch.macro('IMAGE_SIZE')
    lengths = dict(launch.macro('TASK_FEATURE_LENGTHS'))
    prompts = runs.prompts()
  read_from, params = fitting.load(
    folder, lambda: step.parameter_shapes(objective), vocabulary.size
  )
  return RestoredVLM(
    objective=objective,
    params=params,
    vocabulary=vocabulary,
    num_frames=num_frames,
    image_size=image_size,
    lengths=lengths,
    checkpoint=checkpoint,
    read_from=read_from,
    prompts=prompts,
  )


def _parse(folder: str) -> None:
  """Parses the model.gin of a folder, or what its config.json amounts to."""
  described = None
  if not weights.has_run(folder):
    described = huggingface.paligemma(folder)
  if described is None:
    weights.parse_run(folder)
    return
  tokenizer = f'{folder}/{paligemma_gin.TOKENIZER}'
  text = paligemma_gin.text(described, tokenizer)
  launch.parse_text(text, f'{folder}/{huggingface.CONFIG}')
