"""A named data set -> a clip set: `vidlm prepare msrvtt` and so on."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from vidlm.core import command_line
from vidlm.core import files as files_lib
from vidlm.data.prepare import pipeline
from vidlm.data.sets import files, locate, registry, rows
from vidlm.data.video import inventory as inventories
from vidlm.data.video import sampling as sampling_lib

# A clip of which the file has less than this share is not what the
# annotation describes. Ours: ends of segments are off by some seconds in
# every set, so it can't be 1.
_MIN_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Selection:
  """Which clips of a data set are taken.

  Attributes:
    flags: Flags that this set alone has, see `registry.FLAGS`.
    ids: File with the ids of the clips or videos to keep.
    split: What to call the split; by default as the set has it.
    limit: Only the first so many clips of each split.
  """

  flags: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  ids: str | None = None
  split: str | None = None
  limit: int | None = None

  def __post_init__(self) -> None:
    command_line.check_positive(limit=self.limit)


def prepare_set(
  name: str,
  videos: inventories.Videos,
  output: str,
  annotations: Sequence[str] = (),
  *,
  selection: Selection = Selection(),
  sampling: sampling_lib.Sampling = sampling_lib.Sampling(),
  layout: pipeline.Layout = pipeline.Layout(),
  work: pipeline.Work = pipeline.Work(),
) -> pipeline.Summary:
  """Prepares a data set from its own files.

  Besides the clip set, `annotated-SPLIT.parquet` lists every clip that was
  asked for, also those without a video, with sources and question ids; and
  `renamed.jsonl` the files found under another name.

  Args:
    name: One of `registry.SETS`.
    videos: Folder of videos, frames or images.
    output: Folder of the clip set.
    annotations: The set's files, or folders of them.
    selection: Which clips are taken.
    sampling: How clips become frames. Unless it says otherwise, a clip of
      which the file has less than half is too short.
    layout: Shards of the set; its name is that of the data set.
    work: Who makes it.

  Returns:
    The counts, also in summary.json.

  Raises:
    FileNotFoundError: If a file or folder is not there.
    FileExistsError: If `output` holds something else.
    ValueError: For annotations that make no sense, or if no clip decodes.
  """
  if sampling.min_share is None:
    sampling = dataclasses.replace(sampling, min_share=_MIN_SHARE)
  entries, kept, renamed = collect(name, videos, annotations, selection)
  layout = dataclasses.replace(layout, name=name)
  summary = pipeline.prepare_clips(
    entries, output, sampling=sampling, layout=layout, work=work
  )
  write_annotated(kept, pathlib.Path(output))
  if renamed:
    path = pathlib.Path(output, 'renamed.jsonl')
    files_lib.write_json_lines(path, renamed, ensure_ascii=False)
    logging.info(
      '%s: %d videos found under another name, see renamed.jsonl',
      output,
      len(renamed),
    )
  return summary


def collect(
  name: str,
  videos: inventories.Videos,
  annotations: Sequence[str] = (),
  selection: Selection = Selection(),
) -> tuple[list[locate.Entry], list[rows.Row], list[dict[str, str]]]:
  """Reads a set's annotations and looks for its videos; see `prepare_set`.

  Returns:
    Clips, what is known of each, and the files found under another name.
  """
  found: Iterable[rows.Row] = registry.read(
    name, annotations, selection.flags, videos
  )
  if selection.ids is not None:
    found = _only(list(found), selection.ids)
  if selection.split is not None:
    split = selection.split
    found = (dataclasses.replace(row, split=split) for row in found)
  if selection.limit is not None:
    found = _first(found, selection.limit)
  kept = list(found)
  if not kept:
    where = inventories.folder_of(videos).path
    raise ValueError(f'{", ".join(annotations) or where}: no clips in it')
  folder = locate.VideoFolder(videos)
  entries, renamed = locate.locate_all(kept, folder)
  return entries, kept, renamed


def _only(found: Sequence[rows.Row], path: str) -> list[rows.Row]:
  """Keeps rows whose clip, video or source is in a list of ids."""
  wanted = set(files.read_ids(path))
  kept, met = [], set()
  for row in found:
    called = {row.clip_id, row.source, *(name.name for name in row.names)}
    if called & wanted:
      kept.append(row)
      met |= called & wanted
  if not kept:
    example = next(iter(wanted))
    raise ValueError(
      f'{path}: none of its {len(wanted)} ids is annotated; it has '
      f'{example!r}, the annotations have {found[0].clip_id!r}'
      if found
      else f'{path}: the annotations are empty'
    )
  if len(met) < len(wanted):
    left = sorted(wanted - met)
    logging.warning(
      '%s: %d of %d ids are not annotated: %s',
      path,
      len(left),
      len(wanted),
      ', '.join(left[:5]) + (' ...' if len(left) > 5 else ''),
    )
  return kept


def _first(found: Iterable[rows.Row], limit: int) -> Iterator[rows.Row]:
  counts: dict[str, int] = {}
  for row in found:
    counts[row.split] = counts.get(row.split, 0) + 1
    if counts[row.split] <= limit:
      yield row


def write_annotated(kept: Sequence[rows.Row], folder: pathlib.Path) -> None:
  """Writes annotated-SPLIT.parquet: a row a clip that was asked for."""
  import pyarrow as pa
  import pyarrow.parquet as pq

  texts = pa.list_(pa.string())
  schema = pa.schema(
    {
      'clip_id': pa.string(),
      'source': pa.string(),
      'texts': texts,
      'label': pa.string(),
      'questions': texts,
      'answers': texts,
      'question_ids': texts,
      'kinds': texts,
      'more_answers': pa.list_(texts),
    }
  )
  splits: dict[str, list[rows.Row]] = {}
  for row in kept:
    splits.setdefault(row.split, []).append(row)
  for split, members in splits.items():
    table = pa.Table.from_pylist([_annotated(r) for r in members], schema)
    with files_lib.partial(folder / f'annotated-{split}.parquet') as path:
      pq.write_table(table, path)


def _annotated(row: rows.Row) -> dict[str, Any]:
  return {
    'clip_id': row.clip_id,
    'source': row.source,
    'texts': list(row.texts),
    'label': row.label,
    'questions': [q.question for q in row.questions],
    'answers': [q.answer for q in row.questions],
    'question_ids': [q.question_id for q in row.questions],
    'kinds': [q.kind for q in row.questions],
    'more_answers': [list(q.more_answers) for q in row.questions],
  }
