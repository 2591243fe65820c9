"""What a clip set says of its split: ids that are annotated, classes."""

import pathlib
from typing import Any


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
    wanted = column.to_pylist()
  gone = sorted(set(wanted) - set(ids))
  if gone and not allow_unavailable:
    raise ValueError(
      f'{reader.data_dir}: {len(gone)} of {len(wanted)} annotated clips of '
      f'{reader.split} are not there, such as {gone[0]!r}; find them, or score '
      'the rest by --allow=unavailable'
    )
  return {'annotated': list(wanted), 'known_missing': gone}


def class_names(reader: Any, path: str | None) -> list[str]:
  """Returns the classes that compete, from a file or else the labels.

  Args:
    reader: Reads a split of a clip set.
    path: Lists them, a line each.

  Raises:
    ValueError: If a clip has no label, or its label isn't in the file.
  """
  labels = list(reader.labels())
  if not all(labels):
    raise ValueError(
      f'{reader.data_dir}: {labels.count("")} of {len(labels)} clips of '
      f'{reader.split} have no label; prepare them with --label_column'
    )
  found = sorted(set(labels))
  if not path:
    return found
  lines = pathlib.Path(path).read_text(encoding='utf-8').splitlines()
  names = [line.strip() for line in lines if line.strip()]
  unknown = sorted(set(found) - set(names))
  if unknown:
    raise ValueError(
      f'{path}: {len(unknown)} labels are not in it, such as {unknown[0]!r}'
    )
  return names
