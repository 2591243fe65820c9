"""Clips to caption: the videos of a folder, whole or cut."""

import concurrent.futures
import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence

from vidlm.captions import identity, inputs
from vidlm.core import processes
from vidlm.data.feed import pixels
from vidlm.data.video import cuts, listing
from vidlm.data.video import decode_pool as workers_lib
from vidlm.data.video import decoding as video_lib

DecodeTask = workers_lib.DecodeTask
InputClip = inputs.InputClip
WorkerLimits = workers_lib.WorkerLimits
# A film that is cut may give a thousand clips, a small file one: videos are
# grouped by their size as well, so that an interruption costs minutes.
_BYTES_PER_FILE = 256 << 20
# Cutting reads whole films; what it may cost is bounded by time.
_FILM = video_lib.Limits(max_decoded_frames=10_000_000)


class FolderSource:
  """All videos below a folder, whole or cut into clips.

  A clip is decoded just as `vidlm prepare` would store it, so captions are the
  same either way. A shard is `videos_per_file` videos; of films that are cut,
  fewer if they are large.
  """

  def __init__(
    self,
    videos: str,
    how: str = 'whole',
    *,
    num_frames: int,
    image_size: int,
    videos_per_file: int = 256,
    fps: float = 2.0,
    min_frames: int | None = None,
    max_frames: int = 64,
    size: int = 256,
    workers: int | None = None,
    limits: WorkerLimits = WorkerLimits(),
  ):
    """Lists the folder; nothing is decoded yet.

    Args:
      videos: The folder.
      how: 'whole', 'fixed:4s' or 'scenes'; see `cuts.boundaries`.
      num_frames: T.
      image_size: Pixels of a side.
      videos_per_file: Of a shard.
      fps: As min_frames, max_frames and size, see `prepare.prepare_clips`.
      min_frames: See fps; by default 8, or num_frames if that is more.
      max_frames: See fps.
      size: See fps.
      workers: Decoding processes; by default one a CPU.
      limits: Of each process.

    Raises:
      FileNotFoundError: If there is no such folder.
      ValueError: If there is no video in it, or `how` is unknown.
    """
    cuts.check(how)
    if videos_per_file < 1:
      raise ValueError(f'videos_per_file={videos_per_file}: need at least 1')
    entries = listing.folder_clips(videos, 'whole')
    self._how = how
    self._frames = (num_frames, image_size)
    self._shards = _group(entries, videos_per_file, how != 'whole')
    self._options = {
      'fps': fps,
      'min_frames': min_frames or max(8, num_frames),
      'max_frames': max_frames,
      'size': size,
    }
    self._digests: dict[str, str] = {}
    self.num_shards = len(self._shards)
    self.config = {
      'kind': 'videos',
      'clips': how,
      'videos_per_file': videos_per_file,
      **self._options,
    }
    self._pool = workers_lib.DecodePool(workers, limits)
    self._cutters = workers_lib.DecodePool(workers, listing.SCENE_LIMITS)

  def digest(self, shard: int) -> str:
    """See `Source`: names and bytes of the shard's videos."""
    entries = self._shards[shard]
    with concurrent.futures.ThreadPoolExecutor(processes.cpus()) as pool:
      digests = list(
        pool.map(identity.file_digest, [entry.path for entry in entries])
      )
    names = [entry.video for entry in entries]
    ids = [entry.clip_id for entry in entries]
    return identity.digest_of([*names, *ids, *digests])

  def rows(self, shard: int) -> int | None:
    """See `Source`; how many clips a film gives is known once it is cut."""
    return len(self._shards[shard]) if self._how == 'whole' else None

  def open(
    self, shards: Sequence[int]
  ) -> Iterator[tuple[int, Iterator[InputClip]]]:
    """See `Source`; the films of later shards are cut ahead."""
    films = (entry for shard in shards for entry in self._shards[shard])
    if self._how == 'whole':
      for shard in shards:
        yield shard, self._decode(self._shards[shard])
      return
    films, again = itertools.tee(films)
    tasks = (
      DecodeTask(film.path, cut=self._how, limits=_FILM) for film in again
    )
    results = self._cutters.map(tasks)
    for shard in shards:
      entries = itertools.chain.from_iterable(
        _cut(film, next(results))
        for film in itertools.islice(films, len(self._shards[shard]))
      )
      yield shard, self._decode(entries)

  def _decode(self, entries: Iterable[listing.Entry]) -> Iterator[InputClip]:
    # Entries are read ahead of the results: keep those that wait.
    listed, again = itertools.tee(entries)
    tasks = (
      DecodeTask(entry.path or '', entry.start, entry.end, **self._options)
      for entry in again
    )
    for result in self._pool.map(tasks):
      yield self._clip(next(listed), result)

  def _clip(
    self, entry: listing.Entry, result: workers_lib.DecodeResult
  ) -> InputClip:
    known = {'clip_id': _text(entry.clip_id), 'video': _text(entry.video)}
    reason = entry.reason or result.reason
    if not reason:
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
        )
      except ValueError as error:
        return InputClip(**known, error=f'error: {error}')
    message = entry.message or result.message
    # Where the folder lies on this machine is nobody else's business.
    message = message.replace(entry.path or '\0', entry.video)
    return InputClip(
      **known,
      start=entry.start,
      end=entry.end,
      error=_text(f'{reason}: {message}'),
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
  film: listing.Entry, result: workers_lib.DecodeResult
) -> Iterator[listing.Entry]:
  """The clips of a film; one with a reason if it can't be cut."""
  if not result.ok:
    message = result.message.replace(film.path or '\0', film.video)
    # Without a path it isn't tried again.
    yield dataclasses.replace(
      film, path=None, reason=result.reason, message=message
    )
    return
  for number, (start, end) in enumerate(itertools.pairwise(result.times)):
    clip_id = f'{film.clip_id}#{number:04d}'
    yield dataclasses.replace(film, clip_id=clip_id, start=start, end=end)


def _text(name: str) -> str:
  """A file name as text, even if its bytes are no UTF-8."""
  return name.encode('utf-8', 'backslashreplace').decode()
