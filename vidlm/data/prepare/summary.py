"""The counts of a preparation: printed, written, read again."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping

from vidlm.core import file_names, files
from vidlm.data.video import inventory as inventories


@dataclasses.dataclass(frozen=True)
class Summary:
  """What came of a preparation.

  Attributes:
    total: Clips asked for.
    ok: Clips in the set.
    failed: How many failed, by reason.
    splits: Clips in each split.
    output: Folder of the set.
    files: What became of the files of the folder that the clips are from;
      None where they are not counted.
    cut_short: Clips in the set that end early: their files break off.
  """

  total: int
  ok: int
  failed: dict[str, int]
  splits: dict[str, int]
  output: str
  files: inventories.Counts | None = None
  cut_short: int = 0

  @property
  def coverage(self) -> float:
    """Share of the clips asked for that are in the set."""
    return self.ok / self.total

  def __str__(self) -> str:
    splits = ', '.join(f'{name} {n}' for name, n in self.splits.items())
    output = file_names.as_text(self.output)
    text = f'{output}: {self.ok} of {self.total} clips ({splits})'
    if self.failed:
      reasons = ', '.join(f'{r} {n}' for r, n in self.failed.items())
      failures = self.total - self.ok
      text += f'; {failures} failed ({reasons}), see errors.jsonl'
    if self.cut_short:
      text += f'; {self.cut_short} cut short, see cut_short.jsonl'
    return f'{text}; coverage {100 * self.coverage:.2f} %'

  @property
  def whole(self) -> str:
    """The counts of clips and, where they were counted, of files."""
    return f'{self}; {self.files}' if self.files else str(self)


@dataclasses.dataclass(frozen=True)
class Files:
  """The files of a folder of videos, for their count.

  Attributes:
    inventory: The files.
    by_rows: Whether annotations said which of them are wanted.
  """

  inventory: inventories.Inventory
  by_rows: bool = False

  def write(
    self, folder: pathlib.Path, outcomes: Mapping[str, str]
  ) -> inventories.Counts:
    """Writes files.json, with names by reason; returns the counts."""
    report = self.inventory.report(outcomes, self.by_rows)
    files.write_json(
      folder / inventories.FILE, report, indent=1, ensure_ascii=False
    )
    return self.inventory.count(outcomes, self.by_rows)


def write(
  folder: pathlib.Path, summary: Summary, failures: Iterable[Mapping[str, str]]
) -> None:
  """Writes errors.jsonl and summary.json.

  Args:
    folder: Folder of the set.
    summary: The counts.
    failures: A line each.
  """
  files.write_json_lines(folder / 'errors.jsonl', failures, ensure_ascii=False)
  fields = dataclasses.asdict(summary)
  del fields['output']
  if summary.files is None:
    del fields['files']
  if not summary.cut_short:
    del fields['cut_short']
  fields['coverage'] = summary.coverage
  files.write_json(
    folder / 'summary.json', fields, indent=1, ensure_ascii=False
  )


def read(folder: pathlib.Path) -> Summary | None:
  """Reads the counts of a finished set; None of one that isn't."""
  path = folder / 'summary.json'
  if not path.exists() or not (folder / 'dataset_info.json').exists():
    return None
  fields = json.loads(path.read_text(encoding='utf-8'))
  fields.pop('coverage')
  if counts := fields.pop('files', None):
    counts = inventories.Counts(**counts)
  return Summary(**fields, output=str(folder), files=counts)
