"""Kinetics-400, -600 and -700: a class a clip of ten seconds.

  train.csv, val.csv, validate.csv, test.csv, kinetics_600_val.csv ...
      label,youtube_id,time_start,time_end,split[,is_cc]
      labels may be quoted; a test file may have none

Videos are <label>/<id>_<start:06d>_<end:06d>.mp4, with or without the folder
and whatever it is called, or whole videos <id>.mp4. Class names are taken from
the CSV: they differ in wording between the three.
"""

from collections.abc import Iterator, Sequence

from vidlm.data.sets import files, rows


def read(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads a row a clip, its class as the label.

  Args:
    annotations: Files; splits are train, val and test by the column, else by
      the file's name.

  Raises:
    ValueError: For a missing column or a time that is none.
  """
  seen: set[tuple[str, str]] = set()
  for path in annotations:
    by_file = rows.split_name(files.stem(path))
    columns = ('youtube_id', 'time_start', 'time_end')
    for line, item in files.csv_rows(path, columns):
      where = f'{path}:{line}'
      video = item['youtube_id'].strip()
      start = files.number(item['time_start'], where)
      end = files.number(item['time_end'], where)
      split = rows.split_name(item.get('split', ''), by_file)
      clip_id = f'{video}_{int(start):06d}_{int(end):06d}'
      if (split, clip_id) in seen:
        continue  # the lists do repeat some lines
      seen.add((split, clip_id))
      yield rows.Row(
        clip_id=clip_id,
        names=rows.cut_from_youtube(video, start, end),
        label=' '.join(item.get('label', '').split()),
        split=split,
        source=video,
      )
