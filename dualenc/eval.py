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
from dualenc.evals import classification, prompts, retrieval
from dualenc.models import two_towers
from vidlm.core import commands
from vidlm.data import clips as clips_lib
from vidlm.data import preprocess, records


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
    self, reader: Any, rows: Sequence[int], batch_size: int = 32
  ) -> np.ndarray:
    """Unit vectors float32[n, E] of stored clips."""
    stored = (
      records.encoded_frames(record)
      for i in range(0, len(rows), batch_size)
      for record in reader.read(list(rows[i : i + batch_size]))
    )
    return self.embed_frames(stored, batch_size)

  def embed_frames(
    self, clips: Iterable[Sequence[bytes]], batch_size: int = 32
  ) -> np.ndarray:
    """Unit vectors float32[n, E] of clips given as JPEG frames.

    Raises:
      ValueError: If there is no clip, or one without a readable frame.
    """
    tower = self.model.img
    clips = iter(clips)
    out = []
    count = 0
    while batch := list(itertools.islice(clips, batch_size)):
      frames = np.stack(
        [
          preprocess.eval_frames_from_jpeg(
            encoded, tower.num_frames, tower.image_size
          )[0]
          for encoded in batch
        ]
      )
      count += len(batch)
      frames = _pad(frames, batch_size)
      out.append(np.asarray(self._embed[0](self.params, frames)))
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
  split: str = 'test',
  task: str = 'retrieval',
  templates: str | None = None,
  batch_size: int = 32,
  output: str | None = None,
) -> dict[str, Any]:
  """Scores a dual encoder on a clip set.

  Args:
    checkpoint: A MODEL_DIR, a checkpoint in it, or towers in memory.
    clip_dataset: Folder of the clip set.
    split: Its split.
    task: 'retrieval' (the clips' texts ask) or 'classification' (by their
      labels).
    templates: Prompt preset or file of classification.
    batch_size: Clips at once.
    output: JSON file for the scores.

  Returns:
    The scores with their protocol.

  Raises:
    FileNotFoundError: If checkpoint or clip set is not there.
    ValueError: If a score is not finite, clips lack texts or labels, or an
      argument makes no sense.
  """
  commands.check_positive(batch_size=batch_size)
  commands.check_output(output)
  towers = (
    load_towers(checkpoint) if isinstance(checkpoint, str) else checkpoint
  )
  reader = clips_lib.open_clips(clip_dataset, split)
  zimg = towers.embed_clips(reader, range(len(reader)), batch_size)
  score = {'retrieval': _retrieval, 'classification': _classification}.get(task)
  if score is None:
    raise ValueError(f'task {task!r} is not retrieval or classification')
  scores = score(towers, reader, zimg, split, templates or 'kinetics_openai')
  scores['protocol']['clip_dataset'] = clip_dataset
  scores['protocol']['num_frames'] = towers.model.img.num_frames
  if output:
    os.makedirs(os.path.dirname(output) or '.', exist_ok=True)
    with open(f'{output}.partial', 'w', encoding='utf-8') as file:
      json.dump(scores, file, indent=2)
    os.replace(f'{output}.partial', output)
  return scores


def _retrieval(
  towers: Towers, reader: Any, zimg: np.ndarray, split: str, templates: str
) -> dict[str, Any]:
  del templates
  ids = list(reader.clip_ids())
  pairs = [
    (clip_id, text)
    for clip_id, texts in zip(ids, reader.texts(), strict=True)
    for text in texts
  ]
  ztxt = towers.embed_texts([text for _, text in pairs])
  return retrieval.evaluate(
    ztxt @ zimg.T, [clip_id for clip_id, _ in pairs], ids, split=split
  )


def _classification(
  towers: Towers, reader: Any, zimg: np.ndarray, split: str, templates: str
) -> dict[str, Any]:
  labels = list(reader.labels())
  if not all(labels):
    raise ValueError(
      f'{reader.data_dir}: {labels.count("")} of {len(labels)} clips of '
      f'{split} have no label; prepare them with --label_column'
    )
  classes = sorted(set(labels))
  zcls = classification.class_embeddings(
    towers.embed_texts, classes, prompts.load(templates)
  )
  return classification.evaluate(
    zimg @ zcls.T,
    np.array([classes.index(label) for label in labels]),
    list(reader.clip_ids()),
    split=split,
    templates=templates,
  )
