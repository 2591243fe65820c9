"""Lists the clips of a folder of videos, without any annotations."""

import dataclasses
import itertools
from collections.abc import Collection, Iterator

from vidlm.core import file_names
from vidlm.data.video import clip_ids, cuts, decode_pool, sampling, scanner
from vidlm.data.video import inventory as inventories


@dataclasses.dataclass(frozen=True)
class Entry:
  """A clip to be decoded, and all that is known about it.

  Attributes:
    clip_id: Unique in its set.
    video: Name of the file, relative to the folder of videos, as text; see
      `core.file_names`.
    path: Where it is, as the system has it; None if it can't be, for
      `reason`.
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


def list_videos(videos: inventories.Videos) -> list[str]:
  """Lists the films below a folder, sorted, relative to it.

  Links that lead out of the folder (unless it says so), hidden files and
  other kinds of file are left out.

  Returns:
    Names as text; see `core.file_names`.

  Raises:
    FileNotFoundError: If there is no such folder.
    ValueError: If there is no video in it; says what there is.
  """
  inventory = inventories.take(videos)
  inventory.require_videos()
  return [item.name for item in inventory.videos]


def folder_clips(
  videos: inventories.Videos,
  how: str = 'whole',
  num_workers: int | None = None,
  limits: sampling.Limits = sampling.Limits(),
) -> list[Entry]:
  """Returns the clips of all videos of a folder.

  A clip's id is the file's name without suffix (see `clip_ids`), and `#0001`
  and so on where a film is cut into several.

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
  entries = _films(inventories.take(videos))
  if how == 'whole':
    return entries
  clips: list[Entry] = []
  ids = {entry.clip_id for entry in entries}
  with decode_pool.DecodePool(num_workers) as pool:
    results = pool.map(cut_task(entry, how, limits) for entry in entries)
    for entry, result in zip(entries, results, strict=True):
      clips += cut_clips(entry, result, ids)
  return clips


def _films(inventory: inventories.Inventory) -> list[Entry]:
  """Returns a whole film an entry, in the order of names."""
  inventory.require_videos()
  films = inventory.videos
  later = {film.name for film in films if _is_later(film)}
  ids = clip_ids.of_names(
    (film.name for film in films if film.name not in later), later
  )
  entries = []
  for film in films:
    name = file_names.as_name(film.name)
    path = scanner.resolve(inventory.folder, name)
    entries.append(Entry(ids[film.name], film.name, path))
  return entries


def _is_later(film: inventories.Item) -> bool:
  """Whether sets that are older than this suffix don't have such a film."""
  return film.followed or not film.name.lower().endswith(scanner.FIRST)


def cut_task(
  film: Entry, how: str, limits: sampling.Limits
) -> decode_pool.DecodeTask:
  """Returns what finds out where a film is cut; see `folder_clips`."""
  costs = sampling.Sampling(limits=cuts.film_limits(limits))
  return decode_pool.DecodeTask(film.path or '', cut=how, sampling=costs)


def cut_clips(
  film: Entry,
  result: decode_pool.DecodeResult,
  ids: Collection[str] = (),
) -> Iterator[Entry]:
  """Yields the clips of a film; one with a reason if it can't be cut.

  Args:
    film: A whole one.
    result: What came of its `cut_task`.
    ids: Those of all films of the folder.
  """
  if not result.ok:
    # Without a path it isn't tried again.
    yield dataclasses.replace(
      film,
      clip_id=clip_ids.of_failed(film.clip_id, ids),
      path=None,
      reason=result.reason,
      message=file_names.printable(result.message),
    )
    return
  for number, (start, end) in enumerate(itertools.pairwise(result.times)):
    clip_id = f'{film.clip_id}#{number:04d}'
    yield dataclasses.replace(film, clip_id=clip_id, start=start, end=end)
