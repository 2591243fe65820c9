"""What a clip set says of its split: ids that are annotated, classes."""

import pathlib
from typing import Any

from vidlm.core import processes
from vidlm.data.feed import coverage, text_rows
from vidlm.data.tables import texts as texts_lib


def annotated(reader: Any, allow_unavailable: bool) -> dict[str, list[str]]:
  """Returns the ids of the split, and those of them that may lack.

  Sets made of published annotations keep what was asked for beside the clips;
  others have no more than their clips.

  Args:
    reader: Reads a split of a clip set.
    allow_unavailable: Whether annotated clips may lack.

  Returns:
    `annotated` and `known_missing`.

  Raises:
    ValueError: If annotated clips lack and that isn't allowed.
  """
  ids = reader.clip_ids()
  path = pathlib.Path(reader.data_dir, f'annotated-{reader.split}.parquet')
  wanted = ids
  if path.exists():
    import pyarrow.parquet as pq

    column = pq.read_table(path, columns=['clip_id'])['clip_id']
    wanted = column.drop_null().to_pylist()
  gone = sorted(set(wanted) - set(ids))
  if gone and not allow_unavailable:
    raise ValueError(
      f'{reader.data_dir}: {len(gone)} of {len(wanted)} annotated clips of '
      f'{reader.split} are not there, such as {gone[0]!r}; find them, or score '
      'the rest by --allow=unavailable'
    )
  return {'annotated': list(wanted), 'known_missing': gone}


def texts(reader: Any) -> list[list[str]]:
  """Returns the captions of each clip that say something; blank ones are none.

  Says how many clips there are of how many, as training does.

  Args:
    reader: Reads a split of a clip set.

  Raises:
    ValueError: If no clip has a caption.
  """
  found = [text_rows.spoken(own) for own in reader.texts()]
  left = {'without a caption': found.count([])}
  kept = len(found) - left['without a caption']
  share = coverage.Share(
    f'clips of {reader.data_dir} ({reader.split})', kept, left
  )
  if not kept:
    raise ValueError(f'retrieval: no caption asks: {share}')
  if processes.is_first():
    counted = coverage.Coverage(sum(map(len, found)), [share])
    coverage.say('retrieval', counted)
  return found


def labels_of(reader: Any) -> list[str]:
  """Returns the class of each clip, without blanks at its ends."""
  return [label.strip() for label in reader.labels()]


def class_names(reader: Any, path: str | None) -> list[str]:
  """Returns the classes that compete, from a file or else the labels.

  Args:
    reader: Reads a split of a clip set.
    path: Lists them, a line each.

  Raises:
    ValueError: If a clip has no label, or its label isn't in the file.
  """
  labels = labels_of(reader)
  if not all(labels):
    raise ValueError(
      f'{reader.data_dir}: {labels.count("")} of {len(labels)} clips of '
      f'{reader.split} have no label; prepare them with --label_column'
    )
  found = sorted(set(labels))
  if not path:
    return found
  names = list(dict.fromkeys(texts_lib.entries(path)))
  unknown = sorted(set(found) - set(names))
  if unknown:
    raise ValueError(
      f'{path}: {len(unknown)} labels are not in it, such as {unknown[0]!r}'
    )
  return names
