"""Gathers what commit 49c9bdf made of these runs; see make.sh."""

import hashlib
import json
import pathlib
import sys

import numpy as np

from dualenc import eval as dualenc_eval
from vidlm.data import captions, clips
from vidlm.interop import weights

CONVERTED = (
  'vlm_huggingface',
  'vlm_checkpoint',
  'vlm_img.npz',
  'vlm_llm_t5x',
  'dualenc_huggingface',
)
# Of a set's key: what depends on the machine.
MACHINE = ('backend', 'jax')


def caption_set(folder):
  """Its rows, and what of its key doesn't depend on the machine."""
  columns = ['clip_id', 'captions', 'logprobs', 'lengths', 'model']
  rows = captions.read_captions(str(folder)).select(columns).to_pylist()
  manifest = json.loads((folder / 'manifest.json').read_text())
  key = {k: v for k, v in manifest['config'].items() if k not in MACHINE}
  return {'rows': sorted(rows, key=lambda row: row['clip_id']), 'key': key}


def digests(path):
  """{leaf: type, shape and digest of its bytes}."""
  found = {}
  for name, leaf in weights.open_weights(str(path)).leaves.items():
    array = np.ascontiguousarray(np.asarray(leaf))
    digest = hashlib.blake2b(array.reshape(-1).view(np.uint8), digest_size=8)
    found[name] = f'{array.dtype}{list(array.shape)} {digest.hexdigest()}'
  return dict(sorted(found.items()))


def losses(folder, start):
  """{step: loss} of the steps of a resumed run."""
  lines = (folder / 'metrics.jsonl').read_text().splitlines()
  rows = map(json.loads, lines)
  return {row['step']: row['loss'] for row in rows if row['step'] > start}


def embeddings():
  """Of the four clips and their captions, one row each."""
  towers = dualenc_eval.load_towers('dualenc')
  reader = clips.open_clips('data/clips', 'train')
  texts = [text for row in reader.texts() for text in row]
  return {
    'clip_ids': list(reader.clip_ids()),
    'clips': towers.embed_clips(reader, range(len(reader))).tolist(),
    'texts': towers.embed_texts(texts).tolist(),
  }


def main(work):
  read = lambda name: json.loads((work / name).read_text())
  golden = {
    'captions': {
      'greedy': caption_set(work / 'greedy'),
      'sampled': caption_set(work / 'sampled'),
    },
    'scores': {
      name: read(f'{name}.json') for name in ('vlm', 'dualenc', 'classes')
    },
    'embeddings': embeddings(),
    'converted': {name: digests(work / name) for name in CONVERTED},
    'resumed': {
      'vlm': losses(work / 'vlm', 60),
      'dualenc': losses(work / 'dualenc', 20),
    },
  }
  folder = pathlib.Path('golden')
  folder.mkdir(exist_ok=True)
  for name, value in golden.items():
    (folder / f'{name}.json').write_text(json.dumps(value, indent=1) + '\n')


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
