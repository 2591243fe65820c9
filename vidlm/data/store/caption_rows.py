"""One file of pseudo-captions: its columns, its bytes, its damage."""

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidlm.core import files

OK = 'ok'
FAILED = 'failed'
SCHEMA = pa.schema(
  {
    'clip_id': pa.string(),
    'video': pa.string(),
    'start': pa.float64(),
    'end': pa.float64(),
    'captions': pa.list_(pa.string()),
    'logprobs': pa.list_(pa.float32()),
    'lengths': pa.list_(pa.int32()),
    'status': pa.string(),
    'error': pa.string(),
    'model': pa.string(),
    'config_hash': pa.string(),
  }
)
# Small groups, so that damage can be told to a few rows.
ROW_GROUP = 256
_PREFIX = 'vidlm.'


@dataclasses.dataclass(frozen=True)
class CaptionRow:
  """A clip and its captions.

  Attributes:
    clip_id: Unique in its set.
    video: Name of the source.
    start: Seconds in the source; None where unknown.
    end: Seconds in the source; None where unknown.
    captions: R texts; none if the clip failed.
    logprobs: Sum of log-probabilities of each caption's tokens.
    lengths: Tokens of each caption, end of sentence included.
    status: 'ok' or 'failed'.
    error: Why it failed; '' if it didn't, or 'cut_short: ' and why it ends
      early.
  """

  clip_id: str
  video: str = ''
  start: float | None = None
  end: float | None = None
  captions: Sequence[str] = ()
  logprobs: Sequence[float] = ()
  lengths: Sequence[int] = ()
  status: str = OK
  error: str = ''


@dataclasses.dataclass(frozen=True)
class FileInfo:
  """What a caption file says about itself.

  Attributes:
    config_hash: Hash of the set it belongs to.
    config: What was hashed.
    input_digest: Digest of the inputs its rows were made from.
    model: Name of the captioner.
    rows: Number of rows.
  """

  config_hash: str
  config: Mapping[str, Any]
  input_digest: str
  model: str
  rows: int = 0


def config_hash(config: Mapping[str, Any]) -> str:
  """Returns 16 hex digits of the SHA-256 of a configuration's JSON."""
  return hashlib.sha256(to_json(config).encode()).hexdigest()[:16]


def to_json(value: Any) -> str:
  """Returns JSON, the same for equal values."""
  return json.dumps(value, sort_keys=True, ensure_ascii=False, allow_nan=False)


def encode(rows: Sequence[CaptionRow], info: FileInfo) -> bytes:
  """Returns the bytes of a caption file."""
  same = {'model': info.model, 'config_hash': info.config_hash}
  metadata = {
    'config_hash': info.config_hash,
    'config': to_json(info.config),
    'input_digest': info.input_digest,
    'model': info.model,
  }
  table = pa.Table.from_pylist(
    [{**vars(row), **same} for row in rows],
    schema=SCHEMA.with_metadata(
      {_PREFIX + name: text for name, text in metadata.items()}
    ),
  )
  sink = io.BytesIO()
  pq.write_table(
    table,
    sink,
    version='2.6',
    compression='zstd',
    row_group_size=ROW_GROUP,
    write_statistics=True,
    write_page_checksum=True,  # For `iter_row_groups`, and so `--verify`.
  )
  return sink.getvalue()


def write_file(
  path: str | os.PathLike, rows: Sequence[CaptionRow], info: FileInfo
) -> None:
  """Writes a caption file, whole or not at all.

  Raises:
    ValueError: If it can't be written, because the disk is full for example.
  """
  files.write_bytes(path, encode(rows, info))


def read_info(path: str | os.PathLike) -> FileInfo:
  """Reads a caption file's footer.

  Raises:
    ValueError: If it is damaged, or isn't a caption file.
  """
  try:
    with pq.ParquetFile(path) as file:
      metadata = file.schema_arrow.metadata or {}
      rows = file.metadata.num_rows
      names = file.schema_arrow.names
    texts = {
      name: metadata[(_PREFIX + name).encode()].decode()
      for name in ('config_hash', 'config', 'input_digest', 'model')
    }
    config = json.loads(texts.pop('config'))
  except FileNotFoundError:
    raise
  except (pa.ArrowException, OSError, ValueError, KeyError) as error:
    raise ValueError(
      f'{path}: not a readable caption file '
      f'({type(error).__name__}: {_line(error)})'
    ) from None
  if names != SCHEMA.names:
    raise ValueError(f'{path}: columns {names}, expected {SCHEMA.names}')
  return FileInfo(config=config, rows=rows, **texts)


def _line(error: Exception) -> str:
  return ' '.join(str(error).split())[:200]


def iter_row_groups(
  path: str | os.PathLike,
) -> Iterator[tuple[int, int, pa.Table | str]]:
  """Reads a file group by group, checksums checked.

  Yields:
    First row, end row, and the rows, or in their place what is wrong.
  """
  with pq.ParquetFile(path, page_checksum_verification=True) as file:
    first = 0
    for group in range(file.num_row_groups):
      end = first + file.metadata.row_group(group).num_rows
      try:
        yield first, end, file.read_row_group(group)
      except (pa.ArrowException, OSError, ValueError) as error:
        yield first, end, _line(error)
      first = end
