"""What a preparation will do: which clips go to which shard of which split."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vidlm.core import ids
from vidlm.data.store import clip_writer
from vidlm.data.video import listing
from vidlm.data.video import sampling as sampling_lib

Entry = listing.Entry
# Raised when other bytes come out of the same input.
_FORMAT = 1
# What every plan says of its sampling.
_SAMPLING = ('fps', 'min_frames', 'max_frames', 'size', 'quality')


@dataclasses.dataclass(frozen=True)
class Layout:
  """What a set is called, and which of its clips go where.

  Attributes:
    name: Name of the TFDS dataset.
    description: For dataset_info.json.
    num_shards: Files of each split; None for as many as clips_per_shard says.
    clips_per_shard: Also what an interruption may cost at most.
    val_fraction: Share of the videos (never of the clips of one) that go from
      the split 'train' to 'val', chosen by a hash of their names.
  """

  name: str = 'clips'
  description: str = ''
  num_shards: int | None = None
  clips_per_shard: int = 1000
  val_fraction: float = 0.0

  def __post_init__(self) -> None:
    shards = self.num_shards
    if self.clips_per_shard < 1 or (shards is not None and shards < 1):
      raise ValueError('num_shards and clips_per_shard must be positive')
    if not 0 <= self.val_fraction < 1:
      raise ValueError(f'val_fraction={self.val_fraction}: need 0 <= it < 1')


@dataclasses.dataclass(frozen=True)
class Shard:
  """Clips that go to one file.

  Attributes:
    split: Split of the set.
    number: Within the split.
    entries: The clips.
  """

  split: str
  number: int
  entries: Sequence[Entry]

  @property
  def name(self) -> str:
    """Name of its files; in order of the split."""
    return f'{self.split}-{self.number:05d}'


@dataclasses.dataclass(frozen=True)
class Plan:
  """All there is to do.

  Attributes:
    shards: In order of splits and records.
    config: What the result depends on; two plans that agree in it give the
      same set.
  """

  shards: Sequence[Shard]
  config: Mapping[str, Any]

  @property
  def config_hash(self) -> str:
    """Equal for plans that give the same set."""
    return _digest([json.dumps(self.config, sort_keys=True)])

  @property
  def total(self) -> int:
    """Clips of all shards."""
    return sum(len(shard.entries) for shard in self.shards)

  def folder(self, output: pathlib.Path) -> pathlib.Path:
    """Returns where the shards are kept until all are there."""
    return output / '.staging' / self.config_hash[:16]


def make_plan(
  entries: Sequence[Entry], sampling: sampling_lib.Sampling, layout: Layout
) -> Plan:
  """Divides clips among shards.

  Args:
    entries: The clips; their order is that of the records of a split.
    sampling: How they become frames.
    layout: Layout of the set.

  Raises:
    ValueError: For no clips, a clip id used twice, or names TFDS can't take.
  """
  if not entries:
    raise ValueError('no clips to prepare')
  num_shards, clips_per_shard = layout.num_shards, layout.clips_per_shard
  entries = _hold_out(entries, layout.val_fraction)
  splits: dict[str, list[Entry]] = {}
  for entry in entries:
    splits.setdefault(entry.split, []).append(entry)
  shards: list[Shard] = []
  for split, members in splits.items():
    ids.check_distinct((e.clip_id for e in members), f'clips of {split}')
    clip_writer.check_name(layout.name, split)
    length = -(-len(members) // num_shards) if num_shards else clips_per_shard
    for number, first in enumerate(range(0, len(members), length)):
      shards.append(Shard(split, number, members[first : first + length]))
  config = {
    **sampling.config(always=_SAMPLING),
    'name': layout.name,
    'format': _FORMAT,
    'num_shards': num_shards,
    'clips_per_shard': clips_per_shard,
    'clips': _digest(json.dumps(_described(entry)) for entry in entries),
    'video_files': _digest(_file_states(entries)),
  }
  return Plan(shards, config)


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


def _described(entry: Entry) -> dict[str, Any]:
  # The folder may move between an interruption and its continuation.
  fields = {**dataclasses.asdict(entry), 'path': None, 'message': ''}
  for name in ('packed', 'seconds'):
    if not fields[name]:
      del fields[name]  # sets made before there was such a field
  return fields


def _file_states(entries: Sequence[Entry]) -> Iterator[str]:
  """Yields size and time of each video: a file replaced is another input."""
  paths = {os.path.realpath(entry.path) for entry in entries if entry.path}
  for path in sorted(paths):
    try:
      state = os.stat(path)
    except OSError:
      yield 'gone'
    else:
      yield f'{state.st_size} {state.st_mtime_ns}'


def _digest(lines: Iterable[str]) -> str:
  digest = hashlib.sha256()
  for line in lines:
    # Names of files need not be UTF-8.
    digest.update(line.encode('utf-8', 'surrogateescape') + b'\n')
  return digest.hexdigest()
