"""Clips to caption, shard by shard; here those of a clip set.

A shard of the input becomes one file of captions. What a shard holds is a
function of the input alone, so that processes can share the shards out
without a word, and a shard's digest tells whether its clips have changed.
"""

import concurrent.futures
import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from vidlm.captions import identity
from vidlm.core import ids, prefetch, processes
from vidlm.data.feed import pixels
from vidlm.data.store import clip_reader, clip_schema, records


@dataclasses.dataclass(frozen=True)
class InputClip:
  """A clip, decoded, or the reason why it couldn't be.

  Attributes:
    clip_id: Unique in its set.
    video: Name of the source.
    start: Seconds in the source; None where unknown.
    end: Seconds in the source; None where unknown.
    frames: RGB; None if it failed.
    frame_mask: False for frames that aren't there; None if it failed.
    error: Why it failed; '' if it didn't.
    note: What is to be said of it though it didn't fail, code first.
  """

  clip_id: str
  video: str = ''
  start: float | None = None
  end: float | None = None
  frames: UInt8[np.ndarray, 'T H W 3'] | None = None
  frame_mask: Bool[np.ndarray, ' T'] | None = None
  error: str = ''
  note: str = ''


@runtime_checkable
class Source(Protocol):
  """Clips in shards."""

  @property
  def num_shards(self) -> int:
    """How many there are."""

  @property
  def config(self) -> Mapping[str, Any]:
    """What of the source decides about captions, as plain JSON."""

  def digest(self, shard: int) -> str:
    """Returns the digest of all that the clips of a shard are made from."""

  def rows(self, shard: int) -> int | None:
    """Returns the number of clips of a shard; None if that isn't known yet."""

  def open(
    self, shards: Sequence[int]
  ) -> Iterator[tuple[int, Iterator[InputClip]]]:
    """Yields the clips of each shard, to be taken in order."""

  def close(self) -> None:
    """Stops the work ahead."""


class ClipSetSource:
  """A split of a clip set; its shards are those on disk."""

  def __init__(
    self,
    data_dir: str,
    split: str,
    *,
    num_frames: int,
    image_size: int,
    workers: int | None = None,
  ):
    """Opens the set.

    Args:
      data_dir: Folder of the set.
      split: Its split.
      num_frames: T.
      image_size: Pixels of a side.
      workers: Threads that decode JPEG; by default one a CPU.

    Raises:
      FileNotFoundError: If there is no such set.
      ValueError: If a clip id comes twice.
    """
    self._reader = clip_reader.open_clips(data_dir, split)
    lengths = clip_schema.splits(data_dir)[split]['shardLengths']
    ends = list(itertools.accumulate(int(n) for n in lengths))
    self._ranges = [*itertools.pairwise([0, *ends])]
    self._data_dir = data_dir
    self._frames = (num_frames, image_size)
    self.num_shards = len(ends)
    self.config = {'kind': 'clip set', 'split': split}
    index = self._reader.index().select(['clip_id', 'video', 'start', 'end'])
    self._index = index
    ids.check_distinct(
      index['clip_id'].to_pylist(), f'clips of {data_dir}', 'prepare it again'
    )
    threads = workers or processes.cpus()
    self._look_ahead = 4 * threads
    self._pool = concurrent.futures.ThreadPoolExecutor(threads, 'jpeg')

  def digest(self, shard: int) -> str:
    """See `Source`: the bytes of the shard and its part of the index."""
    pattern = (
      f'*-{self.config["split"]}.array_record-'
      f'{shard:05d}-of-{self.num_shards:05d}'
    )
    (path,) = pathlib.Path(self._data_dir).glob(pattern)
    rows = self._index.slice(*self._slice(shard)).to_pylist()
    return identity.digest_of([identity.file_digest(path), repr(rows)])

  def rows(self, shard: int) -> int | None:
    """See `Source`."""
    return self._slice(shard)[1]

  def _slice(self, shard: int) -> tuple[int, int]:
    first, end = self._ranges[shard]
    return first, end - first

  def open(
    self, shards: Sequence[int]
  ) -> Iterator[tuple[int, Iterator[InputClip]]]:
    """See `Source`."""
    for shard in shards:
      first, end = self._ranges[shard]
      rows = self._index.slice(first, end - first).to_pylist()
      work = zip(range(first, end), rows, strict=True)
      yield (
        shard,
        prefetch.map_ahead(self._read, work, self._pool, self._look_ahead),
      )

  def _read(self, item: tuple[int, Mapping[str, Any]]) -> InputClip:
    number, row = item
    try:
      encoded = records.encoded_frames(self._reader.read([number])[0])
      frames, mask = pixels.eval_frames_from_jpeg(encoded, *self._frames)
    except Exception as error:
      # One damaged record must not end a run of millions.
      message = ' '.join(f'{type(error).__name__}: {error}'.split())
      return InputClip(**row, error=f'corrupt: {message}')
    return InputClip(**row, frames=frames, frame_mask=mask)

  def close(self) -> None:
    """See `Source`."""
    self._pool.shutdown(cancel_futures=True)
