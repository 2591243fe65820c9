"""A trained VLM, put together again from its MODEL_DIR."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vidlm.core import checkpoints, launch, runs
from vidlm.data.vocabulary import AnyVocabulary


@dataclasses.dataclass(frozen=True)
class RestoredVLM:
  """What captioning and scoring need.

  Attributes:
    objective: With its model in `.model`.
    params: Nested arrays {img, llm}.
    vocabulary: Of prompts and captions.
    num_frames: T of the training run.
    image_size: Pixels of the training run.
    lengths: Tokens of 'inputs' and 'targets' in training.
    checkpoint: The path that was read.
  """

  objective: Any
  params: Any
  vocabulary: AnyVocabulary
  num_frames: int
  image_size: int
  lengths: Mapping[str, int]
  checkpoint: str


def load_vlm(checkpoint: str) -> RestoredVLM:
  """Reads a MODEL_DIR or a checkpoint in it, with the config.gin beside it.

  The current gin configuration is cleared.

  Raises:
    FileNotFoundError: If there is no config.gin or no finished checkpoint.
  """
  with launch.isolated_gin():
    runs.parse_run(checkpoint)
    objective = launch.macro('MODEL')
    vocabulary = launch.macro('VOCABULARY')
    num_frames = launch.macro('NUM_FRAMES')
    image_size = launch.macro('IMAGE_SIZE')
    lengths = dict(launch.macro('TASK_FEATURE_LENGTHS'))
  return RestoredVLM(
    objective=objective,
    params=checkpoints.load_params(checkpoint),
    vocabulary=vocabulary,
    num_frames=num_frames,
    image_size=image_size,
    lengths=lengths,
    checkpoint=checkpoint,
  )
