"""Clips of a set that end before they should: the file breaks off in them.

They are in the set, with the end that was read; cut_short.jsonl lists them. A
set without any has no such file.
"""

import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from vidlm.core import file_names, files
from vidlm.data.video import decode_pool, listing

FILE = 'cut_short.jsonl'


def line(
  entry: listing.Entry, result: decode_pool.DecodeResult
) -> dict[str, Any]:
  """Returns what the list says of a clip."""
  return {
    'clip_id': entry.clip_id,
    'video': entry.video,
    'start': result.start,
    'end': result.end,
    'message': file_names.printable(result.cut_short),
  }


def write(folder: pathlib.Path, reports: Iterable[Mapping[str, Any]]) -> int:
  """Writes the list, if there is anything in it.

  Args:
    folder: Folder of the set.
    reports: Of its shards; see `staging`.

  Returns:
    How many clips are in it.
  """
  number = 0

  def lines() -> Iterator[Mapping[str, Any]]:
    nonlocal number
    for report in reports:
      for clip in report.get('cut_short', ()):
        number += 1
        yield clip

  path = folder / FILE
  files.write_json_lines(path, lines(), ensure_ascii=False)
  if not number:
    path.unlink()
  return number
