"""`dualenc eval`: zero-shot retrieval and classification of a trained run."""

import dataclasses
import functools
import itertools
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import numpy as np

from dualenc import data, restored
from dualenc import views as views_lib
from dualenc.evals import (
  classification,
  clip_sets,
  prompts,
  protocols,
  retrieval,
)
from dualenc.models import two_towers
from vidlm.core import command_line, files
from vidlm.data.store import clip_reader as clips_lib
from vidlm.data.store import records


@dataclasses.dataclass(frozen=True, eq=False)
class Towers:
  """A trained dual encoder.

  Attributes:
    model: `two_towers.TwoTowers`.
    params: Nested arrays {img, txt, t}.
    vocabulary: Of the text tower.
    text_length: Tokens.
  """

  model: Any
  params: Any
  vocabulary: Any
  text_length: int

  @functools.cached_property
  def _embed(self) -> Any:
    return _jitted(self.model)

  def embed_texts(
    self, texts: Sequence[str], batch_size: int = 256
  ) -> np.ndarray:
    """Unit vectors float32[n, E] of texts."""
    ids = data.tokenize(self.vocabulary, texts, self.text_length)
    out = [
      np.asarray(
        self._embed[1](self.params, _pad(ids[i : i + batch_size], batch_size))
      )
      for i in range(0, len(ids), batch_size)
    ]
    return np.concatenate(out)[: len(ids)]

  def embed_clips(
    self,
    reader: Any,
    rows: Sequence[int],
    batch_size: int = 32,
    views: views_lib.Views = views_lib.Views(),
  ) -> np.ndarray:
    """Unit vectors float32[n, E] of stored clips."""
    stored = (
      records.encoded_frames(record)
      for i in range(0, len(rows), batch_size)
      for record in reader.read(list(rows[i : i + batch_size]))
    )
    return self.embed_frames(stored, batch_size, views)

  def embed_frames(
    self,
    clips: Iterable[Sequence[bytes]],
    batch_size: int = 32,
    views: views_lib.Views = views_lib.Views(),
  ) -> np.ndarray:
    """Unit vectors float32[n, E] of clips given as JPEG frames.

    Args:
      clips: The frames of each.
      batch_size: Clips at once.
      views: What the tower sees of each.

    Raises:
      ValueError: If there is no clip, or one without a readable frame.
    """
    tower = self.model.img
    clips = iter(clips)
    out = []
    count = 0
    while batch := list(itertools.islice(clips, batch_size)):
      frames = np.stack(
        [views.frames(c, tower.num_frames, tower.image_size) for c in batch]
      )
      count += len(batch)
      shape = (batch_size, frames.shape[1])
      frames = _pad(frames, batch_size).reshape(-1, *frames.shape[2:])
      embedded = np.asarray(self._embed[0](self.params, frames))
      out.append(views_lib.average(embedded.reshape(*shape, -1)))
    if not out:
      raise ValueError('no clip to embed')
    return np.concatenate(out)[:count]

  @property
  def logit_scale(self) -> float:
    """What training multiplied similarities by, the inverse temperature."""
    t = float(np.asarray(self.params['t'])[0])
    low, high = two_towers.MIN_LOG_SCALE, two_towers.MAX_LOG_SCALE
    return math.exp(min(max(t, low), high))


@functools.lru_cache(maxsize=8)
def _jitted(model: Any) -> tuple[Any, Any]:
  def images(params: Any, frames: Any) -> Any:
    return model.apply({'params': params}, frames, None)[0]

  def texts(params: Any, ids: Any) -> Any:
    return model.apply({'params': params}, None, ids)[1]

  return jax.jit(images), jax.jit(texts)


def _pad(rows: np.ndarray, count: int) -> np.ndarray:
  return np.pad(rows, [(0, count - len(rows))] + [(0, 0)] * (rows.ndim - 1))


def load_towers(checkpoint: str) -> Towers:
  """Reads a dual encoder; clears the gin configuration.

  Args:
    checkpoint: See `restored.load_run`.

  Raises:
    FileNotFoundError: If there is no config.gin or no finished checkpoint.
    ValueError: If it is damaged, or no dual encoder.
  """
  model, params, vocabulary, length = restored.load_run(checkpoint)
  return Towers(model, jax.device_put(params), vocabulary, length)


def evaluate(
  *,
  checkpoint: str | Towers,
  clip_dataset: str,
  split: str | None = None,
  task: str = 'retrieval',
  templates: str | None = None,
  classes: str | None = None,
  dual_softmax_scale: float | None = None,
  allow_unavailable: bool = False,
  views: views_lib.Views = views_lib.Views(),
  batch_size: int = 32,
  output: str | None = None,
) -> dict[str, Any]:
  """Scores a dual encoder on a clip set.

  Args:
    checkpoint: A MODEL_DIR, a checkpoint in it, or towers in memory.
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
    batch_size: Clips at once.
    output: JSON file for the scores.

  Returns:
    The scores with their protocol.

  Raises:
    FileNotFoundError: If checkpoint or clip set is not there.
    ValueError: If a score is not finite, the clip set doesn't fit the task, or
      an argument makes no sense.
  """
  command_line.check_positive(batch_size=batch_size)
  command_line.check_output(output)
  protocol = protocols.get(task)
  # Mistakes are found before any clip is embedded.
  if protocol.kind == protocols.CLASSIFICATION:
    prompts.load(templates or protocol.templates)
  elif dual_softmax_scale is not None:
    retrieval.check_scale(dual_softmax_scale)
  split = split or protocol.split
  reader = clips_lib.open_clips(clip_dataset, split)
  common = {'split': split, **clip_sets.annotated(reader, allow_unavailable)}
  towers = (
    load_towers(checkpoint) if isinstance(checkpoint, str) else checkpoint
  )
  if protocol.kind == protocols.RETRIEVAL:
    score = functools.partial(
      _retrieval, dual_softmax_scale=dual_softmax_scale, **common
    )
    protocols.check_texts(task, reader.texts())
  else:
    names = clip_sets.class_names(reader, classes)
    protocols.check_classes(task, names)
    templates = templates or protocol.templates
    score = functools.partial(
      _classification, classes=names, templates=templates, **common
    )
  zimg = towers.embed_clips(reader, range(len(reader)), batch_size, views)
  scores = score(towers, reader, zimg)
  scores['protocol'] |= {
    'task': task,
    'kind': protocol.kind,
    'published_size': (
      protocol.published_size if split == protocol.split else None
    ),
    'clip_dataset': clip_dataset,
    **views.describe(towers.model.img.num_frames),
  }
  if output:
    files.make_folder(os.path.dirname(output) or '.')
    files.write_text(output, json.dumps(scores, indent=2))
  return scores


def _retrieval(
  towers: Towers,
  reader: Any,
  zimg: np.ndarray,
  *,
  split: str,
  annotated: list[str],
  known_missing: list[str],
  dual_softmax_scale: float | None,
) -> dict[str, Any]:
  ids = list(reader.clip_ids())
  pairs = [
    (clip_id, text)
    for clip_id, texts in zip(ids, reader.texts(), strict=True)
    for text in texts
  ]
  ztxt = towers.embed_texts([text for _, text in pairs])
  return retrieval.evaluate(
    ztxt @ zimg.T,
    [clip_id for clip_id, _ in pairs],
    ids,
    split=split,
    annotated_video_ids=annotated,
    known_missing=known_missing,
    dual_softmax_scale=dual_softmax_scale,
  )


def _classification(
  towers: Towers,
  reader: Any,
  zimg: np.ndarray,
  *,
  split: str,
  annotated: list[str],
  known_missing: list[str],
  classes: list[str],
  templates: str,
) -> dict[str, Any]:
  zcls = classification.class_embeddings(
    towers.embed_texts, classes, prompts.load(templates)
  )
  column = {name: i for i, name in enumerate(classes)}
  return classification.evaluate(
    zimg @ zcls.T,
    np.array([column[label] for label in reader.labels()]),
    list(reader.clip_ids()),
    split=split,
    templates=templates,
    annotated_clip_ids=annotated,
    known_missing=known_missing,
  )
