"""Clip sets on disk: TFDS datasets in ArrayRecord, read by index.

A set is a folder that `tfds.builder_from_directory` reads without this code:

  dataset_info.json  features.json      what TFDS needs; the first is written
                                        last, and says which splits are whole
  NAME-train.array_record-00000-of-00002
  index-train.parquet                   all columns but the frames, row i being
                                        record i, so joins don't read frames

TensorFlow isn't needed to write, nor to read by index.
"""

import bisect
import itertools
import os
import pathlib
import re
import threading
from collections.abc import Sequence
from typing import Any

from array_record.python import array_record_module

from vidlm.data.store import clip_schema, clip_writer

ClipRow = clip_schema.ClipRow
features = clip_schema.features
splits = clip_schema.splits
write_clips = clip_writer.write_clips

_READER_OPTIONS = 'readahead_buffer_size:0,max_parallelism:0'


def open_clips(data_dir: str, split: str = 'train') -> 'ClipReader':
  """Opens a split of a clip set for reading by index.

  Args:
    data_dir: Folder of the set, as written by `vidlm prepare`.
    split: Its split.

  Raises:
    FileNotFoundError: If there is no finished set, or a shard is missing.
    ValueError: If the set has no such split.
  """
  return ClipReader(data_dir, split)


class ClipReader:
  """Serialized records by index; safe to use from several threads."""

  def __init__(self, data_dir: str, split: str):
    found = splits(data_dir)
    if not found:
      raise FileNotFoundError(
        f'{data_dir}: no clip set here (no dataset_info.json); make one with '
        'vidlm prepare'
      )
    if split not in found:
      raise ValueError(
        f'{data_dir}: no split {split!r}, only {", ".join(sorted(found))}'
      )
    self.data_dir = data_dir
    self.split = split
    lengths = [int(length) for length in found[split]['shardLengths']]
    self._ends = list(itertools.accumulate(lengths))
    self._paths = _shard_paths(data_dir, split, len(lengths))
    self._readers: list[Any] = [None] * len(lengths)
    self._index: Any = None
    self._lock = threading.Lock()

  def __len__(self) -> int:
    return self._ends[-1]

  @property
  def features(self) -> Any:
    """The TFDS features that parse a record."""
    return features()

  def read(self, indices: Sequence[int]) -> list[bytes]:
    """Reads records.

    Args:
      indices: Places of records, in any order, each in [0, len(self)).

    Returns:
      Serialized tf.train.Examples in the order of `indices`.

    Raises:
      IndexError: For an index out of range.
    """
    by_shard: dict[int, list[tuple[int, int]]] = {}
    for position, index in enumerate(indices):
      index = int(index)
      if not 0 <= index < len(self):
        raise IndexError(
          f'{self.data_dir}: no clip {index}, {self.split} has {len(self)}'
        )
      shard = bisect.bisect_right(self._ends, index)
      row = index - (self._ends[shard - 1] if shard else 0)
      by_shard.setdefault(shard, []).append((position, row))
    records = [b''] * len(indices)
    for shard, places in by_shard.items():
      read = self._reader(shard).read([row for _, row in places])
      for (position, _), record in zip(places, read, strict=True):
        records[position] = record
    return records

  def _reader(self, shard: int) -> Any:
    with self._lock:
      if self._readers[shard] is None:
        self._readers[shard] = array_record_module.ArrayRecordReader(
          self._paths[shard], _READER_OPTIONS
        )
      return self._readers[shard]

  def index(self) -> Any:
    """Everything but the frames: a pyarrow Table, row i being record i."""
    import pyarrow.parquet as pq

    with self._lock:
      if self._index is None:
        path = pathlib.Path(self.data_dir, f'index-{self.split}.parquet')
        table = pq.read_table(path)
        if table.num_rows != len(self):
          raise ValueError(
            f'{path}: {table.num_rows} rows for {len(self)} clips; prepare '
            'the set again'
          )
        self._index = table
      return self._index

  def clip_ids(self) -> list[str]:
    """Clip ids in the order of records."""
    return self.index()['clip_id'].to_pylist()

  def texts(self) -> list[list[str]]:
    """Captions of each clip; a null is none."""
    stored = self.index()['texts'].to_pylist()
    return [[text for text in own or () if text is not None] for own in stored]

  def questions(self) -> list[tuple[list[str], list[str]]]:
    """Questions and answers of each clip."""
    questions = self.index()['questions'].to_pylist()
    answers = self.index()['answers'].to_pylist()
    return list(zip(questions, answers, strict=True))

  def labels(self) -> list[str]:
    """Class name of each clip; '' for none."""
    return [label or '' for label in self.index()['label'].to_pylist()]


def _shard_paths(data_dir: str, split: str, number: int) -> list[str]:
  """Files of a split, whatever the dataset is called.

  Raises:
    FileNotFoundError: If one is missing.
  """
  pattern = re.compile(
    rf'\w+-{re.escape(split)}\.array_record-\d{{5}}-of-{number:05d}'
  )
  paths = sorted(
    os.path.join(data_dir, name)
    for name in os.listdir(data_dir)
    if pattern.fullmatch(name)
  )
  if len(paths) != number:
    raise FileNotFoundError(
      f'{data_dir}: {len(paths)} of {number} shards of {split} are here'
    )
  return paths
