"""The miniature's corpora, each a twin of one the paper uses.

| corpus | twin of | what it is |
|---|---|---|
| image_text | WebLI | stills with captions that name bodies and places |
| text_only | what UL2 was trained on | scenes, questions and tales in words |
| short_captions | S-MiT | clips, one short noisy caption each |
| narratives | VidLN | clips, one long description each |
| web_clips | VideoCC | clips with alt-text of a fixed, poor quality |
| test_* | MSR-VTT, Kinetics, MSRVTT-QA | clean sets to score on |

Item i of a corpus depends on (seed, corpus, i) alone, so the number of worker
processes changes nothing and no two splits share a random state.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import UInt8

from vidlm.core import files
from vidlm.miniature.world import (
  grammar,
  items,
  language,
  paths,
  physics,
  pool,
  questions,
  render,
  scenes,
  texts,
  vocabulary,
)
from vidlm.miniature.world.config import MiniatureConfig

CLIP_CORPORA = (
  'short_captions',
  'narratives',
  'web_clips',
  'test_retrieval',
  'test_classification',
  'test_captioning',
  'test_qa',
)
_CHUNK = 60  # clips a worker is handed at a time
_MANIFEST = 'manifest.json'


@dataclasses.dataclass(frozen=True)
class Still:
  """A captioned picture and its caption."""

  clip_id: str
  image: UInt8[np.ndarray, 'side side 3']
  caption: str


@dataclasses.dataclass(frozen=True)
class Corpora:
  """Where the corpora lie.

  Attributes:
    annotations: Corpus -> JSON lines of `clip_id, path, caption, captions,
      questions, answers, label`; `caption` is the first of `captions`,
      `path` is relative to the file's folder.
    truth: Corpus -> JSON lines of `clip_id, relation, bodies`, for reports
      only.
    text_only: JSON lines of `inputs, targets, kind`.
  """

  annotations: dict[str, str]
  truth: dict[str, str]
  text_only: str


def make_corpora(
  output_dir: str,
  *,
  config: MiniatureConfig = MiniatureConfig(),
  seed: int = 0,
  workers: int = 2,
) -> Corpora:
  """Renders every clip and writes every annotation file.

  Args:
    output_dir: Folder to fill; one that is complete for the same config and
      seed is left as it is. What it holds of others is drawn over: see
      `holds_others`.
    config: Sizes and noise.
    seed: The only source of randomness.
    workers: Processes; 1 renders in this one.

  Returns:
    Where everything is.
  """
  corpora = _layout(output_dir)
  manifest = _manifest(config, seed)
  path = os.path.join(output_dir, _MANIFEST)
  if _read_json(path) == manifest:
    logging.info('%s holds these corpora already', output_dir)
    return corpora
  if os.path.exists(path):
    os.remove(path)  # Half drawn over, the folder must not look finished.
  jobs = []
  for corpus in CLIP_CORPORA:
    folder = os.path.join(output_dir, corpus)
    files.make_folder(folder)
    size = getattr(config, corpus)
    jobs += [
      (folder, corpus, config, seed, start, min(start + _CHUNK, size))
      for start in range(0, size, _CHUNK)
    ]
  jobs.append((output_dir, 'text_only', config, seed, 0, config.text_only))
  # The longest job first, lest it be the last one standing.
  jobs.reverse()
  results = list(pool.in_order(_make_chunk, jobs, workers))
  for corpus in (*CLIP_CORPORA, 'text_only'):
    rows = [
      row
      for job, part in zip(jobs, results, strict=True)
      if job[1] == corpus
      for row in part
    ]
    _write_rows(corpora, corpus, rows)
  # Thousands of clips, none of them waited for, before it says "finished".
  os.sync()
  files.write_text(path, json.dumps(manifest, indent=1))
  return corpora


def holds_others(output_dir: str, config: MiniatureConfig, seed: int) -> bool:
  """Returns whether a folder holds finished corpora of other numbers.

  Args:
    output_dir: As of `make_corpora`.
    config: Sizes and noise.
    seed: The source of randomness.
  """
  found = _read_json(os.path.join(output_dir, _MANIFEST))
  return found is not None and found != _manifest(config, seed)


def _manifest(config: MiniatureConfig, seed: int) -> dict[str, Any]:
  return {
    'config': dataclasses.asdict(config),
    'seed': seed,
    'code': _code_hash(),
  }


def _layout(output_dir: str) -> Corpora:
  return Corpora(
    {c: os.path.join(output_dir, f'{c}.jsonl') for c in CLIP_CORPORA},
    {c: os.path.join(output_dir, f'{c}.truth.jsonl') for c in CLIP_CORPORA},
    os.path.join(output_dir, 'text_only.jsonl'),
  )


def _code_hash() -> str:
  """Hashes the sources that decide what is made: edits must not reuse clips."""
  modules = (
    grammar,
    items,
    language,
    paths,
    physics,
    questions,
    render,
    texts,
    vocabulary,
    scenes,
  )
  files = [__file__, *(str(module.__file__) for module in modules)]
  digest = hashlib.sha256()
  for name in files:
    with open(name, 'rb') as file:
      digest.update(file.read())
  return digest.hexdigest()[:16]


def _read_json(path: str) -> Any:
  try:
    with open(path, encoding='utf-8') as file:
      return json.load(file)
  except (FileNotFoundError, json.JSONDecodeError):
    return None


def _write_rows(
  corpora: Corpora, corpus: str, rows: list[tuple[dict, dict]]
) -> None:
  rows.sort(key=lambda pair: pair[0].get('clip_id', ''))
  if corpus == 'text_only':
    files.write_json_lines(corpora.text_only, [row for row, _ in rows])
    return
  annotations, truths = zip(*rows, strict=True) if rows else ((), ())
  files.write_json_lines(corpora.annotations[corpus], annotations)
  files.write_json_lines(corpora.truth[corpus], truths)


def _make_chunk(
  folder: str,
  corpus: str,
  config: MiniatureConfig,
  seed: int,
  start: int,
  stop: int,
) -> list[tuple[dict, dict]]:
  """Makes rows and truths of items start to stop, and renders their clips."""
  if corpus == 'text_only':
    return [(row, {}) for row in iter_text(config, seed, stop)]
  out = []
  for index in range(start, stop):
    scene, annotation = items.make_item(corpus, index, config, seed)
    clip_id = f'{corpus}_{index:06d}'
    render.write_mp4(
      os.path.join(folder, f'{clip_id}.mp4'),
      render.draw(scene, config.side),
      config.video_fps,
      qp=config.qp,
      pixel_format=config.pixel_format,
    )
    path = f'{corpus}/{clip_id}.mp4'
    out.append(
      (
        {'clip_id': clip_id, 'path': path, **annotation},
        {
          'clip_id': clip_id,
          'relation': scene.relation,
          'bodies': [dataclasses.asdict(body) for body in scene.bodies],
          'contacts': list(scene.contacts),
        },
      )
    )
  return out


def read_truth(path: str) -> dict[str, list[scenes.Body]]:
  """Reads {clip id: its bodies} from one of `Corpora.truth`, for reports."""
  with open(path, encoding='utf-8') as file:
    rows = [json.loads(line) for line in file]
  return {
    row['clip_id']: [scenes.Body(**body) for body in row['bodies']]
    for row in rows
  }


def iter_text(
  config: MiniatureConfig, seed: int, count: int | None = None
) -> Iterator[dict[str, str]]:
  """Yields lines of the text-only corpus: `kind`, `inputs`, `targets`."""
  times = scenes.frame_times(config.seconds, config.video_fps)
  for index in range(config.text_only if count is None else count):
    rng = items.random_state(seed, 'text_only', index)
    scene = scenes.sample_scene(rng, times, two_bodies=config.two_bodies)
    yield language.text_example(rng, scene, config)


def iter_stills(
  config: MiniatureConfig, seed: int, start: int = 0, stop: int | None = None
) -> Iterator[Still]:
  """Yields the image-text corpus from `start` to `stop`, drawn on the fly.

  Bodies lie anywhere and have any size that a clip shows; some pictures are
  empty, as frames before something appears are.
  """
  for index in range(start, config.image_text if stop is None else stop):
    rng = items.random_state(seed, 'image_text', index)
    scene = items.sample_still(rng, config.two_bodies)
    caption = texts.still_caption(
      rng, scene.bodies, scene.tracks[0], scene.background.name
    )
    image = render.draw(scene, config.side)[0]
    yield Still(f'image_text_{index:06d}', image, caption)
