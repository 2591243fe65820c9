"""Caption files: bytes, damage, full disks, unfinished sets."""

import json
import os
import resource
import signal

import pyarrow.parquet as pq
import pytest

from vidlm.core import files
from vidlm.data.store import caption_rows, caption_sets

CONFIG = {'prompt': 'Describe:', 'num_samples': 2, 'sampler': {'top_p': 0.95}}
INFO = caption_sets.FileInfo(
  caption_sets.config_hash(CONFIG), CONFIG, input_digest='d1', model='m'
)


def rows(number, prefix='clip'):
  good = [
    caption_sets.CaptionRow(
      f'{prefix}{i}', 'v.mp4', 0.0, 2.5, ['a', 'ü'], [-1.5, -0.25], [3, 4]
    )
    for i in range(number - 1)
  ]
  bad = caption_sets.CaptionRow(
    f'{prefix}-bad', status='failed', error='corrupt: x'
  )
  return [*good, bad]


def make_set(folder, sizes=(3, 2)):
  for shard, size in enumerate(sizes):
    path = folder / caption_sets.file_name(shard, len(sizes))
    caption_sets.write_file(path, rows(size, f's{shard}-'), INFO)
  entries = [
    caption_sets.describe_file(folder / n)
    for n in caption_sets.find_files(folder)
  ]
  files.write_bytes(
    folder / caption_sets.MANIFEST, caption_sets.manifest_bytes(CONFIG, entries)
  )


def test_round_trip(tmp_path):
  make_set(tmp_path)
  assert sorted(os.listdir(tmp_path)) == [
    'captions-00000-of-00002.parquet',
    'captions-00001-of-00002.parquet',
    'manifest.json',
  ]
  table = caption_sets.read_captions(tmp_path)
  assert table.schema == caption_rows.SCHEMA
  assert table['clip_id'].to_pylist() == [
    's0-0',
    's0-1',
    's0--bad',
    's1-0',
    's1--bad',
  ]
  assert table['captions'].to_pylist()[:3] == [['a', 'ü'], ['a', 'ü'], []]
  assert table['logprobs'].to_pylist()[0] == [-1.5, -0.25]
  assert table['status'].to_pylist()[2] == 'failed'
  assert table['start'].to_pylist()[2] is None
  assert set(table['config_hash'].to_pylist()) == {INFO.config_hash}
  manifest = caption_sets.read_manifest(tmp_path)
  assert manifest['totals'] == {'clips': 5, 'ok': 3, 'failed': 2}
  assert manifest['config'] == CONFIG


def test_same_rows_same_bytes():
  data = caption_rows.encode(rows(600), INFO)
  assert data == caption_rows.encode(rows(600), INFO)
  assert data != caption_rows.encode(rows(600, 'other'), INFO)


def test_config_hash_looks_at_values_not_at_order():
  turned = dict(reversed(CONFIG.items()))
  assert caption_sets.config_hash(turned) == INFO.config_hash
  assert caption_sets.config_hash({**CONFIG, 'prompt': '?'}) != INFO.config_hash


def test_info_is_read_back(tmp_path):
  path = tmp_path / 'f.parquet'
  caption_sets.write_file(path, rows(3), INFO)
  info = caption_sets.read_info(path)
  assert (info.config, info.input_digest, info.rows) == (CONFIG, 'd1', 3)


def test_unfinished_set_is_refused(tmp_path):
  make_set(tmp_path)
  (tmp_path / caption_sets.MANIFEST).unlink()
  with pytest.raises(FileNotFoundError, match='no finished caption set'):
    caption_sets.read_captions(tmp_path)
  assert (
    caption_sets.read_captions(tmp_path, allow_unfinished=True).num_rows == 5
  )


def test_missing_and_foreign_files_are_refused(tmp_path):
  make_set(tmp_path)
  path = tmp_path / caption_sets.file_name(1, 2)
  info = caption_sets.FileInfo('0' * 16, CONFIG, 'd', 'm')
  caption_sets.write_file(path, rows(2), info)
  with pytest.raises(ValueError, match='of set 0000'):
    caption_sets.read_captions(tmp_path)
  path.unlink()
  with pytest.raises(FileNotFoundError, match='captions-00001'):
    caption_sets.read_captions(tmp_path)


@pytest.mark.parametrize('damage', ['empty', 'text', 'cut', 'other columns'])
def test_damaged_file_has_a_clear_message(tmp_path, damage):
  path = tmp_path / 'f.parquet'
  caption_sets.write_file(path, rows(3), INFO)
  if damage == 'other columns':
    pq.write_table(pq.read_table(path).drop(['error']), path)
  else:
    data = {'empty': b'', 'text': b'hello', 'cut': path.read_bytes()[:-20]}
    path.write_bytes(data[damage])
  with pytest.raises(ValueError, match=r'f\.parquet: ') as error:
    caption_sets.read_info(path)
  assert '\n' not in str(error.value)


def test_damage_is_told_to_its_rows(tmp_path):
  path = tmp_path / 'f.parquet'
  caption_sets.write_file(path, rows(600), INFO)
  column = pq.ParquetFile(path).metadata.row_group(1).column(0)
  with open(path, 'r+b') as file:
    file.seek(column.data_page_offset + column.total_compressed_size // 2)
    file.write(b'\xff\x00\xff')
  found = [
    (f, e, isinstance(r, str)) for f, e, r in caption_rows.iter_row_groups(path)
  ]
  assert found == [(0, 256, False), (256, 512, True), (512, 600, False)]
  with pytest.raises(ValueError, match='rows 256 to 511 are damaged'):
    caption_sets.describe_file(path)


@pytest.mark.parametrize('text', ['{', '[]', '{"files": []}'])
def test_damaged_manifest(tmp_path, text):
  (tmp_path / caption_sets.MANIFEST).write_text(text)
  with pytest.raises(ValueError, match=r'manifest\.json: damaged'):
    caption_sets.read_manifest(tmp_path)


def test_manifest_is_plain_json(tmp_path):
  make_set(tmp_path)
  manifest = json.loads((tmp_path / caption_sets.MANIFEST).read_text())
  assert manifest['files'][0]['rows'] == 3


def test_full_disk_leaves_no_file(tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
  try:
    with pytest.raises(ValueError, match='no room for it: free some space'):
      caption_sets.write_file(tmp_path / 'f.parquet', rows(600), INFO)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, old)
  assert os.listdir(tmp_path) == []
  caption_sets.write_file(tmp_path / 'f.parquet', rows(600), INFO)


def test_vanished_folder_fails_at_once(tmp_path):
  with pytest.raises(ValueError, match='cannot be written'):
    caption_sets.write_file(tmp_path / 'gone' / 'f.parquet', rows(2), INFO)
