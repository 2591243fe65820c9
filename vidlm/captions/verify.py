"""Proves that a caption set is whole, or says what is wrong with it."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from absl import logging

from vidlm.core import files
from vidlm.data.store import caption_rows
from vidlm.data.store import caption_sets as captions_lib


@dataclasses.dataclass(frozen=True)
class Problem:
  """Something wrong with a set.

  Attributes:
    file: In which file; '' for the set.
    row: In which row; None for the file.
    message: What.
  """

  file: str
  row: int | None
  message: str

  def __str__(self) -> str:
    where = self.file + ('' if self.row is None else f' row {self.row}')
    return f'{where}: {self.message}' if where else self.message


@dataclasses.dataclass(frozen=True)
class Report:
  """What `verify` found.

  Attributes:
    output: Folder of the set.
    files: In its manifest.
    clips: In files that could be read.
    failed: Clips among these without captions.
    problems: None if the set is whole.
  """

  output: str
  files: int
  clips: int
  failed: int
  problems: Sequence[Problem]

  @property
  def ok(self) -> bool:
    """Whether the set is whole."""
    return not self.problems

  def __str__(self) -> str:
    if self.ok:
      return (
        f'{self.output}: verified, {self.clips} clips ({self.failed} failed) '
        f'in {self.files} files'
      )
    shown = [f'  {problem}' for problem in self.problems[:20]]
    if len(self.problems) > len(shown):
      shown.append(f'  ... and {len(self.problems) - len(shown)} more')
    count = len(self.problems)
    head = f'{self.output}: {count} problem{"s" * (count > 1)}'
    return '\n'.join([head, *shown])


def verify(output: str) -> Report:
  """Checks a finished set against its manifest, byte by byte and row by row.

  Every file is there, with the bytes and rows the manifest says; every clip id
  comes once; clips have R captions or a reason; and all is of one set.
  """
  try:
    manifest = captions_lib.read_manifest(output)
  except (FileNotFoundError, ValueError) as error:
    return Report(output, 0, 0, 0, [Problem('', None, str(error))])
  problems = list(_manifest_problems(manifest, output))
  ids: dict[str, tuple[str, int]] = {}
  clips = failed = 0
  for entry in manifest['files']:
    path = pathlib.Path(output, entry['name'])
    if not path.exists():
      problems.append(Problem(entry['name'], None, 'is missing'))
      continue
    problems += _file_problems(path, entry, manifest)
    for first, rows in _readable(path):
      clips += len(rows)
      failed += sum(row['status'] != captions_lib.OK for row in rows)
      for number, row in enumerate(rows, first):
        problems += _row_problems(entry['name'], number, row, manifest, ids)
  return Report(output, len(manifest['files']), clips, failed, problems)


def repair(output: str) -> list[str]:
  """Removes the files `verify` finds wrong, so that the next run does them.

  Returns:
    Their names.
  """
  bad = sorted({p.file for p in verify(output).problems if p.file})
  if bad:
    # Without it the set is unfinished, which it is.
    pathlib.Path(output, captions_lib.MANIFEST).unlink(missing_ok=True)
  for name in bad:
    pathlib.Path(output, name).unlink(missing_ok=True)
    logging.info('%s: removed; run `vidlm caption` again', name)
  return bad


def _manifest_problems(
  manifest: Mapping[str, Any], output: str
) -> Iterator[Problem]:
  name = captions_lib.MANIFEST
  wanted = captions_lib.config_hash(manifest['config'])
  if manifest['config_hash'] != wanted:
    yield Problem(
      '',
      None,
      f'{name}: config_hash {manifest["config_hash"]} is not that of its '
      f'configuration, {wanted}',
    )
  entries = manifest['files']
  totals = {
    'clips': sum(entry['rows'] for entry in entries),
    'ok': sum(entry['ok'] for entry in entries),
    'failed': sum(entry['rows'] - entry['ok'] for entry in entries),
  }
  if manifest['totals'] != totals:
    yield Problem('', None, f'{name}: totals are not the sums of its files')
  number = len(entries)
  names = [captions_lib.file_name(i, number) for i in range(number)]
  if [entry['name'] for entry in entries] != names:
    yield Problem('', None, f'{name}: does not list {number} files in order')
  for stray in captions_lib.find_files(output):
    if stray not in names:
      yield Problem(stray, None, 'is not in the manifest')


def _file_problems(
  path: pathlib.Path, entry: Mapping[str, Any], manifest: Mapping[str, Any]
) -> Iterator[Problem]:
  name = path.name
  try:
    info = captions_lib.read_info(path)
  except ValueError as error:
    yield Problem(name, None, str(error))
    return
  digest = files.sha256(path)
  if digest != entry['sha256']:
    yield Problem(
      name, None, f'sha256 is {digest[:12]}..., expected {entry["sha256"]}'
    )
  if info.rows != entry['rows']:
    yield Problem(name, None, f'{info.rows} rows, expected {entry["rows"]}')
  if info.config_hash != manifest['config_hash']:
    yield Problem(name, None, f'belongs to another set, {info.config_hash}')
  if info.input_digest != entry['input_digest']:
    yield Problem(name, None, 'was made from other inputs')
  for first, end, rows in caption_rows.iter_row_groups(path):
    if isinstance(rows, str):
      yield Problem(name, first, f'damaged up to row {end - 1}: {rows}')


def _readable(
  path: pathlib.Path,
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
  """Yields rows of the groups that can be read, with the first one's number."""
  try:
    captions_lib.read_info(path)
  except ValueError:
    return
  for first, _, rows in caption_rows.iter_row_groups(path):
    if isinstance(rows, pa.Table):
      yield first, rows.to_pylist()


def _row_problems(
  file: str,
  number: int,
  row: Mapping[str, Any],
  manifest: Mapping[str, Any],
  ids: dict[str, tuple[str, int]],
) -> Iterator[Problem]:
  """Yields what is wrong with a row; adds its id to `ids`."""
  clip_id = row['clip_id']
  if not clip_id:
    yield Problem(file, number, 'has no clip_id')
  elif clip_id in ids:
    other = '{} row {}'.format(*ids[clip_id])
    yield Problem(file, number, f'clip {clip_id!r} is also in {other}')
  ids[clip_id] = (file, number)
  if row['config_hash'] != manifest['config_hash']:
    yield Problem(file, number, f'belongs to set {row["config_hash"]}')
  lists = [row[name] for name in ('captions', 'logprobs', 'lengths')]
  if any(values is None or None in values for values in lists):
    yield Problem(file, number, 'a value is null')
    return
  lengths = {len(values) for values in lists}
  if row['status'] == captions_lib.OK:
    wanted = manifest['config'].get('num_samples', len(lists[0]))
    # The one thing that is said of a clip that didn't fail.
    noted = row['error'] and not row['error'].startswith('cut_short: ')
    if lengths != {wanted} or noted:
      yield Problem(file, number, f'is ok, but not with {wanted} captions')
  elif row['status'] == captions_lib.FAILED:
    if lengths != {0} or not row['error']:
      yield Problem(file, number, 'failed, but has captions or no reason')
  else:
    yield Problem(file, number, f'status {row["status"]!r} is unknown')
