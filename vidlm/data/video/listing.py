"""Lists the clips of a folder of videos, without any annotations."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence

from vidlm.data.video import cuts, decode_pool, sampling, scanner


@dataclasses.dataclass(frozen=True)
class Entry:
  """A clip to be decoded, and all that is known about it.

  Attributes:
    clip_id: Unique in its set.
    video: Name of the file, relative to the folder of videos.
    path: Where it is; None if it can't be, for `reason`.
    start: Seconds in the file; None for its start.
    end: Seconds in the file; None for its end.
    texts: Captions.
    questions: Questions.
    answers: One for each question.
    label: Class name.
    split: 'train', 'test' ...
    reason: Why the clip can't be had, one of `decoding.REASONS`.
    message: The same in one line.
    seconds: What a file that holds the clip alone should have; 0 if unknown.
    packed: Where in the file at `path` the video is, if that is a tar or
      Parquet file; see `packed`.
  """

  clip_id: str
  video: str
  path: str | None
  start: float | None = None
  end: float | None = None
  texts: tuple[str, ...] = ()
  questions: tuple[str, ...] = ()
  answers: tuple[str, ...] = ()
  label: str = ''
  split: str = 'train'
  reason: str = ''
  message: str = ''
  packed: str = ''
  seconds: float = 0.0


def list_videos(videos: str) -> list[str]:
  """Lists the video files below a folder, sorted, relative to it.

  Links that lead out of the folder, hidden files and other kinds of file are
  left out.

  Raises:
    FileNotFoundError: If there is no such folder.
    ValueError: If there is no video in it.
  """
  root = pathlib.Path(videos)
  if not root.is_dir():
    hint = '; it is a file: give its folder' if root.is_file() else ''
    raise FileNotFoundError(f'{videos}: no such folder of videos{hint}')
  names = sorted(
    name for name in scanner.scan(root, 'video') if scanner.resolve(root, name)
  )
  if not names:
    kinds = ' '.join(scanner.suffixes('video'))
    raise ValueError(f'{videos}: no video in this folder (looked for {kinds})')
  return names


def locate(entry: Entry, videos: str) -> Entry:
  """Finds the entry's video below a folder.

  Args:
    entry: With the name of a video; where there is no file of just this name,
      each suffix of a video is tried.
    videos: The folder.

  Returns:
    The entry with its path, or with a reason why it has none.
  """
  root = pathlib.Path(videos).resolve()
  for suffix in ('', *scanner.suffixes('video')):
    path = scanner.resolve(videos, entry.video + suffix)
    if path is None:
      return dataclasses.replace(
        entry,
        reason='outside_folder',
        message=f'{entry.video}: leads out of {videos}',
      )
    if os.path.isfile(path):
      # The name within the folder, links on the way not followed.
      name = os.path.relpath(
        os.path.abspath(root / (entry.video + suffix)), root
      )
      return dataclasses.replace(entry, video=name, path=path)
  return dataclasses.replace(
    entry, reason='not_found', message=f'{entry.video}: not in {videos}'
  )


def folder_clips(
  videos: str,
  how: str = 'whole',
  num_workers: int | None = None,
  limits: sampling.Limits = sampling.Limits(),
) -> list[Entry]:
  """Returns the clips of all videos of a folder.

  A clip's id is the file's name without suffix, and `#0001` and so on where a
  film is cut into several.

  Args:
    videos: The folder.
    how: 'whole', 'fixed:4s' or 'scenes'; see `cuts.boundaries`.
    num_workers: As for `decode_pool.DecodePool`.
    limits: What decoding a clip may cost; cutting a film may take longer.

  Returns:
    Entries in the order of names and time; a film that can't be cut is one
    entry with a reason.
  """
  cuts.check(how)
  names = list_videos(videos)
  entries = [
    Entry(clip_id, name, scanner.resolve(videos, name))
    for clip_id, name in zip(_clip_ids(names), names, strict=True)
  ]
  if how == 'whole':
    return entries
  clips: list[Entry] = []
  with decode_pool.DecodePool(num_workers) as pool:
    results = pool.map(cut_task(entry, how, limits) for entry in entries)
    for entry, result in zip(entries, results, strict=True):
      clips += cut_clips(entry, result)
  return clips


def cut_task(
  film: Entry, how: str, limits: sampling.Limits
) -> decode_pool.DecodeTask:
  """Returns what finds out where a film is cut; see `folder_clips`."""
  costs = sampling.Sampling(limits=cuts.film_limits(limits))
  return decode_pool.DecodeTask(film.path or '', cut=how, sampling=costs)


def cut_clips(film: Entry, result: decode_pool.DecodeResult) -> Iterator[Entry]:
  """Yields the clips of a film; one with a reason if it can't be cut.

  Args:
    film: A whole one.
    result: What came of its `cut_task`.
  """
  if not result.ok:
    # Without a path it isn't tried again.
    yield dataclasses.replace(
      film, path=None, reason=result.reason, message=result.message
    )
    return
  for number, (start, end) in enumerate(itertools.pairwise(result.times)):
    clip_id = f'{film.clip_id}#{number:04d}'
    yield dataclasses.replace(film, clip_id=clip_id, start=start, end=end)


def _clip_ids(names: Sequence[str]) -> list[str]:
  """Returns names without suffix; with it where two would be the same."""
  stems = [name.rpartition('.')[0] for name in names]
  seen: dict[str, int] = {}
  for stem in stems:
    seen[stem] = seen.get(stem, 0) + 1
  return [
    name if seen[stem] > 1 else stem
    for name, stem in zip(names, stems, strict=True)
  ]
