"""Clips of web videos with their times: VideoCC and InternVid-10M-FLT.

video_cc_public.csv   Video URL, start, end (microseconds), caption; with or
                      without a header (google-research-datasets/videoCC-data)
InternVid-10M-FLT     {YoutubeID, Start_timestamp, End_timestamp
                      (HH:MM:SS.mmm), Caption, Aesthetic_Score, UMT_Score};
                      .jsonl, .parquet or .csv (OpenGVLab/InternVid)
"""

import re
from collections.abc import Iterator, Sequence

from vidlm.data.sets import files, rows, tables

_Clip = tuple[str, float, float]


def read_videocc(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Yields VideoCC, a row a clip with all its captions.

  Args:
    annotations: The CSV, or parts of it.

  Raises:
    ValueError: For a row of another form, or times that are not microseconds.
  """
  found: dict[_Clip, list[str]] = {}
  for path in annotations:
    for line, cells in files.csv_lines(path, _separator(path)):
      where = f'{path}:{line}'
      if len(cells) < 4:
        raise ValueError(
          f'{where}: {len(cells)} cells; need URL, start, end, caption'
        )
      if line == 1 and not _is_number(cells[1]):
        continue  # a header
      url, start, end = cells[0], cells[1], cells[2]
      first, last = files.number(start, where), files.number(end, where)
      if 0 < last - first < 1000:
        raise ValueError(
          f'{where}: {start} to {end}: a clip of less than a millisecond; '
          'times are microseconds in VideoCC'
        )
      key = (_video(url), first / 1e6, last / 1e6)
      # A comma in a caption that nobody quoted.
      found.setdefault(key, []).append(','.join(cells[3:]))
  yield from _clips(found)


def read_internvid(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Yields InternVid, a row a clip with all its captions.

  Many clips are shorter than a second; they are kept, and sampled densely.

  Args:
    annotations: Files of rows.

  Raises:
    ValueError: For a missing column or a time that is none.
  """
  found: dict[_Clip, list[str]] = {}
  for path in annotations:
    for where, item in tables.table_rows(path):
      video = str(tables.need(item, ('YoutubeID', 'YouTubeID'), where))
      start = tables.need(item, ('Start_timestamp',), where)
      end = tables.need(item, ('End_timestamp',), where)
      key = (
        video.strip(),
        tables.seconds(start, where),
        tables.seconds(end, where),
      )
      found.setdefault(key, []).append(str(item.get('Caption') or ''))
  yield from _clips(found)


def _clips(found: dict[_Clip, list[str]]) -> Iterator[rows.Row]:
  for (video, start, end), texts in found.items():
    yield rows.Row(
      clip_id=f'{video}_{start:.3f}_{end:.3f}',
      names=(
        *rows.cut_from_youtube(video, start, end),
        rows.VideoName(
          f'{video}_{start:.3f}_{end:.3f}', seconds=max(end - start, 0.0)
        ),
      ),
      texts=tuple(dict.fromkeys(files.texts(texts))),
      source=video,
    )


def _video(url: str) -> str:
  """Returns the YouTube id of an address; elsewhere its last part."""
  found = rows.youtube_id(url)
  return found or re.sub(r'\W+', '_', url.rstrip('/').rpartition('/')[2])


def _separator(path: str) -> str:
  """Returns what stands between address and start in the first line.

  Without a header that line is a caption's too, which may hold more
  semicolons than there are cells.
  """
  with open(path, encoding='utf-8-sig') as file:
    found = re.match(r'"?[^\s"]*?"?([,;|\t])"?\d+"?\1', file.readline())
  return found[1] if found else files.delimiter(path)


def _is_number(text: str) -> bool:
  return re.fullmatch(r'\s*\d+(\.\d*)?(e\+?\d+)?\s*', text.lower()) is not None
