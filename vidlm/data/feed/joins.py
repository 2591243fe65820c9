"""What of a clip set, and of a file that is joined with it, is taken."""

import collections
from collections.abc import Collection, Iterable, Mapping

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
  wanted: Collection[str],
) -> Share:
  """What of the rows of a file is about clips that are wanted.

  Other splits' clips, and those behind a limit, nobody asked for.

  Args:
    path: The file's.
    clip_ids: Of each row that is sound.
    left_out: What the others are.
    reader: The clip set.
    wanted: Ids of its clips that may be taken.
  """
  named = collections.Counter(iter(clip_ids))  # of a dict it takes values
  known = set(reader.clip_ids())
  strange = named.keys() - known
  strange -= text_rows.elsewhere(reader, strange)
  none = sum(named[clip_id] for clip_id in strange)
  kept = sum(named[clip_id] for clip_id in named.keys() & set(wanted))
  left = {**left_out, 'that name no clip of the set': none}
  return Share(f'rows of {path}', kept, left)


def behind(limit: int | None, rows: int, what: str) -> list[str]:
  """What a limit leaves, for a message."""
  return [] if limit is None else [f'limit {limit} of {rows} {what}']
