"""Pseudo-captions at scale: clips in, R captions a clip out, file by file.

A caption depends on the clip, the weights, the sampling settings and the seed,
and on nothing else: a clip's random keys are folded from its id, batches are
made of one file's clips only, in order, and every device runs one program of
one shape. So whatever interrupts a run, and however many processes share it,
the finished set is the same to the byte.

Process p of P takes files p, p + P ...; the processes don't talk while they
work. Process 0 writes the manifest when all files are there.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from vidlm.captions import batches as batches_lib
from vidlm.captions import captioner as captioner_lib
from vidlm.captions import file_counts, folder, inputs, outputs, progress
from vidlm.core import file_names, prefetch
from vidlm.data.store import caption_sets as captions_lib
from vidlm.data.video import inventory as inventories

CaptionRow = captions_lib.CaptionRow
InputClip = inputs.InputClip
_Captions = Callable[[], Sequence[captioner_lib.ClipCaptions]]


@dataclasses.dataclass(frozen=True)
class Summary:
  """What came of a run.

  Attributes:
    output: Folder of the set.
    files: In the set.
    clips: In the set.
    ok: Clips with captions.
    failed: Clips without.
    new_files: Written by this process in this run; the others were there.
    finished: Whether the set is whole; False in a process that doesn't wait
      for the others.
    videos: What became of the files of a folder of videos, once all is done.
  """

  output: str
  files: int
  clips: int
  ok: int
  failed: int
  new_files: int
  finished: bool
  videos: inventories.Counts | None = None

  def __str__(self) -> str:
    state = 'finished' if self.finished else 'not yet finished'
    text = (
      f'{file_names.as_text(self.output)}: {self.clips} clips ({self.ok} ok, '
      f'{self.failed} failed) in {self.files} files, {self.new_files} of them '
      f'new; {state}'
    )
    return f'{text}; {self.videos}' if self.videos else text


@dataclasses.dataclass(frozen=True)
class Run:
  """How a set is worked off; its captions are the same in any case.

  Attributes:
    overwrite: Replace a set that the folder holds of other settings.
    retry_failed: Do files again in which a clip has failed.
    wait_seconds: How long process 0 waits for a further file of the others.
    log_seconds: Between lines of progress where there is no terminal.
    process_index: Number of this process, by default jax's.
    process_count: How many processes there are, by default jax's.
  """

  overwrite: bool = False
  retry_failed: bool = False
  wait_seconds: float = 3600.0
  log_seconds: float = 30.0
  process_index: int | None = None
  process_count: int | None = None


def caption(
  *,
  captioner: captioner_lib.Captioner,
  output: str,
  clip_dataset: str | None = None,
  split: str = 'train',
  videos: str | None = None,
  cutting: folder.Cutting = folder.Cutting(),
  workers: int | None = None,
  run: Run = Run(),
) -> Summary:
  """Captions a clip set or a folder of videos.

  Done again, it keeps the files that are finished and whose inputs haven't
  changed, and does the others.

  Args:
    captioner: The model with its prompt and its sampling settings.
    output: Folder of the set of captions.
    clip_dataset: Folder of a clip set; either this or `videos`.
    split: Split of the clip set.
    videos: A folder of videos.
    cutting: How videos become clips, and clips frames.
    workers: Decoding processes; by default one a CPU.
    run: How this process and the others share the work.

  Returns:
    The counts.

  Raises:
    FileNotFoundError: If the inputs aren't there.
    ValueError: If `output` holds another set, can't be written, or another
      process doesn't deliver.
  """
  if (clip_dataset is None) == (videos is None):
    raise ValueError('caption: give either a clip set or a folder of videos')
  frames: dict[str, Any] = {
    'num_frames': captioner.num_frames,
    'image_size': captioner.image_size,
    'workers': workers,
  }
  source: inputs.Source
  if clip_dataset is not None:
    source = inputs.ClipSetSource(clip_dataset, split, **frames)
  elif videos is not None:
    source = folder.FolderSource(videos, cutting, **frames)
  summary = caption_source(captioner, source, output, run)
  if not summary.finished or not isinstance(source, folder.FolderSource):
    return summary
  counts = file_counts.write(output, source.inventory)
  return dataclasses.replace(summary, videos=counts)


def caption_source(
  captioner: captioner_lib.Captioner,
  source: inputs.Source,
  output: str,
  run: Run = Run(),
) -> Summary:
  """Captions any source of clips, as `caption`, and closes it in the end."""
  try:
    config = {**captioner.identity(), 'input': dict(source.config)}
    group = outputs.ProcessGroup.make(run.process_index, run.process_count)
    target = outputs.CaptionSet(output, config, captioner.name, source, group)
    target.claim(run.overwrite)
    pending = target.pending(run.retry_failed)
    group.wait_for_all(run.wait_seconds)
    _write(captioner, source, target, pending, run.log_seconds)
    return _summary(output, target.finish(run.wait_seconds), len(pending))
  finally:
    source.close()


def _summary(
  output: str, manifest: Mapping[str, Any] | None, new_files: int
) -> Summary:
  if manifest is None:
    return Summary(output, 0, 0, 0, 0, new_files, finished=False)
  totals = manifest['totals']
  summary = Summary(
    output=output,
    files=len(manifest['files']),
    clips=totals['clips'],
    ok=totals['ok'],
    failed=totals['failed'],
    new_files=new_files,
    finished=True,
  )
  logging.info('%s', summary)
  return summary


def _write(
  captioner: captioner_lib.Captioner,
  source: inputs.Source,
  target: outputs.CaptionSet,
  pending: Sequence[int],
  log_seconds: float,
) -> None:
  """Captions the pending shards; one batch is prepared while one is run."""
  if not pending:
    return
  rows = [source.rows(shard) for shard in pending]
  counts = None if None in rows else sum(filter(None, rows))
  shown = progress.Progress(len(pending), counts, interval=log_seconds)
  batches = prefetch.prefetch(
    batches_lib.make(source, pending, captioner.batch_size)
  )
  done: list[CaptionRow] = []

  def finish(batch: batches_lib.Batch, captions: _Captions) -> None:
    done.extend(_rows(batch, captions(), shown))
    if batch.last:
      target.write(batch.shard, done)
      done.clear()
      shown.finish_shard()
    shown.warm_up()

  waiting: Callable[[], None] = lambda: None
  try:
    for batch in batches:
      # The device starts on this batch before the last one's texts are made.
      captions = _submit(captioner, batch)
      waiting()
      waiting = functools.partial(finish, batch, captions)
    waiting()
  finally:
    source.close()
    batches.close()
    shown.close()


def _submit(
  captioner: captioner_lib.Captioner, batch: batches_lib.Batch
) -> _Captions:
  if batch.arrays is None:
    return lambda: ()
  return captioner.submit(*batch.arrays)


def _rows(
  batch: batches_lib.Batch,
  captions: Sequence[captioner_lib.ClipCaptions],
  shown: progress.Progress,
) -> Iterator[CaptionRow]:
  found = iter(captions)
  for clip in batch.clips:
    row = _row(clip, None if clip.error else next(found))
    shown.add(len(row.captions), row.status != captions_lib.OK)
    yield row


def _row(
  clip: InputClip, found: captioner_lib.ClipCaptions | None
) -> CaptionRow:
  where: dict[str, Any] = {
    'clip_id': clip.clip_id,
    'video': clip.video,
    'start': clip.start,
    'end': clip.end,
  }
  error = clip.error
  if found is not None and not np.all(np.isfinite(found.logprobs)):
    error = 'error: a log-probability is not finite; are the weights sound?'
  if error or found is None:
    return CaptionRow(**where, status=captions_lib.FAILED, error=error)
  return CaptionRow(
    **where,
    captions=found.captions,
    logprobs=found.logprobs,
    lengths=found.lengths,
    error=clip.note,
  )
