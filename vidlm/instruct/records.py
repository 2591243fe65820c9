"""What `vidlm instruct` reads and writes: captions, records, instructions.

`records.jsonl` has one line for each completion that was paid for, accepted or
not, and one for each request that failed. It only grows. `instructions.parquet`
and `summary.json` are made from it and appear by atomic rename.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO

from absl import logging

from vidlm.core import files
from vidlm.data.tables import cells, columns, reading

ACCEPTED, QUARANTINED, FAILED = 'accepted', 'quarantined', 'failed'
Key = tuple[str, str, int, int, str, str]


@dataclasses.dataclass(frozen=True)
class Caption:
  """A clip's description, the language model's only view of it."""

  clip_id: str
  caption: str
  source: str = ''


@dataclasses.dataclass(frozen=True)
class Record:
  """One completion and what became of it.

  Attributes:
    clip_id: The clip.
    source: Data set it is from.
    kind: 'temporal', 'causal' or 'short'.
    draw: Which draw for this clip and kind.
    attempt: 0, or more where earlier completions of the draw were rejected.
    caption: What the model was told.
    fewshot_ids: Examples in the prompt, in order.
    prompt_sha: SHA-256 of the prompt.
    llm: Model that was asked for.
    llm_reported: Model that the endpoint says answered.
    endpoint: Where it ran.
    raw: The completion as it came; the error's text of a failed request.
    finish_reason: As the endpoint says.
    tokens: Charged, where reported.
    question: As read; '' if nothing was.
    answer: As read; '' if nothing was.
    flags: Remarks on an accepted pair.
    status: 'accepted', 'quarantined' or 'failed'.
    reject_reason: Why it was not accepted.
    seed: Seed of the run.
    left_out: Fields of the request that the endpoint refuses by name.
  """

  clip_id: str
  source: str
  kind: str
  draw: int
  attempt: int
  caption: str
  fewshot_ids: Sequence[str]
  prompt_sha: str
  llm: str
  llm_reported: str
  endpoint: str
  raw: str
  finish_reason: str | None
  tokens: int | None
  question: str
  answer: str
  flags: Sequence[str]
  status: str
  reject_reason: str | None
  seed: int
  left_out: Sequence[str] = ()

  @property
  def key(self) -> Key:
    """What must not be paid for twice."""
    return (
      self.clip_id,
      self.kind,
      self.draw,
      self.attempt,
      self.prompt_sha,
      self.llm,
    )


_FIELDS = tuple(
  field.name for field in dataclasses.fields(Record) if field.name != 'left_out'
)


def _cut_torn_line(path: pathlib.Path) -> None:
  """Cuts what a killed process left of its last line."""
  with path.open('rb+') as file:
    data = file.read()
    end = data.rfind(b'\n') + 1
    if end < len(data):
      logging.warning(
        '%s: dropped %d bytes of an unfinished last line',
        path,
        len(data) - end,
      )
      file.truncate(end)


class RecordLog:
  """The append-only file of records.

  Each record is handed to the system at once, so that a killed process loses
  none; each batch is forced to disk, for the case that the machine goes.
  """

  def __init__(self, path: str | os.PathLike[str], batch_size: int = 32):
    self._path = pathlib.Path(path)
    self._batch_size = batch_size
    self._pending = 0
    self._file: BinaryIO | None = None

  def read(self) -> Iterator[Record]:
    """Yields the records so far, after repairing a torn last line.

    Raises:
      ValueError: If a line in the middle is no record.
    """
    if not self._path.exists():
      return
    _cut_torn_line(self._path)
    with self._path.open(encoding='utf-8') as file:
      for number, line in enumerate(file, 1):
        try:
          row = json.loads(line)
          # Records made before have no such field, nor has one without it.
          left_out = tuple(row.pop('left_out', ()))
          yield Record(
            **{name: row[name] for name in _FIELDS}, left_out=left_out
          )
        except (ValueError, KeyError, TypeError) as error:
          raise ValueError(
            f'{self._path} line {number} is no record ({error!r}); delete the '
            'line to have it asked for again'
          ) from error

  def __enter__(self) -> 'RecordLog':
    self._file = self._path.open('ab')
    # The name of a new file, too, must outlive the machine.
    files.sync_folder(self._path.parent)
    return self

  def __exit__(self, *unused: object) -> None:
    self._sync()
    self._opened().close()

  def append(self, record: Record) -> None:
    """Writes one record."""
    told = dataclasses.asdict(record)
    if not record.left_out:
      del told['left_out']
    row = json.dumps(told, ensure_ascii=False)
    # Lone surrogates, which JSON can smuggle in, are no UTF-8.
    file = self._opened()
    file.write(row.encode('utf-8', 'replace') + b'\n')
    file.flush()
    self._pending += 1
    if self._pending >= self._batch_size:
      self._sync()

  def _sync(self) -> None:
    os.fsync(self._opened().fileno())
    self._pending = 0

  def _opened(self) -> BinaryIO:
    if self._file is None:
      raise ValueError(f'{self._path}: open the log by `with` to write to it')
    return self._file


def write_instructions(
  rows: Iterable[Any], path: str | os.PathLike[str]
) -> None:
  """Writes `clip_id, question, answer, kind` of the rows, in their order."""
  import pyarrow as pa
  import pyarrow.parquet as pq

  rows = list(rows)
  names = ('clip_id', 'question', 'answer', 'kind')
  table = pa.table(
    {name: [getattr(row, name) for row in rows] for name in names},
    schema=pa.schema([(name, pa.string()) for name in names]),
  )
  with files.writer(path) as file:
    pq.write_table(table, file)


def write_summary(
  summary: dict[str, Any], path: str | os.PathLike[str]
) -> None:
  """Writes a summary as indented JSON."""
  files.write_json(path, summary, ensure_ascii=False)


def read_captions(
  path: str | os.PathLike[str],
  *,
  clip_id_column: str = 'clip_id',
  caption_column: str = 'caption',
  source_column: str = 'source',
  source: str = '',
) -> Iterator[Caption]:
  """Yields the captions of a table; see `reading.rows`.

  Args:
    path: The file.
    clip_id_column: Column of the clip's id.
    caption_column: Column of the text. A list of texts, several people's
      narratives of one clip, is joined by spaces in its order.
    source_column: Column that names the data set; may be missing.
    source: The data set where no column names it; by default the file's name.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If a column is missing, or the file is of another kind.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise FileNotFoundError(f'{path}: no such captions file')
  empty = 0
  flags = {clip_id_column: '--id_column', caption_column: '--caption_column'}
  for number, row in reading.rows(path):
    for column, flag in flags.items():
      if column not in row:
        raise columns.lacking(
          f'{path} row {number} has no column {column!r}',
          row,
          f'name it by {flag}',
        )
    text = cells.unlisted(row[caption_column])
    if isinstance(text, list):
      text = ' '.join(str(part).strip() for part in text if part)
    if not str(text or '').strip():
      empty += 1
      continue
    yield Caption(
      str(row[clip_id_column]),
      str(text).strip(),
      str(row.get(source_column) or source or path.name),
    )
  if empty:
    logging.warning('%s: left out %d rows without a caption', path, empty)
