"""Shards of a clip set in the making: decoded, written, resumed."""

import dataclasses
import datetime
import itertools
import json
import os
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from absl import logging

from vidlm.core import file_names, files
from vidlm.data.prepare import cut_short, shard_plan
from vidlm.data.store import clip_schema, clip_writer
from vidlm.data.video import decode_pool, listing, packed
from vidlm.data.video import sampling as sampling_lib

Entry = listing.Entry
Plan = shard_plan.Plan
Shard = shard_plan.Shard
_SECONDS_BETWEEN_REPORTS = 10.0


def decode_shards(
  plan: Plan,
  output: pathlib.Path,
  pool: decode_pool.DecodePool,
  sampling: sampling_lib.Sampling,
) -> None:
  """Decodes the shards that aren't there yet.

  Args:
    plan: What to do.
    output: Folder of the set.
    pool: To decode with.
    sampling: How clips become frames.
  """
  folder = plan.folder(output)
  files.make_folder(folder)
  missing = missing_shards(plan, folder)
  todo = Plan(missing, plan.config).total
  if len(missing) < len(plan.shards):
    logging.info(
      '%s: %d of %d clips are there from before',
      output,
      plan.total - todo,
      plan.total,
    )
  # One stream over all shards, so that no worker waits at the end of one.
  entries = itertools.chain.from_iterable(shard.entries for shard in missing)
  results = iter(
    _reported(_decoded(entries, pool, sampling), todo, str(output))
  )
  for shard in missing:
    _write_shard(folder, shard, itertools.islice(results, len(shard.entries)))


def missing_shards(plan: Plan, folder: pathlib.Path) -> list[Shard]:
  """Returns shards that are not finished in the plan's folder."""
  return [s for s in plan.shards if not _report(folder, s).exists()]


def write_shard(
  folder: pathlib.Path,
  shard: Shard,
  pool: decode_pool.DecodePool,
  sampling: sampling_lib.Sampling,
) -> None:
  """Decodes one shard, unless it is there; may run twice at once.

  Args:
    folder: `plan.folder(output)`.
    shard: What to decode.
    pool: To decode with.
    sampling: How clips become frames.
  """
  if not _report(folder, shard).exists():
    _write_shard(folder, shard, _decoded(iter(shard.entries), pool, sampling))


def _decoded(
  entries: Iterator[Entry],
  pool: decode_pool.DecodePool,
  sampling: sampling_lib.Sampling,
) -> Iterator[tuple[Entry, decode_pool.DecodeResult]]:
  ahead, entries = itertools.tee(entries)
  with packed.Unpacker() as unpacker:
    # An entry without a path failed before; it keeps its place in the order.
    local = unpacker.local_files(e for e in ahead if e.path)
    files, local = itertools.tee(local)
    tasks = (
      decode_pool.DecodeTask(
        file.path, entry.start, entry.end, sampling, seconds=entry.seconds
      )
      for entry, file in local
    )
    results = pool.map(tasks)
    for entry in entries:
      if entry.path:
        result = next(results)
        _, file = next(files)
        yield entry, _unpacked(entry, file, result)
      else:
        yield (
          entry,
          decode_pool.DecodeResult(entry.reason or 'not_found', entry.message),
        )


def _unpacked(
  entry: Entry, file: packed.LocalFile, result: decode_pool.DecodeResult
) -> decode_pool.DecodeResult:
  """Returns the result, with the name of a packed video, not of its copy."""
  file.delete()
  if file.error:
    return decode_pool.DecodeResult('corrupt', file.error)
  if file.is_copy and not result.ok:
    container = os.path.basename(entry.path or '')
    inner = entry.video.partition(f'{container}/')[2]
    message = result.message.replace(file.path, f'{entry.path}/{inner}')
    return dataclasses.replace(result, message=message)
  return result


def _reported(
  results: Iterator[tuple[Entry, decode_pool.DecodeResult]],
  total: int,
  where: str,
) -> Iterator[tuple[Entry, decode_pool.DecodeResult]]:
  """Passes results on, and logs rate and time left every few seconds."""
  began = reported = time.monotonic()
  failed = 0
  for number, (entry, result) in enumerate(results, 1):
    failed += not result.ok
    yield entry, result
    now = time.monotonic()
    if now - reported > _SECONDS_BETWEEN_REPORTS or number == total:
      reported = now
      rate = number / max(now - began, 1e-9)
      left = datetime.timedelta(seconds=round((total - number) / rate))
      logging.info(
        '%s: %d of %d clips, %d failed, %.1f clips/s, %s left',
        where,
        number,
        total,
        failed,
        rate,
        left,
      )


def _write_shard(
  folder: pathlib.Path,
  shard: Shard,
  results: Iterator[tuple[Entry, decode_pool.DecodeResult]],
) -> None:
  """Writes a shard; it counts as done when its report has its name."""
  index, failures, short = [], [], []
  # Beam may run a shard on two machines at once; each writes its own.
  with (
    files.partial(shard_path(folder, shard)) as temporary,
    clip_writer.ShardWriter(temporary) as writer,
  ):
    for entry, result in results:
      if result.ok:
        row = _row(entry, result)
        writer.write(row)
        index.append(clip_schema.index_row(row))
        if result.cut_short:
          short.append(cut_short.line(entry, result))
      else:
        failures.append(
          {
            'clip_id': entry.clip_id,
            'video': entry.video,
            'status': 'failed',
            'reason': result.reason,
            'message': file_names.printable(result.message),
          }
        )
  report = {'index': index, 'failures': failures}
  if short:
    report['cut_short'] = short
  files.write_json(_report(folder, shard), report, indent=1, ensure_ascii=False)


def decoded_rows(
  shard: Shard,
  pool: decode_pool.DecodePool,
  sampling: sampling_lib.Sampling = sampling_lib.Sampling(),
) -> Iterator[clip_schema.ClipRow]:
  """Yields the clips of a shard that decode, without writing any."""
  for entry, result in _decoded(iter(shard.entries), pool, sampling):
    if result.ok:
      yield _row(entry, result)


def _row(entry: Entry, result: decode_pool.DecodeResult) -> clip_schema.ClipRow:
  return clip_schema.ClipRow(
    clip_id=entry.clip_id,
    video=entry.video,
    start=result.start,
    end=result.end,
    frames=result.frames,
    times=result.times,
    texts=entry.texts,
    questions=entry.questions,
    answers=entry.answers,
    label=entry.label,
  )


def shard_path(folder: pathlib.Path, shard: Shard) -> pathlib.Path:
  """Returns the records of a finished shard."""
  return folder / f'{shard.name}.array_record'


def _report(folder: pathlib.Path, shard: Shard) -> pathlib.Path:
  return folder / f'{shard.name}.json'


def read_report(folder: pathlib.Path, shard: Shard) -> dict[str, Any]:
  """Reads index rows and failures of a finished shard."""
  return json.loads(_report(folder, shard).read_text(encoding='utf-8'))


@dataclasses.dataclass(frozen=True)
class Reported:
  """Rows of the reports of shards, a shard at a time: there may be millions.

  Attributes:
    folder: `plan.folder(output)`.
    shards: Finished ones, in order.
    key: 'index' or 'failures'.
  """

  folder: pathlib.Path
  shards: Sequence[Shard]
  key: str

  def __iter__(self) -> Iterator[dict[str, Any]]:
    for shard in self.shards:
      yield from read_report(self.folder, shard)[self.key]
