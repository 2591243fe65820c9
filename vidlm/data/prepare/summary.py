"""The counts of a preparation: printed, written, read again."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping

from vidlm.core import files


@dataclasses.dataclass(frozen=True)
class Summary:
  """What came of a preparation.

  Attributes:
    total: Clips asked for.
    ok: Clips in the set.
    failed: How many failed, by reason.
    splits: Clips in each split.
    output: Folder of the set.
  """

  total: int
  ok: int
  failed: dict[str, int]
  splits: dict[str, int]
  output: str

  @property
  def coverage(self) -> float:
    """Share of the clips asked for that are in the set."""
    return self.ok / self.total

  def __str__(self) -> str:
    splits = ', '.join(f'{name} {n}' for name, n in self.splits.items())
    text = f'{self.output}: {self.ok} of {self.total} clips ({splits})'
    if self.failed:
      reasons = ', '.join(f'{r} {n}' for r, n in self.failed.items())
      failures = self.total - self.ok
      text += f'; {failures} failed ({reasons}), see errors.jsonl'
    return f'{text}; coverage {100 * self.coverage:.2f} %'


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
  return Summary(**fields, output=str(folder))
