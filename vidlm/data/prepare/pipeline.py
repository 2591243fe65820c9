"""Videos -> a clip set: `vidlm prepare folder`.

Clips are decoded in worker processes and written shard by shard to a hidden
folder; finished shards survive an interruption, and the set appears when all
are there. Every clip that was asked for is either in the set or a line of
errors.jsonl with a reason.
"""

import collections
import dataclasses
import hashlib
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import filelock
from absl import logging

from vidlm.core import files
from vidlm.data.prepare import annotations as annotations_lib
from vidlm.data.prepare import claim, shard_plan, staging
from vidlm.data.prepare import summary as summary_lib
from vidlm.data.store import clip_writer
from vidlm.data.video import decode_pool as workers_lib
from vidlm.data.video import listing

Entry = listing.Entry
Summary = summary_lib.Summary


def prepare_folder(
  videos: str,
  output: str,
  annotations: str | None = None,
  columns: Mapping[str, str] | None = None,
  *,
  clips: str = 'whole',
  val_fraction: float = 0.0,
  workers: int | None = None,
  **options: Any,
) -> Summary:
  """Prepares a folder of videos.

  Args:
    videos: The folder.
    output: Folder of the clip set.
    annotations: File with a row a clip; without it every video of the folder
      is taken, without texts.
    columns: See `annotations.read_annotations`.
    clips: Without annotations: how to cut the videos; 'whole', 'fixed:4s' or
      'scenes'.
    val_fraction: Share of the videos (never of the clips of one) that go from
      the split 'train' to 'val', chosen by a hash of their names.
    workers: Decoding processes; by default one a CPU, 0 for none.
    **options: Of `prepare_clips`.

  Returns:
    The counts, also in summary.json.

  Raises:
    FileNotFoundError: If folder or file is not there.
    FileExistsError: If `output` holds something else; see `prepare_clips`.
    ValueError: For annotations that make no sense, or if no clip decodes.
  """
  if not 0 <= val_fraction < 1:
    raise ValueError(f'val_fraction={val_fraction}: need 0 <= it < 1')
  if annotations is None:
    entries = listing.folder_clips(videos, clips, workers)
  else:
    entries = annotations_lib.read_annotations(annotations, videos, columns)
  entries = _hold_out(entries, val_fraction)
  return prepare_clips(entries, output, workers=workers, **options)


def prepare_clips(
  entries: Sequence[Entry],
  output: str,
  *,
  name: str = 'clips',
  description: str = '',
  fps: float = 2.0,
  min_frames: int = 8,
  max_frames: int = 64,
  size: int | None = 256,
  quality: int = 95,
  num_shards: int | None = None,
  clips_per_shard: int = 1000,
  workers: int | None = None,
  limits: workers_lib.WorkerLimits = workers_lib.WorkerLimits(),
  overwrite: bool = False,
  beam_pipeline_options: str | None = None,
  **further: Any,
) -> Summary:
  """Decodes clips and writes them as a clip set.

  Done again with the same clips and options it does nothing; after an
  interruption it goes on; with other clips or options it refuses.

  Args:
    entries: The clips; their order is that of the records of a split.
    output: Folder of the set.
    name: Of the TFDS dataset.
    description: For dataset_info.json.
    fps: Frames stored a second.
    min_frames: A clip too short for so many is sampled more densely.
    max_frames: A clip too long for so many is sampled more sparsely.
    size: Shorter side of a frame in pixels; None or 0 keeps it.
    quality: Of the JPEG.
    num_shards: Files of each split; by default as clips_per_shard says.
    clips_per_shard: Also what an interruption may cost at most.
    workers: Decoding processes; by default one a CPU, 0 for none.
    limits: Of each process.
    overwrite: Discard what `output` holds of another preparation.
    beam_pipeline_options: Decode on Apache Beam; see `beam`. The result is
      the same.
    **further: More fields of `decode_pool.DecodeTask`, such as `frame_rate`.

  Returns:
    The counts, also in summary.json.

  Raises:
    FileExistsError: If `output` was prepared from other clips or options.
    ValueError: If no clip decodes, clip ids are not unique, or a number makes
      no sense.
  """
  _check_numbers(fps, min_frames, max_frames, size)
  task = dict(
    fps=fps,
    min_frames=min_frames,
    max_frames=max_frames,
    size=size,
    quality=quality,
    **further,
  )
  plan = shard_plan.make_plan(
    entries, num_shards, clips_per_shard, {**task, 'name': name}
  )
  folder = pathlib.Path(output)
  files.make_folder(folder, '--output')
  try:
    with filelock.FileLock(folder / '.lock', timeout=0):
      done = claim.claim(folder, plan, overwrite)
      if done is not None:
        logging.info('%s: prepared already, nothing to do', output)
        return done
      if beam_pipeline_options is not None:
        from vidlm.data.prepare import beam

        beam.decode_shards(
          plan, folder, task, workers, limits, beam_pipeline_options
        )
      else:
        with workers_lib.DecodePool(workers, limits) as pool:
          staging.decode_shards(plan, folder, pool, task)
      return _finish(plan, folder, name, description)
  except filelock.Timeout:
    raise FileExistsError(
      f'{output}: another process is preparing this folder'
    ) from None


def _check_numbers(
  fps: float, min_frames: int, max_frames: int, size: int | None
) -> None:
  # Or else every clip would fail on its own.
  if not 0 < fps < float('inf'):
    raise ValueError(f'fps={fps}: need more than 0')
  if min_frames < 1 or max_frames < 1:
    raise ValueError(
      f'min_frames={min_frames}, max_frames={max_frames}: need at least 1'
    )
  if size is not None and size < 0:
    raise ValueError(f'size={size}: need 0 (keeps it) or more')


def _hold_out(entries: Sequence[Entry], fraction: float) -> list[Entry]:
  """Moves a fraction of the train videos, with all their clips, to val."""
  names = {entry.video for entry in entries if entry.split == 'train'}
  ranked = sorted(names, key=lambda n: hashlib.sha256(n.encode()).digest())
  held = set(ranked[: round(fraction * len(ranked))])
  return [
    dataclasses.replace(entry, split='val')
    if entry.split == 'train' and entry.video in held
    else entry
    for entry in entries
  ]


def _finish(
  plan: shard_plan.Plan, folder: pathlib.Path, name: str, description: str
) -> Summary:
  """Turns finished shards into a clip set and counts."""
  staged = plan.folder(folder)
  splits: dict[str, clip_writer.Split] = {}
  failed: collections.Counter[str] = collections.Counter()
  for shard in plan.shards:
    report = staging.read_report(staged, shard)
    failed.update(failure['reason'] for failure in report['failures'])
    if not report['index']:
      continue  # TFDS has no use for a shard without records
    if shard.split not in splits:
      members = [s for s in plan.shards if s.split == shard.split]
      index = staging.Reported(staged, members, 'index')
      splits[shard.split] = clip_writer.Split([], [], index)
    split = splits[shard.split]
    split.shards.append(str(staging.shard_path(staged, shard)))
    split.lengths.append(len(report['index']))
  counts = {split: sum(content.lengths) for split, content in splits.items()}
  summary = Summary(
    total=plan.total,
    ok=sum(counts.values()),
    failed=dict(sorted(failed.items())),
    splits=counts,
    output=str(folder),
  )
  failures = staging.Reported(staged, plan.shards, 'failures')
  summary_lib.write(folder, summary, failures)
  if not splits:
    raise ValueError(f'{summary}: nothing to make a set of')
  clip_writer.publish(str(folder), name, splits, description)
  shutil.rmtree(folder / '.staging')
  logging.info('%s', summary)
  return summary
