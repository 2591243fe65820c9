"""What became of the files of a folder that was captioned."""

import json
import pathlib

import pyarrow.parquet as pq

from vidlm.core import files
from vidlm.data.store import caption_sets as captions_lib
from vidlm.data.video import inventory as inventories


def write(output: str, inventory: inventories.Inventory) -> inventories.Counts:
  """Writes files.json beside a finished set; returns the counts.

  Args:
    output: Folder of the set.
    inventory: The files of the folder of videos.
  """
  outcomes = _outcomes(pathlib.Path(output))
  report = inventory.report(outcomes)
  path = pathlib.Path(output, inventories.FILE)
  # A second run that finds nothing new touches nothing of the set.
  text = json.dumps(report, indent=2, ensure_ascii=False) + '\n'
  if not path.is_file() or path.read_bytes() != text.encode():
    files.write_text(path, text)
  return inventory.count(outcomes)


def _outcomes(folder: pathlib.Path) -> dict[str, str]:
  """Returns each video: '' if a clip of it has captions, or why none has."""
  outcomes: dict[str, str] = {}
  for entry in captions_lib.read_manifest(folder)['files']:
    table = pq.read_table(
      folder / entry['name'], columns=['video', 'status', 'error']
    )
    for row in table.to_pylist():
      if row['status'] == captions_lib.OK:
        outcomes[row['video']] = ''
      else:
        reason = row['error'].partition(':')[0]
        outcomes.setdefault(row['video'], reason)
  return outcomes
