"""What the real-pixels run came to: scores, times and circumstances."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

from vidlm.core import circumstances


def gather(output: pathlib.Path, run: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the report of a finished run.

  Args:
    output: Its folder.
    run: How it was started: command, seed, scale.
  """
  captioning = _read(output / 'scores/vlm.json')
  retrieval = _read(output / 'scores/dualenc.json')
  stages = {k: round(v, 1) for k, v in _read(output / 'seconds.json').items()}
  return {
    'captioning': {
      key: captioning[key] for key in ('cider', 'mean_words', 'n', 'protocol')
    },
    'retrieval': {
      **_recalls(retrieval['t2v']),
      'v2t': _recalls(retrieval['v2t']),
      'protocol': retrieval['protocol'],
    },
    'scored_on': 'the training clips: what was learnt, not what generalises',
    'clips': _clips(output / 'data/clips'),
    **run,
    'seconds': round(sum(stages.values()), 1),
    'stages': stages,
    'commit': circumstances.commit(),
    'machine': circumstances.machine(),
  }


def summary(report: Mapping[str, Any]) -> str:
  """Returns the figures in a few lines."""
  captioning, retrieval = report['captioning'], report['retrieval']
  return (
    f'captions: CIDEr-D {captioning["cider"]:.2f} of 10 (greedy, '
    f'n = {captioning["n"]})\n'
    f'retrieval: R@1 {retrieval["r1"]:.3f} text to video, '
    f'{retrieval["v2t"]["r1"]:.3f} video to text (n = {retrieval["n"]})\n'
    f'both on the clips trained on; {report["seconds"]:.0f} s in all'
  )


def _read(path: pathlib.Path) -> dict[str, Any]:
  return json.loads(path.read_text(encoding='utf-8'))


def _recalls(row: Mapping[str, Any]) -> dict[str, Any]:
  recalls = {f'r{k}': row[f'R@{k}'] for k in (1, 5, 10)}
  return {**recalls, 'n': row['num_queries']}


def _clips(folder: pathlib.Path) -> dict[str, Any]:
  """Says how many clips were asked for and read, and how alike their texts."""
  from vidlm.data.store import clip_reader

  counts = _read(folder / 'summary.json')
  texts = [
    text
    for group in clip_reader.open_clips(str(folder)).texts()
    for text in group
  ]
  return {
    **{key: counts[key] for key in ('total', 'ok', 'failed')},
    'captions': len(texts),
    'distinct_captions': len(set(texts)),
  }
