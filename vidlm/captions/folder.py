"""Clips to caption: the videos of a folder, whole or cut."""

import concurrent.futures
import dataclasses
import itertools
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from vidlm.captions import identity, inputs
from vidlm.core import file_names, processes
from vidlm.data.feed import pixels
from vidlm.data.video import cuts, decode_pool, listing, scanner
from vidlm.data.video import inventory as inventories
from vidlm.data.video import sampling as sampling_lib

InputClip = inputs.InputClip
# A film that is cut may give a thousand clips, a small file one: videos are
# grouped by their size as well, so that an interruption costs minutes.
_BYTES_PER_FILE = 256 << 20
# What every set says of its sampling.
_SAMPLING = ('fps', 'min_frames', 'max_frames', 'size')


@dataclasses.dataclass(frozen=True)
class Cutting:
  """How the videos of a folder become clips.

  Attributes:
    clips: 'whole', 'fixed:4s' or 'scenes'; see `cuts.boundaries`.
    videos_per_file: Videos of a shard.
    sampling: How clips become frames, by default as `vidlm prepare` would
      store them, and never fewer than the model takes.
    follow_links: Also take what links lead to outside of the folder.
  """

  clips: str = 'whole'
  videos_per_file: int = 256
  sampling: sampling_lib.Sampling = sampling_lib.Sampling()
  follow_links: bool = False

  def __post_init__(self) -> None:
    cuts.check(self.clips)
    if self.videos_per_file < 1:
      raise ValueError(
        f'videos_per_file={self.videos_per_file}: need at least 1'
      )


class FolderSource:
  """All videos below a folder, whole or cut into clips.

  A clip is decoded just as `vidlm prepare` would store it, so captions are the
  same either way. A shard is so many videos as `Cutting` says; of films that
  are cut, fewer if they are large.
  """

  def __init__(
    self,
    videos: str,
    cutting: Cutting = Cutting(),
    *,
    num_frames: int,
    image_size: int,
    workers: int | None = None,
  ):
    """Lists the folder; nothing is decoded yet.

    Args:
      videos: The folder.
      cutting: How its videos become clips.
      num_frames: T.
      image_size: Pixels of a side.
      workers: Decoding processes; by default one a CPU.

    Raises:
      FileNotFoundError: If there is no such folder.
      ValueError: If there is no video in it.
    """
    self.inventory = inventories.take(
      scanner.Folder(videos, cutting.follow_links)
    )
    self.inventory.log()
    entries = listing.folder_clips(self.inventory)
    self._ids = {entry.clip_id for entry in entries}
    self._how = cutting.clips
    self._frames = (num_frames, image_size)
    self._shards = _group(
      entries, cutting.videos_per_file, cutting.clips != 'whole'
    )
    self._sampling = cutting.sampling.at_least(num_frames)
    self._digests: dict[str, str] = {}
    self.num_shards = len(self._shards)
    self.config = {
      'kind': 'videos',
      'clips': cutting.clips,
      'videos_per_file': cutting.videos_per_file,
      **self._sampling.config(always=_SAMPLING),
    }
    self._pool = decode_pool.DecodePool(workers)
    self._cutters = decode_pool.DecodePool(workers)

  def digest(self, shard: int) -> str:
    """See `Source`: names and bytes of the shard's videos."""
    entries = self._shards[shard]
    with concurrent.futures.ThreadPoolExecutor(processes.cpus()) as pool:
      digests = list(
        pool.map(identity.file_digest, [entry.path for entry in entries])
      )
    # As the system has them: so sets always knew their files.
    names = [file_names.as_name(entry.video) for entry in entries]
    ids = [file_names.as_name(entry.clip_id) for entry in entries]
    return identity.digest_of([*names, *ids, *digests])

  def rows(self, shard: int) -> int | None:
    """See `Source`; how many clips a film gives is known once it is cut."""
    return len(self._shards[shard]) if self._how == 'whole' else None

  def open(
    self, shards: Sequence[int]
  ) -> Iterator[tuple[int, Iterator[InputClip]]]:
    """See `Source`; the films of later shards are cut ahead."""
    films: Iterator[listing.Entry] = (
      entry for shard in shards for entry in self._shards[shard]
    )
    if self._how == 'whole':
      for shard in shards:
        yield shard, self._decode(self._shards[shard])
      return
    films, again = itertools.tee(films)
    results = self._cutters.map(
      listing.cut_task(film, self._how, self._sampling.limits) for film in again
    )
    for shard in shards:
      entries = itertools.chain.from_iterable(
        _cut(film, next(results), self._ids)
        for film in itertools.islice(films, len(self._shards[shard]))
      )
      yield shard, self._decode(entries)

  def _decode(self, entries: Iterable[listing.Entry]) -> Iterator[InputClip]:
    # Entries are read ahead of the results: keep those that wait.
    listed, again = itertools.tee(entries)
    tasks = (
      decode_pool.DecodeTask(
        entry.path or '', entry.start, entry.end, self._sampling
      )
      for entry in again
    )
    for result in self._pool.map(tasks):
      yield self._clip(next(listed), result)

  def _clip(
    self, entry: listing.Entry, result: decode_pool.DecodeResult
  ) -> InputClip:
    known: dict[str, Any] = {
      'clip_id': entry.clip_id,
      'video': entry.video,
    }
    path = entry.path or ''
    reason = entry.reason or result.reason
    if not reason:
      short = file_names.in_message(result.cut_short, path, entry.video)
      try:
        frames, mask = pixels.eval_frames_from_jpeg(
          result.frames, *self._frames
        )
        return InputClip(
          **known,
          start=result.start,
          end=result.end,
          frames=frames,
          frame_mask=mask,
          note=short and f'cut_short: {short}',
        )
      except ValueError as error:
        return InputClip(**known, error=f'error: {error}')
    message = file_names.in_message(
      entry.message or result.message, path, entry.video
    )
    return InputClip(
      **known,
      start=entry.start,
      end=entry.end,
      error=f'{reason}: {message}',
    )

  def close(self) -> None:
    """See `Source`."""
    self._pool.close()
    self._cutters.close()


def _group(
  entries: Sequence[listing.Entry], most: int, by_size: bool
) -> list[list[listing.Entry]]:
  shards: list[list[listing.Entry]] = []
  room = 0
  for entry in entries:
    size = _size(entry.path) if by_size else 0
    if not shards or len(shards[-1]) == most or size > room:
      shards.append([])
      room = _BYTES_PER_FILE
    shards[-1].append(entry)
    room -= size
  return shards


def _size(path: str | None) -> int:
  try:
    return os.path.getsize(path or '')
  except OSError:
    return 0


def _cut(
  film: listing.Entry,
  result: decode_pool.DecodeResult,
  ids: Collection[str],
) -> Iterator[listing.Entry]:
  """Yields a film's clips; a reason names it by its place in the folder."""
  message = file_names.in_message(result.message, film.path or '', film.video)
  yield from listing.cut_clips(
    film, dataclasses.replace(result, message=message), ids
  )
