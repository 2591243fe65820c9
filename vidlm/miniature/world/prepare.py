"""The miniature's corpora as clip sets: drawn, encoded, and read back.

Videos go through the same path as any user's: H.264 files and a JSON lines
file, decoded by PyAV in worker processes.
"""

import dataclasses
import io
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import numpy as np
from absl import logging

from vidlm.core import files
from vidlm.data.feed.vocabulary import train_sentencepiece
from vidlm.data.prepare import annotations
from vidlm.data.prepare import pipeline as prepare_lib
from vidlm.data.store import clip_reader, clip_schema, clip_writer
from vidlm.data.video import listing, sampling
from vidlm.miniature.world import corpora as corpora_lib
from vidlm.miniature.world import pool
from vidlm.miniature.world.config import MiniatureConfig
from vidlm.miniature.world.vocabulary import class_templates

_STILLS = 600  # that a worker draws at a time
_COLUMNS = {
  'caption': 'captions',
  'question': 'questions',
  'answer': 'answers',
}


def prepare_miniature(
  output: str,
  *,
  config: MiniatureConfig = MiniatureConfig(),
  seed: int = 0,
  workers: int = 2,
  overwrite: bool = False,
) -> None:
  """Draws the corpora and writes a clip set of each below `output`.

  Args:
    output: Folder for videos/ (mp4 files, annotations), one clip set a
      corpus, text_only.jsonl, class_templates.txt (prompts of zero-shot
      classification) and vocabulary.model. What is there for the
      same config and seed is left as it is.
    config: Sizes and noise.
    seed: The only source of randomness.
    workers: Processes that render and decode.
    overwrite: Draw over what is there of another config or seed.

  Raises:
    FileExistsError: If something is, and may not be drawn over.
  """
  videos = os.path.join(output, 'videos')
  if corpora_lib.holds_others(videos, config, seed):
    if not overwrite:
      raise FileExistsError(
        f'{output}: holds a miniature of another seed, config or version; '
        'choose another folder, or overwrite it'
      )
    _remove_derived(output)
  made = corpora_lib.make_corpora(
    videos, config=config, seed=seed, workers=workers
  )
  for corpus, path in made.annotations.items():
    entries = annotations.read_annotations(path, videos, _COLUMNS)
    split = 'test' if corpus.startswith('test') else 'train'
    prepare_lib.prepare_clips(
      [_in_split(entry, split) for entry in entries],
      os.path.join(output, corpus),
      sampling=sampling.Sampling(size=None),
      layout=prepare_lib.Layout(corpus, f'Miniature, seed {seed}: {corpus}.'),
      # Drawn again means read again; else this does nothing.
      work=prepare_lib.Work(workers, overwrite=True),
    )
  stills = os.path.join(output, 'image_text')
  if 'train' not in clip_schema.splits(stills):
    count = clip_writer.write_clips(
      _still_rows(config, seed, workers),
      stills,
      'image_text',
      description=f'Miniature, seed {seed}: stills.',
    )
    logging.info('%s: %d stills', stills, count)
  _share_text(made.text_only, output)
  files.write_text(
    os.path.join(output, 'class_templates.txt'),
    '\n'.join(class_templates()) + '\n',
  )
  vocabulary = os.path.join(output, 'vocabulary.model')
  if not os.path.exists(vocabulary):
    # Unigram cuts "Generate the alt-text:" into 14 pieces, BPE into 6.
    train_sentencepiece(
      _training_text(made, stills), vocabulary, model_type='bpe'
    )


def _remove_derived(output: str) -> None:
  """Removes what is made of the numbers and not of the videos."""
  shutil.rmtree(os.path.join(output, 'image_text'), ignore_errors=True)
  for name in ('text_only.jsonl', 'vocabulary.model'):
    pathlib.Path(output, name).unlink(missing_ok=True)


def _in_split(entry: listing.Entry, split: str) -> listing.Entry:
  return dataclasses.replace(entry, split=split)


def _still_rows(
  config: MiniatureConfig, seed: int, workers: int
) -> Iterator[clip_schema.ClipRow]:
  jobs = [
    (config, seed, start, min(start + _STILLS, config.image_text))
    for start in range(0, config.image_text, _STILLS)
  ]
  for rows in pool.in_order(_draw_stills, jobs, workers):
    yield from rows


def _draw_stills(
  config: MiniatureConfig, seed: int, start: int, stop: int
) -> list[clip_schema.ClipRow]:
  import PIL.Image

  rows = []
  for still in corpora_lib.iter_stills(config, seed, start, stop):
    buffer = io.BytesIO()
    PIL.Image.fromarray(np.asarray(still.image)).save(
      buffer, 'JPEG', quality=95, subsampling=0
    )
    rows.append(
      clip_schema.ClipRow(
        still.clip_id,
        'drawn',
        0.0,
        0.0,
        (buffer.getvalue(),),
        (0.0,),
        (still.caption,),
      )
    )
  return rows


def _share_text(path: str, output: str) -> None:
  target = os.path.join(output, 'text_only.jsonl')
  if not os.path.exists(target):
    with open(path, encoding='utf-8') as source:
      files.write_text(target, source.read())


def _training_text(made: corpora_lib.Corpora, stills: str) -> Iterator[str]:
  """Yields all text a model may train on; tests give none."""
  with open(made.text_only, encoding='utf-8') as file:
    for line in file:
      item = json.loads(line)
      yield item['inputs']
      yield item['targets']
  for captions in clip_reader.open_clips(stills, 'train').texts():
    yield from captions
  for corpus in ('short_captions', 'narratives', 'web_clips'):
    with open(made.annotations[corpus], encoding='utf-8') as file:
      for line in file:
        yield from json.loads(line)['captions']
