"""Pseudo-captions on disk: Parquet files and a manifest, as a finished set.

  captions-00000-of-00010.parquet   one file an input shard, row i is clip i
  manifest.json                     written last: files, hashes, configuration

A file appears whole or not at all, and says in its metadata of which set it is
(`config_hash`) and from which inputs it was made (`input_digest`). The bytes
of a file depend on its rows and on that metadata alone, for one version of
pyarrow.
"""

import json
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidlm.core import files
from vidlm.data.store import caption_rows

CaptionRow = caption_rows.CaptionRow
FileInfo = caption_rows.FileInfo
FAILED = caption_rows.FAILED
OK = caption_rows.OK
config_hash = caption_rows.config_hash
read_info = caption_rows.read_info
write_file = caption_rows.write_file

MANIFEST = 'manifest.json'
_NAME = re.compile(r'captions-(\d{5,})-of-(\d{5,})\.parquet')


def file_name(shard: int, num_shards: int) -> str:
  """Returns the name of the file of an input shard."""
  return f'captions-{shard:05d}-of-{num_shards:05d}.parquet'


def find_files(output: str | os.PathLike) -> dict[str, tuple[int, int]]:
  """Finds a folder's caption files, sorted: {name: (shard, their number)}."""
  folder = pathlib.Path(output)
  names = sorted(os.listdir(folder)) if folder.is_dir() else []
  matches = ((name, _NAME.fullmatch(name)) for name in names)
  return {name: (int(m[1]), int(m[2])) for name, m in matches if m}


def manifest_bytes(
  config: Mapping[str, Any], files: Sequence[Mapping[str, Any]]
) -> bytes:
  """Returns a manifest: the same bytes for the same set."""
  totals = {
    'clips': sum(file['rows'] for file in files),
    'ok': sum(file['ok'] for file in files),
    'failed': sum(file['rows'] - file['ok'] for file in files),
  }
  manifest = {
    'config_hash': caption_rows.config_hash(config),
    'config': config,
    'totals': totals,
    'files': list(files),
  }
  text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
  return (text + '\n').encode()


def describe_file(path: str | os.PathLike) -> dict[str, Any]:
  """Returns the manifest's entry for a finished file, which is read as a whole.

  Raises:
    ValueError: If the file is damaged.
  """
  info = caption_rows.read_info(path)
  ok = 0
  for first, end, rows in caption_rows.iter_row_groups(path):
    if isinstance(rows, str):
      raise ValueError(f'{path}: rows {first} to {end - 1} are damaged: {rows}')
    ok += rows['status'].to_pylist().count(caption_rows.OK)
  return {
    'name': pathlib.Path(path).name,
    'rows': info.rows,
    'ok': ok,
    'sha256': files.sha256(path),
    'input_digest': info.input_digest,
  }


def read_manifest(output: str | os.PathLike) -> dict[str, Any]:
  """Reads a set's manifest.

  Raises:
    FileNotFoundError: If there is none: the set isn't finished.
    ValueError: If it is damaged.
  """
  path = pathlib.Path(output, MANIFEST)
  try:
    manifest = json.loads(path.read_text(encoding='utf-8'))
    if not {'config_hash', 'config', 'files', 'totals'} <= manifest.keys():
      raise ValueError('entries are missing')
    for entry in manifest['files']:
      if not {'name', 'rows', 'ok', 'sha256', 'input_digest'} <= entry.keys():
        raise ValueError(f'an entry of files is incomplete: {entry}')
    return manifest
  except FileNotFoundError:
    raise FileNotFoundError(
      f'{output}: no {MANIFEST}, so this is no finished caption set; run '
      '`vidlm caption` again to finish it'
    ) from None
  except (ValueError, AttributeError, TypeError) as error:
    raise ValueError(
      f'{path}: damaged ({error}); remove it and run `vidlm caption` again'
    ) from None


def read_captions(
  output: str | os.PathLike, allow_unfinished: bool = False
) -> pa.Table:
  """Reads a caption set.

  Args:
    output: Its folder.
    allow_unfinished: Read what is there, without a manifest too.

  Returns:
    A table of `caption_rows.SCHEMA`, clips in the order of the inputs.

  Raises:
    FileNotFoundError: If the set isn't finished, or a file is missing.
    ValueError: If a file is damaged or belongs to another set.
  """
  folder = pathlib.Path(output)
  try:
    manifest = read_manifest(folder)
  except FileNotFoundError:
    if not allow_unfinished:
      raise
    rows_of = {
      name: caption_rows.read_info(folder / name).rows
      for name in find_files(folder)
    }
    wanted = None
  else:
    rows_of = {entry['name']: entry['rows'] for entry in manifest['files']}
    wanted = manifest['config_hash']
  tables = []
  for name, rows in rows_of.items():
    info = caption_rows.read_info(folder / name)
    wanted = wanted or info.config_hash
    if (info.rows, info.config_hash) != (rows, wanted):
      raise ValueError(
        f'{folder / name}: {info.rows} rows of set {info.config_hash}, '
        f'expected {rows} of {wanted}; see `vidlm caption --verify`'
      )
    table = pq.read_table(folder / name, page_checksum_verification=True)
    tables.append(table.replace_schema_metadata(None))
  return (
    pa.concat_tables(tables) if tables else caption_rows.SCHEMA.empty_table()
  )
