"""Writes clip sets, so that a half-written one is never taken for whole."""

import dataclasses
import itertools
import os
import pathlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vidlm.core import files, ids
from vidlm.data.store import clip_schema

ClipRow = clip_schema.ClipRow
VERSION = '1.0.0'
# One record a group, so that any record is read alone; JPEG is compressed.
_WRITER_OPTIONS = 'group_size:1,uncompressed'
_ROWS_A_GROUP = 10_000  # of the index: what is held of it at a time


class ShardWriter:
  """Writes records to one ArrayRecord file; use as a context manager."""

  def __init__(self, path: str | os.PathLike):
    from array_record.python import array_record_module

    self._path = os.fspath(path)
    self._writer = array_record_module.ArrayRecordWriter(
      self._path, _WRITER_OPTIONS
    )

  def __enter__(self) -> 'ShardWriter':
    return self

  def __exit__(self, kind: object, *error: object) -> None:
    try:
      self._writer.close()
    except RuntimeError as failure:  # array_record's way to say: disk full
      if kind is None:
        raise OSError(f'{self._path}: {failure}') from None
    if kind is None:
      files.sync(self._path)

  def write(self, row: ClipRow) -> None:
    """Appends a record; its features are `clip_schema.features()`."""
    self._writer.write(clip_schema.serialize(row))


def write_clips(
  rows: Iterable[ClipRow],
  data_dir: str,
  name: str = 'clips',
  split: str = 'train',
  *,
  num_shards: int | None = None,
  clips_per_shard: int = 1000,
  description: str = '',
  overwrite: bool = False,
) -> int:
  """Writes a split of a clip set; row i becomes record i.

  Until it is whole, a split is invisible: shards are written under a hidden
  name, and dataset_info.json is replaced last. Further splits are added by
  further calls.

  Args:
    rows: The clips.
    data_dir: Folder of the set.
    name: What TFDS will call the dataset: letters, digits, underscores.
    split: Its name.
    num_shards: Files; needs rows with a length.
    clips_per_shard: Used where num_shards isn't given.
    description: For dataset_info.json.
    overwrite: Replace the split if it is there.

  Returns:
    How many clips were written.

  Raises:
    FileExistsError: If the split is there already.
    ValueError: For no clips, a clip id used twice, or a bad name.
  """
  check_name(name, split)
  if split in clip_schema.splits(data_dir) and not overwrite:
    raise FileExistsError(
      f'{data_dir}: has a split {split!r} already; overwrite or choose another'
    )
  if num_shards is not None:
    if not isinstance(rows, Sequence):
      raise ValueError('num_shards needs a list of clips; or clips_per_shard')
    clips_per_shard = max(1, -(-len(rows) // num_shards))
  staging = pathlib.Path(data_dir, f'.incomplete-{split}')
  shutil.rmtree(staging, ignore_errors=True)
  staging.mkdir(parents=True)
  shards: list[str] = []
  index: list[dict[str, Any]] = []
  lengths: list[int] = []
  for chunk in _chunks(rows, clips_per_shard):
    shards.append(str(staging / f'{len(shards):05d}.array_record'))
    before = len(index)
    with ShardWriter(shards[-1]) as writer:
      for row in chunk:
        writer.write(row)
        index.append(clip_schema.index_row(row))
    lengths.append(len(index) - before)
  publish(data_dir, name, {split: Split(shards, lengths, index)}, description)
  shutil.rmtree(staging)
  return len(index)


def _chunks(rows: Iterable[Any], length: int) -> Iterator[Iterator[Any]]:
  iterator = iter(rows)
  for first in iterator:
    yield itertools.chain([first], itertools.islice(iterator, length - 1))


def check_name(name: str, split: str) -> None:
  """Refuses names TFDS would not read back.

  Raises:
    ValueError: For other than letters, digits and underscores.
  """
  for kind, value in (('name', name), ('split', split)):
    if not re.fullmatch(r'[a-zA-Z]\w*', value, re.ASCII):
      raise ValueError(
        f'{kind} {value!r}: use letters, digits and underscores only'
      )


@dataclasses.dataclass(frozen=True)
class Split:
  """A split ready to be published.

  Attributes:
    shards: Paths of its ArrayRecord files, in order.
    lengths: Records in each.
    index: One row of `index_row` a record; gone through more than once, and
      never held as a whole.
  """

  shards: list[str]
  lengths: list[int]
  index: Iterable[Mapping[str, Any]]


def publish(
  data_dir: str, name: str, new: Mapping[str, Split], description: str = ''
) -> None:
  """Makes finished shards a TFDS dataset, or adds splits to one.

  Shards are linked into place, not moved: whatever interrupts this, doing it
  again succeeds.

  Raises:
    ValueError: For a split without clips, or a clip id used twice.
  """
  import tensorflow_datasets as tfds

  folder = pathlib.Path(data_dir)
  for split, content in new.items():
    clip_ids = (row['clip_id'] for row in content.index)
    if not ids.check_distinct(clip_ids, f'clips of {split}'):
      raise ValueError(f'split {split!r} has no clips')
  template = tfds.core.ShardedFileTemplate(
    data_dir=folder, dataset_name=name, filetype_suffix='array_record'
  )
  infos = [
    info for info in _split_infos(folder, template) if info.name not in new
  ]
  if len(infos) < len(clip_schema.splits(data_dir)):
    # What is replaced must not look finished while it is.
    _write_info(folder, name, infos, description)
  for split, content in new.items():
    filenames = template.replace(split=split).sharded_filepaths(
      len(content.shards)
    )
    for source, target in zip(content.shards, filenames, strict=True):
      _link(source, str(target))
    _remove_shards(folder, split, keep={path.name for path in filenames})
    with files.partial(folder / f'index-{split}.parquet') as index:
      _write_index(index, content.index)
    infos.append(
      tfds.core.SplitInfo(
        name=split,
        shard_lengths=list(content.lengths),
        num_bytes=sum(os.path.getsize(path) for path in content.shards),
        filename_template=template.replace(split=split),
      )
    )
  _write_info(folder, name, infos, description)


def _write_index(
  path: pathlib.Path, index: Iterable[Mapping[str, Any]]
) -> None:
  import pyarrow as pa
  import pyarrow.parquet as pq

  schema = clip_schema.index_schema()
  with pq.ParquetWriter(path, schema) as writer:
    for rows in _chunks(index, _ROWS_A_GROUP):
      writer.write_table(pa.Table.from_pylist(list(rows), schema=schema))


def _split_infos(folder: pathlib.Path, template: Any) -> list[Any]:
  import tensorflow_datasets as tfds

  return [
    tfds.core.SplitInfo(
      name=split['name'],
      shard_lengths=[int(length) for length in split['shardLengths']],
      num_bytes=int(split['numBytes']),
      filename_template=template.replace(split=split['name']),
    )
    for split in clip_schema.splits(str(folder)).values()
  ]


def _write_info(
  folder: pathlib.Path, name: str, infos: Sequence[Any], description: str
) -> None:
  import tensorflow_datasets as tfds

  if not infos:
    (folder / 'dataset_info.json').unlink(missing_ok=True)
    return
  identity = tfds.core.dataset_info.DatasetIdentity(
    name=name,
    version=tfds.core.Version(VERSION),
    data_dir=str(folder),
    module_name='',
  )
  info = tfds.core.DatasetInfo(
    builder=identity,
    features=clip_schema.features(),
    description=description or 'Video clips as JPEG frames, with texts.',
  )
  info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
  info.set_splits(tfds.core.SplitDict(infos))
  staging = folder / '.info'
  shutil.rmtree(staging, ignore_errors=True)
  staging.mkdir()
  info.write_to_directory(staging)
  names = sorted(path.name for path in staging.iterdir())
  for name in sorted(names, key=lambda n: n == 'dataset_info.json'):
    files.publish(staging / name, folder / name)
  staging.rmdir()


def _remove_shards(folder: pathlib.Path, split: str, keep: set[str]) -> None:
  """Removes shards an earlier version of the split had."""
  for path in folder.glob(f'*-{split}.array_record-*-of-*'):
    if path.name not in keep:
      path.unlink()


def _link(source: str, target: str) -> None:
  if os.path.exists(target) and os.path.samefile(source, target):
    return  # as an interrupted run left it; renaming a link onto it is void
  with files.partial(target) as temporary:
    try:
      os.link(source, temporary)
    except OSError:  # a file system without hard links
      shutil.copyfile(source, temporary)
