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

import concurrent.futures
import dataclasses
import hashlib
import json
import multiprocessing
import os
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import UInt8

from vidlm.miniature import language, questions, render, texts, world
from vidlm.miniature.config import MiniatureConfig
from vidlm.miniature.physics import SIDE
from vidlm.miniature.vocabulary import COLLIDES, COLOURS, MOTIONS, SHAPES

CLIP_CORPORA = (
  'short_captions', 'narratives', 'web_clips', 'test_retrieval',
  'test_classification', 'test_captioning', 'test_qa',
)
_CHUNK = 60  # clips a worker is handed at a time
_MANIFEST = 'manifest.json'


@dataclasses.dataclass(frozen=True)
class Still:
  """A captioned picture: uint8[side, side, 3] and its caption."""

  clip_id: str
  image: UInt8[np.ndarray, 'side side 3']
  caption: str


@dataclasses.dataclass(frozen=True)
class Corpora:
  """Where the corpora lie.

  Attributes:
    annotations: Corpus -> JSON lines of `clip_id, path, caption, captions,
      questions, answers, label`; `path` is relative to the file's folder.
    truth: Corpus -> JSON lines of `clip_id, relation, bodies`, for reports
      only.
    text_only: JSON lines of `inputs, targets, kind`.
  """

  annotations: dict[str, str]
  truth: dict[str, str]
  text_only: str


def _rng(seed: int, corpus: str, index: int) -> np.random.Generator:
  return np.random.default_rng([seed, zlib.crc32(corpus.encode()), index])


def make_corpora(
  output_dir: str, *, config: MiniatureConfig = MiniatureConfig(),
  seed: int = 0, workers: int = 2,
) -> Corpora:
  """Renders every clip and writes every annotation file.

  Args:
    output_dir: Folder to fill; one that is complete for the same config and
      seed is left as it is.
    config: Sizes and noise.
    seed: The only source of randomness.
    workers: Processes; 1 renders in this one.

  Returns:
    Where everything is.
  """
  corpora = _layout(output_dir)
  manifest = {
    'config': dataclasses.asdict(config), 'seed': seed, 'code': _code_hash(),
  }
  path = os.path.join(output_dir, _MANIFEST)
  if _read_json(path) == manifest:
    logging.info('%s holds these corpora already', output_dir)
    return corpora
  jobs = []
  for corpus in CLIP_CORPORA:
    folder = os.path.join(output_dir, 'videos', corpus)
    os.makedirs(folder, exist_ok=True)
    size = getattr(config, corpus)
    jobs += [
      (folder, corpus, config, seed, start, min(start + _CHUNK, size))
      for start in range(0, size, _CHUNK)
    ]
  jobs.append((output_dir, 'text_only', config, seed, 0, config.text_only))
  # The longest job first, lest it be the last one standing.
  jobs.reverse()
  results = list(_run(jobs, workers))
  for corpus in (*CLIP_CORPORA, 'text_only'):
    rows = [
      row for job, part in zip(jobs, results, strict=True)
      if job[1] == corpus for row in part
    ]
    _write_rows(corpora, corpus, rows)
  _write_atomic(path, json.dumps(manifest, indent=1))
  return corpora


def _layout(output_dir: str) -> Corpora:
  return Corpora(
    {c: os.path.join(output_dir, f'{c}.jsonl') for c in CLIP_CORPORA},
    {c: os.path.join(output_dir, f'{c}.truth.jsonl') for c in CLIP_CORPORA},
    os.path.join(output_dir, 'text_only.jsonl'),
  )


def _code_hash() -> str:
  """Of this package's sources: edited code must not reuse old clips."""
  folder = os.path.dirname(__file__)
  digest = hashlib.sha256()
  for name in sorted(os.listdir(folder)):
    if name.endswith('.py'):
      with open(os.path.join(folder, name), 'rb') as file:
        digest.update(file.read())
  return digest.hexdigest()[:16]


def _read_json(path: str) -> Any:
  try:
    with open(path, encoding='utf-8') as file:
      return json.load(file)
  except (FileNotFoundError, json.JSONDecodeError):
    return None


def _run(
  jobs: Sequence[tuple], workers: int
) -> Iterator[list[tuple[dict, dict]]]:
  if workers <= 1:
    yield from (_make_chunk(*job) for job in jobs)
    return
  with concurrent.futures.ProcessPoolExecutor(
    workers, multiprocessing.get_context('spawn')
  ) as pool:
    yield from pool.map(_make_chunk, *zip(*jobs, strict=True))


def _write_rows(
  corpora: Corpora, corpus: str, rows: list[tuple[dict, dict]]
) -> None:
  rows.sort(key=lambda pair: pair[0].get('clip_id', ''))
  if corpus == 'text_only':
    _write_lines(corpora.text_only, [row for row, _ in rows])
    return
  _write_lines(corpora.annotations[corpus], [row for row, _ in rows])
  _write_lines(corpora.truth[corpus], [truth for _, truth in rows])


def _write_lines(path: str, rows: Sequence[dict]) -> None:
  _write_atomic(path, ''.join(json.dumps(row) + '\n' for row in rows))


def _write_atomic(path: str, text: str) -> None:
  with open(f'{path}.partial', 'w', encoding='utf-8') as file:
    file.write(text)
  os.replace(f'{path}.partial', path)


def _make_chunk(
  folder: str, corpus: str, config: MiniatureConfig, seed: int, start: int,
  stop: int,
) -> list[tuple[dict, dict]]:
  """Rows and truths of items start to stop; clips are rendered on the way."""
  if corpus == 'text_only':
    return [(row, {}) for row in iter_text(config, seed, stop)]
  out = []
  for index in range(start, stop):
    scene, annotation = make_item(corpus, index, config, seed)
    clip_id = f'{corpus}_{index:06d}'
    render.write_mp4(
      os.path.join(folder, f'{clip_id}.mp4'),
      render.draw(scene, config.side), config.video_fps, crf=config.crf,
      pixel_format=config.pixel_format,
    )
    path = f'videos/{corpus}/{clip_id}.mp4'
    out.append((
      {'clip_id': clip_id, 'path': path, **annotation},
      {'clip_id': clip_id, 'relation': scene.relation,
       'bodies': [dataclasses.asdict(body) for body in scene.bodies],
       'contacts': list(scene.contacts)},
    ))
  return out


def make_item(
  corpus: str, index: int, config: MiniatureConfig, seed: int
) -> tuple[world.Scene, dict[str, Any]]:
  """The scene of one clip and what is written about it.

  Args:
    corpus: One of CLIP_CORPORA.
    index: Which clip.
    config: Sizes and noise.
    seed: As in `make_corpora`.

  Returns:
    The scene; `caption`, `captions`, `questions`, `answers`, `label`.
  """
  rng = _rng(seed, corpus, index)
  times = world.frame_times(config.seconds, config.video_fps)
  motion, looks = None, ()
  if corpus == 'test_classification':
    motion = tuple(MOTIONS)[index % len(MOTIONS)]
  elif corpus == 'test_retrieval':
    motion, looks = _descriptions(seed, config.test_retrieval)[index]
  scene = world.sample_scene(
    rng, times, motion=motion, looks=looks, two_bodies=config.two_bodies
  )
  captions = _captions(corpus, rng, scene, index, config, seed)
  asked = []
  if corpus == 'test_qa':
    pool = questions.ask(rng, scene.bodies, scene.relation)
    chosen = rng.permutation(len(pool))[: config.questions]
    asked = [pool[int(i)] for i in sorted(chosen)]
  return scene, {
    'caption': captions[0] if captions else '',
    'captions': captions,
    'questions': [item.question for item in asked],
    'answers': [item.answer for item in asked],
    # Two bodies may move in two ways: then there is no one class.
    'label': motion or '',
  }


def _captions(
  corpus: str, rng: np.random.Generator, scene: world.Scene, index: int,
  config: MiniatureConfig, seed: int,
) -> list[str]:
  if corpus == 'short_captions':
    return [texts.short_caption(rng, scene, config.speech)]
  if corpus == 'narratives':
    return [texts.narrative(rng, scene)]
  if corpus == 'web_clips':
    other = world.sample_scene(
      _rng(seed, 'web_clips_other', index),
      world.frame_times(config.seconds, config.video_fps),
      two_bodies=config.two_bodies,
    )
    return [texts.alt_text(rng, scene, other, config.alt_text)]
  plain = texts.clean_caption(scene)
  if corpus != 'test_captioning':
    return [plain]
  return [plain, *(
    texts.reworded_caption(rng, scene, synonym=0.4, place=0.15)
    for _ in range(config.references - 1)
  )]


def _descriptions(
  seed: int, count: int
) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
  """`count` distinct (motion, looks), as many of each motion as can be.

  Raises:
    ValueError: If the world has fewer.
  """
  rng = _rng(seed, 'descriptions', 0)
  looks = [(colour, shape) for colour in COLOURS for shape in SHAPES]
  most = len(looks) * len(MOTIONS)
  if count > most:
    raise ValueError(
      f'MiniatureConfig.test_retrieval {count}: the world has {most} '
      'distinct descriptions only'
    )
  queues = {}
  for motion in MOTIONS:
    order = [looks[i] for i in rng.permutation(len(looks))]
    queues[motion] = [
      (look, _partner(look)) if motion == COLLIDES else (look,)
      for look in order
    ]
  return [
    (motion, queues[motion][turn])
    for turn in range(len(looks)) for motion in MOTIONS
  ][:count]


def _partner(look: tuple[str, str]) -> tuple[str, str]:
  """The next colour and shape: no two collisions have the same two bodies."""
  colours, shapes = list(COLOURS), list(SHAPES)
  return (
    colours[(colours.index(look[0]) + 1) % len(colours)],
    shapes[(shapes.index(look[1]) + 1) % len(shapes)],
  )


def read_truth(path: str) -> dict[str, list[world.Body]]:
  """Clip id -> its bodies, from one of `Corpora.truth`. For reports only."""
  with open(path, encoding='utf-8') as file:
    rows = [json.loads(line) for line in file]
  return {
    row['clip_id']: [world.Body(**body) for body in row['bodies']]
    for row in rows
  }


def iter_text(
  config: MiniatureConfig, seed: int, count: int | None = None
) -> Iterator[dict[str, str]]:
  """Lines of the text-only corpus: `kind`, `inputs`, `targets`."""
  times = world.frame_times(config.seconds, config.video_fps)
  for index in range(config.text_only if count is None else count):
    rng = _rng(seed, 'text_only', index)
    scene = world.sample_scene(rng, times, two_bodies=config.two_bodies)
    yield language.text_example(rng, scene, config)


def iter_stills(config: MiniatureConfig, seed: int) -> Iterator[Still]:
  """The image-text corpus, drawn on the fly.

  Bodies lie anywhere and have any size that a clip shows; some pictures are
  empty, as frames before something appears are.
  """
  for index in range(config.image_text):
    rng = _rng(seed, 'image_text', index)
    scene = _sample_still(rng, config.two_bodies)
    caption = texts.still_caption(
      rng, scene.bodies, scene.tracks[0], scene.background.name
    )
    image = render.draw(scene, config.side)[0]
    yield Still(f'image_text_{index:06d}', image, caption)


def _sample_still(rng: np.random.Generator, two_bodies: float) -> world.Scene:
  draw = rng.random()
  count = 2 if draw < two_bodies else 0 if draw > 0.97 else 1
  largest = 12.5 if count == 2 else 15.0
  while True:
    widths = rng.uniform(5.0, largest, count)
    margins = widths[:, None] / 2 + 0.5
    centres = rng.uniform(margins, SIDE - margins, (count, 2))
    apart = count < 2 or (
      np.abs(centres[0] - centres[1]).max() > widths.mean() + 0.5
    )
    if apart:
      break
  return world.sample_still(rng, centres, widths)
