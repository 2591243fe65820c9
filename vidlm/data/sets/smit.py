"""Spoken Moments in Time, from a table of your own making.

The set is handed out on request (moments.csail.mit.edu/spoken.html) and the
form of its files is not public. So: any .csv, .tsv, .jsonl, .json or .parquet
with a column for the video (video, path, file, filename or video_path), one for
the caption (caption, text, transcript or sentence), and, if you like, split
and id. This also serves for other sets of one caption a video.
"""

import os
from collections.abc import Iterator, Sequence

from vidlm.data.sets import files, rows, tables
from vidlm.data.tables import cells

VIDEO = ('video', 'path', 'file', 'filename', 'video_path')
CAPTION = ('caption', 'text', 'transcript', 'sentence')
_ID = ('clip_id', 'id')


def read(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads a row a video; several captions of one are put together.

  Args:
    annotations: Tables; where none has a split column, each is the split its
      name tells (train, val, test).

  Raises:
    ValueError: For a row without video, or two videos with one id.
  """
  found: dict[tuple[str, str], tuple[str, list[str]]] = {}
  for path in annotations:
    by_file = rows.split_name(files.stem(path))
    for where, item in tables.table_rows(path):
      video = str(tables.need(item, VIDEO, where)).strip()
      stem = os.path.splitext(video)[0]
      clip_id = str(tables.pick(item, _ID) or stem)
      split = rows.split_name(str(item.get('split') or ''), by_file)
      known, texts = found.setdefault((split, clip_id), (video, []))
      if known != video:
        raise ValueError(
          f'{where}: {known!r} and {video!r} both have the id {clip_id!r}'
        )
      texts += files.texts(cells.unlisted(tables.pick(item, CAPTION)))
  for (split, clip_id), (video, texts) in found.items():
    yield rows.Row(
      clip_id=clip_id,
      names=(rows.VideoName(video),),
      texts=tuple(texts),
      split=split,
      source=rows.source_id(video),
    )
