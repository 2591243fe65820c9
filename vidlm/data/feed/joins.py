"""What of a clip set, and of a file that is joined with it, is taken."""

import collections
from collections.abc import Iterable, Mapping, Sequence

from vidlm.data.feed import text_rows
from vidlm.data.feed.coverage import Share
from vidlm.data.store import clip_reader as clips_lib


def of_clips(
  reader: clips_lib.ClipReader, kept: int, left_out: Mapping[str, int]
) -> Share:
  return Share(f'clips of {reader.data_dir} ({reader.split})', kept, left_out)


def joined(
  path: str,
  clip_ids: Iterable[str],
  left_out: Mapping[str, int],
  reader: clips_lib.ClipReader,
  ids: Sequence[str],
  limit: int | None,
) -> Share:
  """What of the rows of a file is about clips that are wanted.

  Other splits' clips, and those behind a limit, nobody asked for.

  Args:
    path: The file's.
    clip_ids: Of each row that is sound.
    left_out: What the others are.
    reader: The clip set.
    ids: Of its clips.
    limit: Only the first so many of them are wanted.
  """
  wanted = set(ids[:limit])
  later = set() if limit is None else set(ids[limit:])
  kept, strange = 0, collections.Counter[str]()
  for clip_id in clip_ids:
    if clip_id in wanted:
      kept += 1
    elif clip_id not in later:
      strange[clip_id] += 1
  for clip_id in text_rows.elsewhere(reader, strange):
    del strange[clip_id]
  left = {**left_out, 'that name no clip of the set': strange.total()}
  return Share(f'rows of {path}', kept, left)


def behind(limit: int | None, rows: int, what: str) -> list[str]:
  """What a limit leaves, for a message."""
  return [] if limit is None else [f'limit {limit} of {rows} {what}']
