"""A finished set proves itself; a damaged one names file and row."""

import json

import pytest

from vidlm.captions import caption, verify
from vidlm.core import files
from vidlm.data.store import caption_sets as captions_lib


@pytest.fixture
def output(fakes, lines, tmp_path):
  caption.caption_source(
    fakes.FakeCaptioner(),
    fakes.FolderOfLines(lines),
    str(tmp_path / 'out'),
    run=caption.Run(process_index=0, process_count=1),
  )
  return tmp_path / 'out'


@pytest.fixture
def finish(fakes, lines, output):
  def run():
    caption.caption_source(
      fakes.FakeCaptioner(),
      fakes.FolderOfLines(lines),
      str(output),
      run=caption.Run(process_index=0, process_count=1),
    )

  return run


def rewrite(output, shard, change):
  """Changes the rows of a file and makes the manifest fit again."""
  path = output / captions_lib.file_name(shard, 5)
  info = captions_lib.read_info(path)
  columns = captions_lib.CaptionRow.__dataclass_fields__
  rows = captions_lib.pq.read_table(path).to_pylist()
  rows = [{name: row[name] for name in columns} for row in rows]
  rows = [captions_lib.CaptionRow(**row) for row in rows]
  # Not through the constructor, which would refuse some of it.
  change([vars(row) for row in rows])
  captions_lib.write_file(path, rows, info)
  manifest = captions_lib.read_manifest(output)
  described = [
    captions_lib.describe_file(output / f['name']) for f in manifest['files']
  ]
  files.write_bytes(
    output / captions_lib.MANIFEST,
    captions_lib.manifest_bytes(manifest['config'], described),
  )


def problems(output):
  return [str(problem) for problem in verify.verify(str(output)).problems]


def test_finished_set(output):
  report = verify.verify(str(output))
  assert report.ok
  assert (report.files, report.clips, report.failed) == (5, 20, 4)
  assert str(report).endswith('verified, 20 clips (4 failed) in 5 files')
  assert verify.repair(str(output)) == []


@pytest.mark.parametrize('damage', ['flip', 'cut', 'remove'])
def test_damaged_file_is_named_and_repaired(output, finish, hashes, damage):
  before = hashes(output)
  path = output / captions_lib.file_name(1, 5)
  data = bytearray(path.read_bytes())
  if damage == 'flip':
    data[60] ^= 0x10
    path.write_bytes(data)
  elif damage == 'cut':
    path.write_bytes(data[:-9])
  else:
    path.unlink()
  found = problems(output)
  assert found and all(p.startswith(path.name) for p in found)
  if damage == 'flip':
    assert any('row 0' in p for p in found)
  assert verify.repair(str(output)) == [path.name]
  assert not verify.verify(str(output)).ok
  finish()
  assert hashes(output) == before


def test_duplicate_clip(output):
  rewrite(output, 4, lambda rows: rows[3].update(clip_id='clip-0-5'))
  (found,) = problems(output)
  assert found == (
    "captions-00004-of-00005.parquet row 3: clip 'clip-0-5' is also in "
    'captions-00000-of-00005.parquet row 5'
  )


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'captions': ['a', 'b']}, 'not with 3 captions'),
    ({'captions': ['a', None, 'c']}, 'null'),
    ({'status': 'failed'}, 'has captions or no reason'),
    ({'status': 'maybe'}, "'maybe' is unknown"),
    ({'clip_id': ''}, 'no clip_id'),
  ],
)
def test_rows_that_contradict_themselves(output, change, message):
  rewrite(output, 1, lambda rows: rows[2].update(change))
  (found,) = problems(output)
  assert found.startswith('captions-00001-of-00005.parquet row 2: ')
  assert message in found


def test_file_of_another_set(output):
  path = output / captions_lib.file_name(3, 5)
  info = captions_lib.FileInfo('0' * 16, {}, 'd', 'm')
  captions_lib.write_file(path, [captions_lib.CaptionRow('x')], info)
  assert any('another set, 0000' in p for p in problems(output))


def test_stray_file(output):
  (output / 'captions-00000-of-00009.parquet').touch()
  assert problems(output) == [
    'captions-00000-of-00009.parquet: is not in the manifest'
  ]


def test_manifest_that_was_edited(output):
  path = output / captions_lib.MANIFEST
  manifest = json.loads(path.read_text())
  manifest['config']['prompt'] = 'What?'
  manifest['totals']['ok'] += 1
  path.write_text(json.dumps(manifest))
  text = str(verify.verify(str(output)))
  assert 'is not that of its configuration' in text
  assert 'totals' in text and '2 problems' in text


def test_unfinished_set(output, tmp_path):
  (output / captions_lib.MANIFEST).unlink()
  report = verify.verify(str(output))
  assert not report.ok and 'no finished caption set' in str(report)
  assert not verify.verify(str(tmp_path / 'nowhere')).ok
