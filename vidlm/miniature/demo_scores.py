"""The demo's scores, each kept on disk as soon as it is known."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from vidlm.captions import gallery as gallery_lib
from vidlm.core import files
from vidlm.data.store import caption_sets as captions_lib
from vidlm.data.store import clip_reader as clips_lib
from vidlm.data.store import frame_lookup
from vidlm.data.video import sampling
from vidlm.miniature import demo_report

GALLERY = 12


def number_of_clips(folder: pathlib.Path) -> int:
  """Returns clips of a set's training split."""
  return len(clips_lib.open_clips(str(folder), 'train'))


def cached(path: pathlib.Path, make: Callable[[], Any]) -> Any:
  """Reads JSON back if it is there; makes and writes it if not."""
  if not path.exists():
    files.make_folder(path.parent)
    files.write_json(path, make())
  return json.loads(path.read_text())


def score(demo: Any) -> None:
  """Scores the VLMs, then the dual encoders."""
  for stage in demo.vlm_stages():
    for kind, clip_set in (('caption', 'captioning'), ('question', 'qa')):
      cached(
        demo.output / 'scores' / f'{clip_set}.{stage}.json',
        functools.partial(_score_vlm, demo, stage, kind, clip_set),
      )
  for source, clips in demo.dual_encoder_runs():
    name = demo.dualenc_name(source, clips)
    cached(
      demo.output / 'scores' / f'{name}.json',
      functools.partial(_score_dual_encoder, demo, name),
    )


def _score_vlm(demo: Any, stage: str, kind: str, clip_set: str) -> Any:
  from vidlm import eval as eval_lib

  config = eval_lib.EvalConfig(
    str(demo.output / f'data/test_{clip_set}'),
    split='test',
    kind=kind,
    num_frames=demo.num_frames,
    max_length=32,
    clips_per_device=50,
  )
  return eval_lib.evaluate(demo.vlm(stage), config)


def _score_dual_encoder(demo: Any, name: str) -> Any:
  from dualenc import eval as eval_lib

  towers = eval_lib.load_towers(str(demo.output / name))
  return {
    task: eval_lib.evaluate(
      towers,
      eval_lib.EvalConfig(
        str(demo.output / f'data/test_{task}'),
        split='test',
        task=task,
        templates=str(demo.output / 'data/class_templates.txt'),
        clips_per_device=50,
      ),
    )
    for task in ('retrieval', 'classification')
  }


def write_report(demo: Any, run: Mapping[str, Any]) -> None:
  """Gathers the scores into report.json and report.html."""
  scores = demo.output / 'scores'
  read = lambda name: json.loads((scores / f'{name}.json').read_text())
  stages = list(demo.vlm_stages())
  towers = {
    source: read(demo.dualenc_name(source, None))
    for source, clips in demo.dual_encoder_runs()
    if clips is None
  }
  report = {
    'captioning': {s: _captioning(read(f'captioning.{s}')) for s in stages},
    'qa': _qa({s: read(f'qa.{s}') for s in stages}),
    'retrieval': _retrieval({s: v['retrieval'] for s, v in towers.items()}),
    'classification': _classification(
      {s: v['classification'] for s, v in towers.items()}
    ),
    'scaling': _scaling(demo, read),
    'caption_quality': caption_quality(demo),
    'run': dict(run),
  }
  report['expected'] = expectations(report)
  files.write_json(demo.output / 'report.json', report)
  demo_report.write_page(
    report,
    gallery(demo),
    own_videos(demo),
    demo.output / 'report.html',
    demo.own_model_note(),
  )


def _captioning(scores: Mapping[str, Any]) -> dict[str, Any]:
  return {key: scores[key] for key in ('cider', 'mean_words', 'n', 'protocol')}


def _qa(scores: Mapping[str, Any]) -> dict[str, Any]:
  out = {
    stage: {key: value[key] for key in ('accuracy', 'n', 'protocol')}
    for stage, value in scores.items()
  }
  majority = next(iter(scores.values()))['majority']
  return {**out, 'majority': {'accuracy': majority['accuracy']}}


def _retrieval(scores: Mapping[str, Any]) -> dict[str, Any]:
  out = {}
  for source, value in scores.items():
    row = value['t2v']
    out[source] = {
      **{f'r{k}': row[f'R@{k}'] for k in (1, 5, 10)},
      'n': row['num_queries'],
      'median_rank': row['median_rank'],
      'r1_interval': row['interval_95']['R@1'],
      'protocol': value['protocol'],
    }
  n = next(iter(out.values()))['n']
  out['chance'] = {'r1': 1 / n, 'r5': 5 / n, 'r10': 10 / n, 'n': n}
  return out


def _classification(scores: Mapping[str, Any]) -> dict[str, Any]:
  out = {
    source: {
      'top1': value['top1'],
      'top5': value['top5'],
      'n': value['protocol']['num_clips'],
      'protocol': value['protocol'],
    }
    for source, value in scores.items()
  }
  protocol = next(iter(scores.values()))['protocol']
  out['chance'] = {
    'top1': protocol['chance_top1'],
    'top5': protocol['chance_top5'],
    'n': protocol['num_clips'],
  }
  return out


def _scaling(demo: Any, read: Callable[[str], Any]) -> list[dict[str, Any]]:
  total = number_of_clips(demo.output / 'data/web_clips')
  rows = []
  for source, clips in demo.scaling_runs():
    scores = read(demo.dualenc_name(source, clips))['retrieval']
    rows.append(
      {
        'captions': source,
        'clips': clips or total,
        'r1': scores['t2v']['R@1'],
      }
    )
  return sorted(rows, key=lambda row: (row['captions'], row['clips']))


def expectations(report: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns what the paper found, and whether it shows here."""
  captioning, qa = report['captioning'], report['qa']
  retrieval = report['retrieval']
  best = retrieval['visual+language']['r1']
  curve = [
    row['r1']
    for row in report['scaling']
    if row['captions'] == 'visual+language'
  ]
  gain = 100 * (best - retrieval['alt_text']['r1'])
  return [
    _claim(
      'adapted captions beat the image VLM by CIDEr',
      captioning['visual+language']['cider']
      > captioning['image_vlm']['cider']
      < captioning['visual']['cider'],
      ' / '.join(f'{v["cider"]:.2f}' for v in captioning.values()),
    ),
    _claim(
      'distilled captions beat alt-text by at least 10 points R@1',
      gain >= 10,
      f'{gain:+.1f} points',
    ),
    _claim(
      'and R@1 grows with the number of clips',
      curve[-1] > curve[0],
      ' → '.join(f'{100 * r1:.1f}' for r1 in curve),
    ),
    _claim(
      'language adaptation raises QA',
      qa['visual+language']['accuracy'] > qa['visual']['accuracy'],
      f'{100 * qa["visual"]["accuracy"]:.1f} → '
      f'{100 * qa["visual+language"]["accuracy"]:.1f} %',
    ),
    _claim(
      'captions of one frame train a worse dual encoder',
      best > retrieval['single_frame']['r1'],
      f'{100 * retrieval["single_frame"]["r1"]:.1f} against {100 * best:.1f}',
    ),
  ]


def _claim(claim: str, holds: bool, seen: str) -> dict[str, Any]:
  return {'claim': claim, 'holds': bool(holds), 'seen': seen}


def caption_quality(demo: Any) -> dict[str, Any]:
  """Scores what each source of captions names, against the simulator."""
  from vidlm.miniature.world import corpora, grammar

  truth = corpora.read_truth(
    str(demo.output / 'data/videos/web_clips.truth.jsonl')
  )
  out = {}
  for source in demo.caption_sources():
    shares = grammar.caption_shares(
      (text, truth[clip_id])
      for clip_id, group in demo.texts_of(source).items()
      for text in group
    )
    out[source] = dataclasses.asdict(shares)
  return out


def gallery(demo: Any) -> list[demo_report.GalleryClip]:
  """Renders keyframes of web clips with every source's first caption."""
  frames = frame_lookup.open_frames(str(demo.output / 'data/web_clips'))
  ids = list(frames.clip_ids[:GALLERY])
  texts = {s: demo.texts_of(s) for s in demo.caption_sources()}
  return [
    demo_report.GalleryClip(
      clip_id,
      gallery_lib.spread(keyframes, 8),
      {s: (t.get(clip_id) or ['(failed)'])[0] for s, t in texts.items()},
    )
    for clip_id, keyframes in zip(ids, frames.read(ids), strict=True)
  ]


def own_videos(demo: Any) -> list[demo_report.GalleryClip]:
  """Renders the user's clips with their captions."""
  if not demo.videos:
    return []
  output = demo.own_captions()
  rows = captions_lib.read_captions(str(output)).to_pylist()
  frames = frame_lookup.VideoFrames(
    frame_lookup.entries_of(rows, demo.videos), sampling.Sampling(size=96)
  )
  shown = frames.read(row['clip_id'] for row in rows)
  return [
    demo_report.GalleryClip(
      row['clip_id'],
      gallery_lib.spread(keyframes, 6),
      {
        row['clip_id']: ' · '.join(dict.fromkeys(row['captions'] or []))
        or row['error']
      },
    )
    for row, keyframes in zip(rows, shown, strict=True)
  ]
