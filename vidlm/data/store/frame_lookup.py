"""Frames of clips by clip id: out of a clip set, or decoded from videos.

For looking at clips and for searching a few thousand of them; training reads
records by index (`clips`, `feed`).
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from vidlm.core import file_names
from vidlm.data.store import clip_reader, clip_schema, records
from vidlm.data.video import decode_pool, listing, scanner
from vidlm.data.video import sampling as sampling_lib

Entry = listing.Entry


@runtime_checkable
class ClipFrames(Protocol):
  """Clips whose frames can be had."""

  @property
  def clip_ids(self) -> Sequence[str]:
    """In the order of the source."""

  @property
  def texts(self) -> Sequence[Sequence[str]]:
    """Captions of each clip, as its annotations have them."""

  @property
  def labels(self) -> Sequence[str]:
    """Class name of each clip; '' for none."""

  def read(self, clip_ids: Iterable[str]) -> Iterator[tuple[bytes, ...]]:
    """Yields the JPEG frames of each clip; () where it isn't there, or is a
    video that doesn't decode."""


def open_frames(
  source: str,
  split: str = 'train',
  *,
  how: str = 'whole',
  entries: Sequence[Entry] | None = None,
  sampling: sampling_lib.Sampling = sampling_lib.Sampling(),
) -> ClipFrames:
  """Opens a clip set, or a folder of videos.

  Args:
    source: Folder of a clip set, or of videos.
    split: Split of the clip set.
    how: How videos are cut: 'whole', 'fixed:4s' or 'scenes'.
    entries: The clips of the videos, where they are known already.
    sampling: How videos become frames; by default as `vidlm prepare` would
      store them.

  Raises:
    FileNotFoundError: If there is no such folder.
    ValueError: If the set has no such split, or the folder no video.
  """
  if clip_schema.splits(source):
    return StoredFrames(clip_reader.open_clips(source, split))
  if entries is None:
    entries = listing.folder_clips(source, how, limits=sampling.limits)
  elif not pathlib.Path(source).is_dir():
    raise FileNotFoundError(f'{source}: no clip set, no folder of videos')
  return VideoFrames(entries, sampling)


def entries_of(rows: Iterable[Mapping[str, Any]], videos: str) -> list[Entry]:
  """Returns the clips that rows of a caption set name, below a folder.

  Args:
    rows: With `clip_id`, `video`, `start` and `end`.
    videos: The folder that was captioned.
  """
  # What they name was taken then, also where links had to be followed.
  folder = scanner.Folder(videos, follow_links=True)
  return [
    Entry(
      row['clip_id'],
      row['video'],
      scanner.resolve(folder, file_names.as_name(row['video'])),
      row['start'],
      row['end'],
    )
    for row in rows
  ]


class StoredFrames:
  """`ClipFrames` of a clip set."""

  def __init__(self, reader: clip_reader.ClipReader):
    """Takes an open split."""
    self._reader = reader
    self.clip_ids = reader.clip_ids()
    self.texts = reader.texts()
    self.labels = reader.labels()
    self._index = {clip_id: i for i, clip_id in enumerate(self.clip_ids)}

  def read(self, clip_ids: Iterable[str]) -> Iterator[tuple[bytes, ...]]:
    """See `ClipFrames`."""
    for clip_id in clip_ids:
      if clip_id in self._index:
        (record,) = self._reader.read([self._index[clip_id]])
        yield tuple(records.encoded_frames(record))
      else:
        yield ()


class VideoFrames:
  """`ClipFrames` of video files, decoded when they are asked for."""

  def __init__(
    self,
    entries: Sequence[Entry],
    sampling: sampling_lib.Sampling = sampling_lib.Sampling(),
  ):
    """Takes the clips; nothing is decoded yet.

    Args:
      entries: The clips; those without a path have no frames.
      sampling: How they become frames.
    """
    self._entries = {entry.clip_id: entry for entry in entries}
    self._sampling = sampling
    self.clip_ids = list(self._entries)
    self.texts = [list(entry.texts) for entry in self._entries.values()]
    self.labels = [entry.label for entry in self._entries.values()]

  def read(self, clip_ids: Iterable[str]) -> Iterator[tuple[bytes, ...]]:
    """See `ClipFrames`."""
    wanted = list(clip_ids)
    tasks = [self._task(clip_id) for clip_id in wanted]
    # Without a path there is nothing to decode, and no process to start.
    found = [task for task in tasks if task]
    with decode_pool.DecodePool() as pool:
      results = pool.map(found)
      for task in tasks:
        yield next(results).frames if task else ()

  def _task(self, clip_id: str) -> decode_pool.DecodeTask | None:
    entry = self._entries.get(clip_id)
    if entry is None or not entry.path:
      return None
    return decode_pool.DecodeTask(
      entry.path, entry.start, entry.end, self._sampling
    )
