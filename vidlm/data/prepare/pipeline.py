"""Videos -> a clip set: `vidlm prepare folder`.

Clips are decoded in worker processes and written shard by shard to a hidden
folder; finished shards survive an interruption, and the set appears when all
are there. Every clip that was asked for is either in the set or a line of
errors.jsonl with a reason.
"""

import collections
import dataclasses
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import filelock
from absl import logging

from vidlm.core import files
from vidlm.data.prepare import annotations as annotations_lib
from vidlm.data.prepare import claim, cut_short, shard_plan, staging
from vidlm.data.prepare import summary as summary_lib
from vidlm.data.store import clip_writer
from vidlm.data.video import decode_pool, listing
from vidlm.data.video import inventory as inventories
from vidlm.data.video import sampling as sampling_lib

Entry = listing.Entry
Layout = shard_plan.Layout
Summary = summary_lib.Summary


@dataclasses.dataclass(frozen=True)
class Work:
  """Who makes a set; it is the same in any case.

  Attributes:
    workers: Decoding processes; by default one a CPU, 0 for none.
    overwrite: Discard what the folder holds of another preparation.
    beam_pipeline_options: Decode on Apache Beam; see `beam`.
  """

  workers: int | None = None
  overwrite: bool = False
  beam_pipeline_options: str | None = None


def prepare_folder(
  videos: inventories.Videos,
  output: str,
  annotations: str | None = None,
  columns: Mapping[str, str] | None = None,
  *,
  clips: str = 'whole',
  sampling: sampling_lib.Sampling = sampling_lib.Sampling(),
  layout: Layout = Layout(),
  work: Work = Work(),
) -> Summary:
  """Prepares a folder of videos.

  Args:
    videos: The folder; a `scanner.Folder` where links out of it are followed.
    output: Folder of the clip set.
    annotations: File with a row a clip; without it every video of the folder
      is taken, without texts.
    columns: See `annotations.read_annotations`.
    clips: Without annotations: how to cut the videos; 'whole', 'fixed:4s' or
      'scenes'.
    sampling: How clips become frames.
    layout: Name, splits and shards of the set.
    work: Who makes it.

  Returns:
    The counts, also in summary.json.

  Raises:
    FileNotFoundError: If folder or file is not there.
    FileExistsError: If `output` holds something else; see `prepare_clips`.
    ValueError: For annotations that make no sense, or if no clip decodes.
  """
  inventory = inventories.take(videos)
  inventory.log()
  if annotations is None:
    entries = listing.folder_clips(
      inventory, clips, work.workers, sampling.limits
    )
  else:
    entries = annotations_lib.read_annotations(annotations, inventory, columns)
  found = summary_lib.Files(inventory, by_rows=annotations is not None)
  return prepare_clips(
    entries, output, sampling=sampling, layout=layout, work=work, found=found
  )


def prepare_clips(
  entries: Sequence[Entry],
  output: str,
  *,
  sampling: sampling_lib.Sampling = sampling_lib.Sampling(),
  layout: Layout = Layout(),
  work: Work = Work(),
  found: summary_lib.Files | None = None,
) -> Summary:
  """Decodes clips and writes them as a clip set.

  Done again with the same clips, sampling and layout it does nothing; after
  an interruption it goes on; with others it refuses.

  Args:
    entries: The clips; their order is that of the records of a split.
    output: Folder of the set.
    sampling: How clips become frames.
    layout: Name, splits and shards of the set.
    work: Who makes it.
    found: The files of the folder that the clips are from, to be counted.

  Returns:
    The counts, also in summary.json.

  Raises:
    FileExistsError: If `output` was prepared otherwise.
    ValueError: If no clip decodes, or clip ids are not unique.
  """
  plan = shard_plan.make_plan(entries, sampling, layout)
  folder = pathlib.Path(output)
  files.make_folder(folder, '--output')
  try:
    with filelock.FileLock(folder / '.lock', timeout=0):
      done = claim.claim(folder, plan, work.overwrite)
      if done is not None:
        logging.info('%s; prepared already, nothing to do', done.whole)
        return done
      _decode(plan, folder, sampling, work)
      return _finish(plan, folder, layout, found)
  except filelock.Timeout:
    raise FileExistsError(
      f'{output}: another process is preparing this folder'
    ) from None


def _decode(
  plan: shard_plan.Plan,
  folder: pathlib.Path,
  sampling: sampling_lib.Sampling,
  work: Work,
) -> None:
  """Makes the shards that aren't there yet."""
  if work.beam_pipeline_options is not None:
    from vidlm.data.prepare import beam

    beam.decode_shards(
      plan, folder, sampling, work.workers, work.beam_pipeline_options
    )
    return
  with decode_pool.DecodePool(work.workers) as pool:
    staging.decode_shards(plan, folder, pool, sampling)


def _finish(
  plan: shard_plan.Plan,
  folder: pathlib.Path,
  layout: Layout,
  found: summary_lib.Files | None,
) -> Summary:
  """Turns finished shards into a clip set and counts."""
  staged = plan.folder(folder)
  splits: dict[str, clip_writer.Split] = {}
  failed: collections.Counter[str] = collections.Counter()
  outcomes: dict[str, str] = {}
  for shard in plan.shards:
    report = staging.read_report(staged, shard)
    failed.update(failure['reason'] for failure in report['failures'])
    _add_outcomes(outcomes, report)
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
    files=found.write(folder, outcomes) if found else None,
    cut_short=cut_short.write(
      folder, (staging.read_report(staged, shard) for shard in plan.shards)
    ),
  )
  failures = staging.Reported(staged, plan.shards, 'failures')
  summary_lib.write(folder, summary, failures)
  if not splits:
    raise ValueError(f'{summary.whole}: nothing to make a set of')
  clip_writer.publish(str(folder), layout.name, splits, layout.description)
  shutil.rmtree(folder / '.staging')
  logging.info('%s', summary.whole)
  return summary


def _add_outcomes(outcomes: dict[str, str], report: Mapping[str, Any]) -> None:
  """Adds what became of a shard's videos: '' if a clip was taken, or why not.

  A film of which one clip was taken counts as taken.
  """
  for failure in report['failures']:
    outcomes.setdefault(failure['video'], failure['reason'])
  for row in report['index']:
    outcomes[row['video']] = ''
