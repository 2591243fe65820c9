"""Tasks and mixtures over clip sets.

A task is described by a frozen dataclass that gin can fill. `components` reads
its examples for the feed; `register` turns it into a `seqio.Task`, so
`seqio.TaskRegistry.names()` lists it. seqio and TensorFlow are imported only
there.
"""

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

from vidlm.core import ranges
from vidlm.data.feed import examples as examples_lib
from vidlm.data.feed import frame_cache, mixing, seqio_import

FrameOptions = frame_cache.FrameOptions

CAPTION_PROMPT = 'Generate the alt-text:'  # paper, section 4.2
QUESTION_PROMPT = 'Answer in en: {question}'  # paper, section 5.4
# What a kind of task asks without a prompt of its own.
PROMPTS = {
  'caption': CAPTION_PROMPT,
  'question': QUESTION_PROMPT,
  'label': CAPTION_PROMPT,
}


@dataclasses.dataclass(frozen=True)
class ClipTask:
  """One task: a clip set and the text that goes with it.

  Attributes:
    name: In seqio's registry.
    vocabulary: What encodes inputs and targets; has `.seqio`
      (`data.feed.vocabulary`, or `dualenc.data` for CLIP's), and says how
      prompts are framed.
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
    limit: Only the first so many clips; of kind 'text' lines.
    unanswered: Keep questions whose answer is blank: in an evaluation, answers
      may be elsewhere.
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
  limit: ranges.Size | None = None
  unanswered: bool = False

  def __post_init__(self) -> None:
    # gin hands over whatever it was given.
    if self.limit is None or (type(self.limit) is int and self.limit > 0):
      return
    raise ValueError(
      f'task {self.name}: limit={self.limit!r}: need a whole number of clips, '
      'at least 1, or None for all'
    )

  def examples(self) -> examples_lib.ExampleTable:
    """Reads the table of examples.

    Raises:
      ValueError: For an unknown kind.
    """
    clips = os.path.join(self.data_dir, self.clips)
    texts = os.path.join(self.data_dir, self.texts) if self.texts else None
    if self.kind == 'text':
      return examples_lib.text_examples(texts or clips, self.limit)
    if self.kind not in PROMPTS:
      raise ValueError(
        f'task {self.name}: kind {self.kind!r} is none of caption, question, '
        'label, text'
      )
    asked = clips, self.split, self.prompt or PROMPTS[self.kind]
    if self.kind == 'label':
      return examples_lib.label_examples(*asked, self.limit)
    if self.kind == 'caption':
      return examples_lib.caption_examples(*asked, texts, self.limit)
    return examples_lib.question_examples(
      *asked, texts, self.kinds, self.limit, self.unanswered
    )


@dataclasses.dataclass(frozen=True)
class ClipMixture:
  """Tasks drawn at fixed rates.

  Attributes:
    name: In seqio's registry.
    tasks: (task, rate) pairs.
  """

  name: str
  tasks: Sequence[Any]

  def __post_init__(self) -> None:
    # gin hands lists over; hashing needs tuples.
    object.__setattr__(self, 'tasks', mixing.pairs(self.name, self.tasks))


# Name -> description: what a name in MIXTURE_OR_TASK may stand for.
_described: dict[str, ClipTask | ClipMixture] = {}


def describe(task: ClipTask | ClipMixture) -> str:
  """Makes a task or a mixture known by its name, which is returned.

  A name that is known already is taken over by the new description. Nothing is
  read, and seqio isn't asked for; `register` is for its registries.

  Raises:
    ValueError: If two parts of a mixture have one name.
  """
  mixing.rates(task)
  _described[task.name] = task
  if isinstance(task, ClipMixture):
    for part, _ in task.tasks:
      describe(part)
  return task.name


def described(name: str) -> ClipTask | ClipMixture | None:
  """What was described by this name."""
  return _described.get(name)


def names() -> list[str]:
  """Names of all that was described."""
  return sorted(_described)


def components(task: ClipTask | ClipMixture) -> list[examples_lib.Component]:
  """Reads the examples of a task, or of all tasks of a mixture.

  Their order is that of their names, as seqio has it: the order of examples
  depends on it.

  Raises:
    FileNotFoundError: If a clip set or a vocabulary isn't there.
    ValueError: If the tasks of a mixture differ in their vocabulary.
  """
  parts = dict(sorted(mixing.rates(task).items()))
  shares = {name: rate for name, (_, rate) in parts.items()}
  mixing.check_drawable(task.name, shares)
  found = []
  for part, rate in parts.values():
    part.vocabulary.encode('')  # a missing file is said here
    found.append(
      examples_lib.Component(part.name, part.examples(), part.vocabulary, rate)
    )
  examples_lib.check_alike(task.name, found)
  return found


def prompts(task: ClipTask | ClipMixture) -> dict[str, list[str]]:
  """The prompts of each kind of task, the most drawn first.

  Questions have a template with `{question}`; text without clips has prompts
  of its own, which are not here.
  """
  found: dict[str, dict[str, float]] = {}
  for part, rate in mixing.rates(task).values():
    if part.kind in PROMPTS:
      own = found.setdefault(part.kind, {})
      prompt = part.prompt or PROMPTS[part.kind]
      own[prompt] = own.get(prompt, 0.0) + rate
  return {
    kind: sorted(own, key=lambda prompt: (-own[prompt], prompt))
    for kind, own in sorted(found.items())
  }


def register(
  task: ClipTask | ClipMixture | str, frames: FrameOptions, lazy: bool = False
) -> str:
  """Adds a task or a mixture to seqio's registries and returns its name.

  There it is a view of our examples in the order of our feed; training doesn't
  need it. A name that is registered already is taken over by the new
  description. A string is the name of something described before, or of
  something in seqio.

  Args:
    task: What to add.
    frames: How its frames are sampled.
    lazy: Read clip set and vocabulary when the task is used, not now.

  Raises:
    ValueError: If seqio isn't installed, or has no such name.
  """
  with seqio_import.quietly():
    from vidlm.data.feed import seqio_view

  if isinstance(task, str):
    known = described(task)
    if known is None:
      return seqio_view.provider(task).name
    return register(known, frames)
  describe(task)
  if isinstance(task, ClipMixture):
    for part, _ in task.tasks:
      register(part, frames, lazy)
    seqio_view.add_mixture(
      task.name, [(part.name, float(rate)) for part, rate in task.tasks]
    )
    return task.name
  if not lazy:
    _ = task.vocabulary.seqio.vocab_size  # a missing file is said here
  read = task.examples if lazy else functools.partial(_same, task.examples())
  seqio_view.add_task(task.name, read, task.split, task.vocabulary, frames)
  return task.name


def _same(table: examples_lib.ExampleTable) -> examples_lib.ExampleTable:
  return table
