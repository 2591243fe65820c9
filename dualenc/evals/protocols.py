"""Zero-shot evaluations by name: what is asked, on which split.

`dualenc eval --task=NAME` looks here. Adding one is a line in `PROTOCOLS`.
"""

import dataclasses
import math
from collections.abc import Sequence

from vidlm.core import names

RETRIEVAL, CLASSIFICATION = 'retrieval', 'classification'
# The paper names no templates; the figures it compares with are InternVid's.
KINETICS_TEMPLATES = 'kinetics_viclip'


@dataclasses.dataclass(frozen=True)
class Protocol:
  """One evaluation.

  Attributes:
    kind: 'retrieval' or 'classification'.
    help: One line.
    split: Part of the clip set that is scored.
    published_size: Videos of that split as published; None where unknown.
    texts_per_video: Exactly so many captions ask for a video, where the
      protocol says so.
    num_classes: Classes of the published set.
    templates: Prompts of classification.
  """

  kind: str
  help: str
  split: str = 'test'
  published_size: int | None = None
  texts_per_video: int | None = None
  num_classes: int | None = None
  templates: str = 'kinetics_openai'


def _kinetics(num_classes: int) -> Protocol:
  return Protocol(
    CLASSIFICATION,
    f'Kinetics-{num_classes}, validation split',
    split='val',
    num_classes=num_classes,
    templates=KINETICS_TEMPLATES,
  )


PROTOCOLS: dict[str, Protocol] = {
  'retrieval': Protocol(RETRIEVAL, 'your own clips, all their captions'),
  'classification': Protocol(CLASSIFICATION, 'your own clips, their labels'),
  'msrvtt_1ka': Protocol(
    RETRIEVAL,
    'MSR-VTT 1k-A (JSFUSION), 1,000 videos, one caption each',
    split='test_1ka',
    published_size=1000,
    texts_per_video=1,
  ),
  'vatex_1.5k': Protocol(
    RETRIEVAL,
    'VATEX, 1,500 videos, all ten English captions ask',
    published_size=1500,
    texts_per_video=10,
  ),
  'kinetics400': _kinetics(400),
  'kinetics600': _kinetics(600),
  'kinetics700': _kinetics(700),
}


def get(task: str) -> Protocol:
  """Returns the protocol of a name.

  Raises:
    ValueError: If there is none; says which there are.
  """
  if task not in PROTOCOLS:
    other = 'captions and answers are tasks of `vidlm eval`'
    raise ValueError(names.unknown('task', task, PROTOCOLS, other))
  return PROTOCOLS[task]


def check_texts(task: str, texts: Sequence[Sequence[str]]) -> None:
  """Refuses a clip set with another number of captions than the protocol's.

  Args:
    task: A key of `PROTOCOLS`.
    texts: Captions of each video.

  Raises:
    ValueError: If a video has another number.
  """
  wanted = get(task).texts_per_video
  wrong = [len(own) for own in texts if wanted and len(own) != wanted]
  if wrong:
    raise ValueError(
      f'{task}: {wanted} captions a video ask, but {len(wrong)} of '
      f'{len(texts)} videos have another number, such as {wrong[0]}; prepare '
      "the set with the protocol's own list, or take --task=retrieval"
    )


def check_classes(task: str, classes: Sequence[str]) -> None:
  """Refuses another number of classes than the protocol's.

  Args:
    task: A key of `PROTOCOLS`.
    classes: Names that compete.

  Raises:
    ValueError: If there are more or fewer.
  """
  wanted = get(task).num_classes or math.nan
  if not math.isnan(wanted) and len(classes) != wanted:
    raise ValueError(
      f'{task}: {wanted} classes compete, but there are {len(classes)}; name '
      'them all by --classes=FILE, a line each'
    )
