"""Lists the clips of a folder of videos, without any annotations."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence

from vidlm.data.video import cuts, decode_pool, decoding

# Finding scenes decodes whole films.
SCENE_LIMITS = decode_pool.WorkerLimits(cpu_seconds=7200, timeout=10800.0)
_ALL_FRAMES = decoding.Limits(max_decoded_frames=10_000_000)


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
  """Names of the video files below a folder, sorted, relative to it.

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
  names = []
  for folder, subfolders, files in os.walk(root):
    subfolders[:] = sorted(n for n in subfolders if not n.startswith('.'))
    for name in files:
      path = pathlib.Path(folder, name)
      hidden = name.startswith('.')
      if path.suffix.lower() in decoding.SUFFIXES and not hidden:
        names.append(path.relative_to(root).as_posix())
  names = sorted(name for name in names if resolve(root, name))
  if not names:
    kinds = ' '.join(decoding.SUFFIXES)
    raise ValueError(f'{videos}: no video in this folder (looked for {kinds})')
  return names


def resolve(root: str | os.PathLike, name: str) -> str | None:
  """Absolute path of a file below a folder; None if it leads out of it."""
  try:
    folder = pathlib.Path(root).resolve()
    path = (folder / name).resolve()
  except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL
    return None
  return str(path) if path.is_relative_to(folder) else None


def locate(entry: Entry, videos: str, suffixes: Sequence[str] = ()) -> Entry:
  """Finds the entry's video below a folder.

  Args:
    entry: With the name of a video.
    videos: The folder.
    suffixes: To try where there is no file of just this name.

  Returns:
    The entry with its path, or with a reason why it has none.
  """
  root = pathlib.Path(videos).resolve()
  for suffix in ('', *suffixes):
    path = resolve(videos, entry.video + suffix)
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
  videos: str, how: str = 'whole', num_workers: int | None = None
) -> list[Entry]:
  """The clips of all videos of a folder.

  A clip's id is the file's name without suffix, and `#0001` and so on where a
  film is cut into several.

  Args:
    videos: The folder.
    how: 'whole', 'fixed:4s' or 'scenes'; see `cuts.boundaries`.
    num_workers: As for `decode_pool.DecodePool`.

  Returns:
    Entries in the order of names and time; a film that can't be cut is one
    entry with a reason.
  """
  cuts.check(how)
  names = list_videos(videos)
  entries = [
    Entry(clip_id, name, resolve(videos, name))
    for clip_id, name in zip(_clip_ids(names), names, strict=True)
  ]
  if how == 'whole':
    return entries
  limits = SCENE_LIMITS if how == 'scenes' else decode_pool.WorkerLimits()
  tasks = [
    decode_pool.DecodeTask(entry.path, cut=how, limits=_ALL_FRAMES)
    for entry in entries
  ]
  clips: list[Entry] = []
  with decode_pool.DecodePool(num_workers, limits) as pool:
    for entry, result in zip(entries, pool.map(tasks), strict=True):
      clips += _cut(entry, result)
  return clips


def _cut(entry: Entry, result: decode_pool.DecodeResult) -> Iterator[Entry]:
  if not result.ok:
    yield dataclasses.replace(
      entry, path=None, reason=result.reason, message=result.message
    )
    return
  ends = result.times[1:]
  for number, (start, end) in enumerate(zip(result.times, ends, strict=False)):
    clip_id = f'{entry.clip_id}#{number:04d}'
    yield dataclasses.replace(entry, clip_id=clip_id, start=start, end=end)


def _clip_ids(names: Sequence[str]) -> list[str]:
  """Names without suffix; with it where two would be the same."""
  stems = [name.rpartition('.')[0] for name in names]
  seen: dict[str, int] = {}
  for stem in stems:
    seen[stem] = seen.get(stem, 0) + 1
  return [
    name if seen[stem] > 1 else stem
    for name, stem in zip(names, stems, strict=True)
  ]
