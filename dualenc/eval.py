"""`dualenc eval`: zero-shot retrieval and classification of a trained run."""

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from dualenc import data, shared
from dualenc import towers as towers_lib
from dualenc import views as views_lib
from dualenc.evals import (
  classification,
  clip_sets,
  prompts,
  protocols,
  retrieval,
)
from vidlm.core import command_line, files, processes
from vidlm.data.feed import coverage
from vidlm.data.store import clip_reader as clips_lib

# Part of the texts that may be cut without a word.
_NOTEWORTHY = 0.01

Towers = towers_lib.Towers
load_towers = towers_lib.load_towers


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """What a dual encoder is asked.

  Attributes:
    clip_dataset: Folder of the clip set.
    split: Its split; by default the task's.
    task: A protocol by name: 'retrieval' (the clips' texts ask),
      'classification' (by their labels), or one of `evals.protocols`.
    templates: Prompt preset or file of classification.
    classes: File of the class names that compete, a line each; by default
      those of the labels.
    dual_softmax_scale: Adds a second figure; see `retrieval.dual_softmax`.
    allow_unavailable: Whether annotated clips may lack (videos that are gone).
    views: What the visual tower sees of a clip.
    clips_per_device: Clips a device takes at once, always so many.
  """

  clip_dataset: str
  split: str | None = None
  task: str = 'retrieval'
  templates: str | None = None
  classes: str | None = None
  dual_softmax_scale: float | None = None
  allow_unavailable: bool = False
  views: views_lib.Views = views_lib.Views()
  clips_per_device: int = 32

  @property
  def protocol(self) -> protocols.Protocol:
    """The protocol of the task.

    Raises:
      ValueError: If there is no such task.
    """
    return protocols.get(self.task)

  def check(self) -> None:
    """Refuses what makes no sense, before any clip is embedded.

    Raises:
      ValueError: For an unknown task or preset, or numbers that are none.
    """
    command_line.check_positive(clips_per_device=self.clips_per_device)
    if self.protocol.kind == protocols.CLASSIFICATION:
      prompts.load(self.templates or self.protocol.templates)
    elif self.dual_softmax_scale is not None:
      retrieval.check_scale(self.dual_softmax_scale)


@dataclasses.dataclass(frozen=True, eq=False)
class _Asked:
  """A split, opened and checked.

  Attributes:
    config: What is asked.
    split: Its name.
    reader: Its clips.
    texts: Those of each clip that say something.
    annotated: Ids of the split.
    known_missing: Those of them that may lack.
    classes: Names that compete, in classification.
  """

  config: EvalConfig
  split: str
  reader: clips_lib.ClipReader
  texts: Sequence[Sequence[str]]
  annotated: Sequence[str]
  known_missing: Sequence[str]
  classes: Sequence[str] = ()

  @classmethod
  def open(cls, config: EvalConfig) -> '_Asked':
    """Opens the split.

    Raises:
      FileNotFoundError: If the clip set is not there.
      ValueError: If it doesn't fit the task.
    """
    split = config.split or config.protocol.split
    reader = clips_lib.open_clips(config.clip_dataset, split)
    found = clip_sets.annotated(reader, config.allow_unavailable)
    classes: Sequence[str] = ()
    texts: list[list[str]] = []
    if config.protocol.kind == protocols.RETRIEVAL:
      texts = clip_sets.texts(reader)
      protocols.check_texts(config.task, texts)
    else:
      classes = clip_sets.class_names(reader, config.classes)
      protocols.check_classes(config.task, classes)
    return cls(config, split, reader, texts, **found, classes=classes)


def evaluate(
  checkpoint: str | Towers, config: EvalConfig, output: str | None = None
) -> dict[str, Any]:
  """Scores a dual encoder on a clip set.

  Connected processes (`jax.distributed`) share the clips and the texts, and all
  of them have the scores.

  Args:
    checkpoint: A MODEL_DIR, a checkpoint in it, or towers in memory.
    config: What is asked.
    output: JSON file for the scores; of connected processes, the first writes
      it.

  Returns:
    The scores with their protocol.

  Raises:
    FileNotFoundError: If checkpoint or clip set is not there.
    ValueError: If a score is not finite, the clip set doesn't fit the task, or
      an argument makes no sense.
  """
  config.check()
  command_line.check_output(output)
  asked = _Asked.open(config)
  towers = (
    load_towers(checkpoint) if isinstance(checkpoint, str) else checkpoint
  )
  zimg = shared.embed_clips(
    towers, asked.reader, config.clips_per_device, config.views
  )
  protocol = config.protocol
  retrieves = protocol.kind == protocols.RETRIEVAL
  scores = (_retrieval if retrieves else _classification)(towers, asked, zimg)
  scores['protocol'] |= {
    'task': config.task,
    'kind': protocol.kind,
    'published_size': (
      protocol.published_size if asked.split == protocol.split else None
    ),
    'clip_dataset': config.clip_dataset,
    **config.views.describe(towers.model.img.num_frames),
    'max_length': towers.text_length,
    'checkpoint': towers.checkpoint,
    'clips_per_device': config.clips_per_device,
    'processes': jax.process_count(),
  }
  return _finish(scores, output)


def _finish(scores: dict[str, Any], output: str | None) -> dict[str, Any]:
  """Says what scores mean, and writes them; in the first process alone."""
  if not processes.is_first():
    return scores
  protocol = scores['protocol']
  task = protocol['task']
  cut, texts = protocol.get('num_texts_cut', 0), protocol.get('num_texts', 0)
  if cut > _NOTEWORTHY * texts:
    coverage.warn(
      f'{task}: {cut} of {texts} texts are cut at {protocol["max_length"]} '
      'tokens, as in training'
    )
  whole = protocol.get(
    'num_videos_annotated', protocol.get('num_clips_annotated')
  )
  scored = protocol.get('num_videos', protocol.get('num_clips'))
  coverage.say_scored(task, scored, whole)
  for name, why in protocol.get('meaningless', {}).items():
    coverage.warn(f'{task}: {name} is {why}')
  if output:
    files.make_folder(os.path.dirname(output) or '.')
    files.write_text(output, json.dumps(scores, indent=2))
  return scores


def _retrieval(
  towers: Towers, asked: _Asked, zimg: Float[np.ndarray, 'n E']
) -> dict[str, Any]:
  # A clip that nothing asks for competes with nobody, as while training.
  rows = [row for row, texts in enumerate(asked.texts) if texts]
  every = asked.reader.clip_ids()
  ids = [every[row] for row in rows]
  silent = sorted(set(every).difference(ids))
  pairs = [(every[row], text) for row in rows for text in asked.texts[row]]
  cut = data.count_cut(
    towers.vocabulary, [text for _, text in pairs], towers.text_length
  )
  ztxt = shared.embed_texts(towers, [text for _, text in pairs])
  scores = retrieval.evaluate(
    ztxt @ zimg[rows].T,
    [clip_id for clip_id, _ in pairs],
    ids,
    split=asked.split,
    annotated_video_ids=[i for i in asked.annotated if i not in silent],
    known_missing=asked.known_missing,
    dual_softmax_scale=asked.config.dual_softmax_scale,
  )
  scores['protocol']['prompt'] = 'none: the captions themselves ask'
  scores['protocol']['num_texts_cut'] = cut
  if silent:
    scores['protocol']['without_text'] = silent
  return scores


def _classification(
  towers: Towers, asked: _Asked, zimg: Float[np.ndarray, 'n E']
) -> dict[str, Any]:
  templates = asked.config.templates or asked.config.protocol.templates
  zcls = classification.class_embeddings(
    functools.partial(shared.embed_texts, towers),
    asked.classes,
    prompts.load(templates),
  )
  column = {name: i for i, name in enumerate(asked.classes)}
  scores = classification.evaluate(
    zimg @ zcls.T,
    np.array([column[own] for own in clip_sets.labels_of(asked.reader)]),
    list(asked.reader.clip_ids()),
    split=asked.split,
    templates=templates,
    annotated_clip_ids=asked.annotated,
    known_missing=asked.known_missing,
  )
  scores['protocol']['prompt'] = list(prompts.load(templates))
  return scores
