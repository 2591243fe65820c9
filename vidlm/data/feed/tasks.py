"""seqio Tasks and Mixtures over clip sets.

A task is described by a frozen dataclass that gin can fill; `register` turns
it into a `seqio.Task`, so `seqio.TaskRegistry.names()` lists it. seqio and
TensorFlow are imported only there.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

from vidlm.data.feed import examples as source_lib

CAPTION_PROMPT = 'Generate the alt-text:'  # paper, section 4.2
QUESTION_PROMPT = 'Answer in en: {question}'  # paper, section 5.4


@dataclasses.dataclass(frozen=True)
class ClipTask:
  """One task: a clip set and the text that goes with it.

  Attributes:
    name: In seqio's registry.
    vocabulary: Of inputs and targets; has `.seqio` (`data.feed.vocabulary`, or
      `dualenc.data` for CLIP's), and says how prompts are framed.
    data_dir: Folder that holds clip sets; joined with the paths below.
    clips: Clip set; empty for text without clips.
    split: Its split.
    kind: 'caption' (one example a clip), 'question' (one a question), 'label'
      (one a clip, its class), 'text' (JSON lines of inputs and targets, no
      clips).
    texts: Where the texts come from: a pseudo-caption folder ('caption'), an
      instructions.parquet ('question'), a JSON lines file ('text'); by
      default the clip set's own.
    prompt: The instruction; '{question}' is filled in.
    kinds: Kinds of instruction to keep; all by default.
    limit: Only the first so many clips.
  """

  name: str
  vocabulary: Any
  data_dir: str = ''
  clips: str = ''
  split: str = 'train'
  kind: str = 'caption'
  texts: str = ''
  prompt: str = ''
  kinds: Sequence[str] = ()
  limit: int | None = None

  def examples(self) -> source_lib.ExampleTable:
    """Reads the table of examples.

    Raises:
      ValueError: For an unknown kind.
    """
    clips = os.path.join(self.data_dir, self.clips)
    texts = os.path.join(self.data_dir, self.texts) if self.texts else None
    if self.kind == 'caption':
      return source_lib.caption_examples(
        clips, self.split, self.prompt or CAPTION_PROMPT, texts, self.limit
      )
    if self.kind == 'question':
      return source_lib.question_examples(
        clips, self.split, self.prompt or QUESTION_PROMPT, texts, self.kinds
      )
    if self.kind == 'label':
      return source_lib.label_examples(
        clips, self.split, self.prompt or CAPTION_PROMPT
      )
    if self.kind == 'text':
      return source_lib.text_examples(texts or clips)
    raise ValueError(
      f'task {self.name}: kind {self.kind!r} is none of caption, question, '
      'label, text'
    )


@dataclasses.dataclass(frozen=True)
class ClipMixture:
  """Tasks drawn at fixed rates.

  Attributes:
    name: In seqio's registry.
    tasks: (task, rate) pairs.
  """

  name: str
  tasks: Sequence[Sequence[Any]]

  def __post_init__(self) -> None:
    # gin hands lists over; hashing needs tuples.
    object.__setattr__(self, 'tasks', tuple(tuple(t) for t in self.tasks))


@dataclasses.dataclass(frozen=True)
class FrameOptions:
  """How frames are sampled.

  Attributes:
    num_frames: T.
    image_size: Pixels of a side.
    augment: Scale jitter and a random crop (paper, section 5.3).
    cache_mib: Memory for decoded frames, of each process and for its life:
      what fits is decoded once. Augmented frames are new every time and not
      kept.
  """

  num_frames: int = 8
  image_size: int = 224
  augment: bool = False
  cache_mib: int = 1024

  def __post_init__(self) -> None:
    # gin hands over whatever it was given.
    if not isinstance(self.cache_mib, int) or self.cache_mib < 0:
      raise ValueError(
        f'FrameOptions.cache_mib={self.cache_mib!r}: need a whole number of MiB'
      )


# Name -> description of what `register` has put in seqio's registries.
_described: dict[str, ClipTask | ClipMixture] = {}


def register(
  task: ClipTask | ClipMixture | str, frames: FrameOptions, lazy: bool = False
) -> str:
  """Adds a task or a mixture to seqio's registries and returns its name.

  A name that is registered already is taken over by the new description. A
  string is the name of something registered before; if it was by this
  function, it is registered again with these frames.

  Args:
    task: What to add.
    frames: How its frames are sampled.
    lazy: Read clip set and vocabulary when the task is used, not now.
  """
  import seqio

  if isinstance(task, str):
    if task in _described:
      return register(_described[task], frames)
    seqio.get_mixture_or_task(task)  # raises with the nearest names
    return task
  _described[task.name] = task
  if isinstance(task, ClipMixture):
    for part, _ in task.tasks:
      register(part, frames, lazy)
    seqio.MixtureRegistry.remove(task.name)
    seqio.MixtureRegistry.add(
      task.name, [(part.name, rate) for part, rate in task.tasks]
    )
    return task.name
  if not lazy:
    _ = task.vocabulary.seqio.vocab_size  # a missing file is said here
  seqio.TaskRegistry.remove(task.name)
  seqio.TaskRegistry.add(
    task.name,
    source=_source(task, lazy),
    preprocessors=[_preprocessor(frames, task.vocabulary)],
    output_features=_output_features(task.vocabulary),
    metric_fns=[],
  )
  return task.name


def _source(task: ClipTask, lazy: bool) -> Any:
  from vidlm.data.feed import seqio_source

  if lazy:
    return seqio_source.LazySource(task.examples, task.split)
  return seqio_source.IndexedSource(task.examples())


def _preprocessor(frames: FrameOptions, vocabulary: Any) -> Any:
  from vidlm.data.feed import preprocessors

  # Where seqio appends the end, nothing else stands around a prompt.
  ends = None if _ends_in_eos(vocabulary) else vocabulary.prompt_ends
  return preprocessors.ClipPreprocessor(frames, ends)


def _ends_in_eos(vocabulary: Any) -> bool:
  # CLIP's vocabulary has no prompts.
  return getattr(vocabulary, 'prompt_format', 't5') == 't5'


def _output_features(vocabulary: Any) -> dict[str, Any]:
  import seqio
  import tensorflow as tf

  text = functools.partial(seqio.Feature, vocabulary=vocabulary.seqio)
  return {
    # A T5 encoder's input ends in </s> too (t5.data's default).
    'inputs': text(add_eos=_ends_in_eos(vocabulary), required=False),
    'targets': text(add_eos=True),
    'frames': seqio.ContinuousFeature(dtype=tf.uint8, rank=4),
    'frame_mask': seqio.ContinuousFeature(dtype=tf.bool, rank=1),
  }
