"""`vidlm prepare` on a user's folder: counts, reasons, a second run."""

import csv
import json
import shutil

import pytest

from vidlm.data.store import clip_reader, clip_schema


@pytest.fixture
def videos(data, tmp_path):
  """Three films of another layout than ours, and one that is broken."""
  folder = tmp_path / 'films'
  (folder / 'sub').mkdir(parents=True)
  source = sorted((data / 'videos' / 'short_captions').glob('*.mp4'))
  for name, path in zip(('a', 'b', 'sub/c'), source, strict=False):
    shutil.copy(path, folder / f'{name}.mp4')
  (folder / 'd.mp4').write_bytes(b'this is no video')
  return folder


ROWS = [
  {'name': 'first', 'file': 'a.mp4', 'said': 'a ball falls', 'topic': 'fall'},
  {'name': 'second', 'file': 'b', 'said': 'it "turns", twice', 'topic': ''},
  {'name': 'third', 'file': 'sub/c.mp4', 'said': 'ein Ring wächst'},
  {'name': 'broken', 'file': 'd.mp4', 'said': 'nothing'},
  {'name': 'gone', 'file': 'e.mp4', 'said': 'nothing'},
]
COLUMNS = [
  '--id_column=name',
  '--video_column=file',
  '--caption_column=said',
  '--label_column=topic',
]


def write_csv(path):
  with open(path, 'w', encoding='utf-8', newline='') as file:
    writer = csv.DictWriter(file, ['name', 'file', 'said', 'topic'], restval='')
    writer.writeheader()
    writer.writerows(ROWS)


def write_jsonl(path):
  rows = [{**row, 'said': [row['said']], 'topic': ''} for row in ROWS]
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))


@pytest.fixture
def flags(videos, tmp_path):
  return [
    'prepare',
    'folder',
    f'--videos={videos}',
    f'--output={tmp_path / "set"}',
    '--workers=1',
    '--size=32',
  ]


def files(folder):
  """Times and bytes of all that is not a lock."""
  return {
    path.name: (path.stat().st_mtime_ns, path.read_bytes())
    for path in folder.iterdir()
    if path.name != '.lock'
  }


@pytest.mark.parametrize(
  ('name', 'write'), [('a.csv', write_csv), ('a.jsonl', write_jsonl)]
)
def test_a_folder_with_other_columns(
  commands, call, capsys, flags, tmp_path, name, write
):
  write(tmp_path / name)
  flags = [*flags, f'--annotations={tmp_path / name}', *COLUMNS]
  process = commands.start('vidlm', flags)
  code, output = process.finish()
  assert code == 0, process.errors
  # Every row is accounted for.
  line = (
    f'{tmp_path / "set"}: 3 of 5 clips (train 3); 2 failed (not_found 1, '
    'open_failed 1), see errors.jsonl; coverage 60.00 %\n'
  )
  assert output == line
  errors = (tmp_path / 'set' / 'errors.jsonl').read_text().splitlines()
  assert [json.loads(e)['clip_id'] for e in errors] == ['broken', 'gone']
  assert [json.loads(e)['reason'] for e in errors] == [
    'open_failed',
    'not_found',
  ]
  assert all(json.loads(e)['message'] for e in errors)
  reader = clip_reader.open_clips(str(tmp_path / 'set'))
  assert reader.clip_ids() == ['first', 'second', 'third']
  assert reader.texts() == [[row['said']] for row in ROWS[:3]]
  assert reader.labels()[0] == ('fall' if name == 'a.csv' else '')
  # Again: the same counts, and nothing is written.
  before = files(tmp_path / 'set')
  capsys.readouterr()
  assert call('vidlm', flags) == 0
  assert capsys.readouterr().out == line
  assert files(tmp_path / 'set') == before


GIN = """from __gin__ import dynamic_registration
from vidlm.data.prepare import pipeline
from vidlm.data.video import sampling
sampling.Sampling.size = 48
sampling.Sampling.quality = 80
sampling.Sampling.max_frames = 9
pipeline.Layout.clips_per_shard = 2
"""


def test_gin_fills_what_flags_leave_open(call, flags, tmp_path):
  (tmp_path / 'how.gin').write_text(GIN)
  flags = [*flags, f'--gin_file={tmp_path / "how.gin"}', '--fps=4']
  assert call('vidlm', flags) == 0
  config = json.loads((tmp_path / 'set' / 'prepare.json').read_text())
  asked = ('size', 'quality', 'max_frames', 'fps', 'clips_per_shard')
  assert [config[name] for name in asked] == [32, 80, 9, 4.0, 2]


def test_numbers_that_make_no_sense_are_refused_at_once(
  call, capsys, flags, tmp_path
):
  assert call('vidlm', [*flags, '--max_frames=4']) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line.startswith('error: min_frames=8, max_frames=4: need')
  assert not (tmp_path / 'set').exists()


def test_size_0_keeps_it(call, flags, tmp_path):
  assert call('vidlm', [*flags, '--size=0']) == 0
  reader = clip_reader.open_clips(str(tmp_path / 'set'))
  example = reader.features.deserialize_example_np(reader.read([0])[0])
  assert example['frames'][0].shape == (32, 32, 3)


def test_one_row_a_clip_keeps_its_place_among_the_splits(
  call, capsys, flags, tmp_path
):
  write_csv(tmp_path / 'a.csv')
  flags = [*flags, f'--annotations={tmp_path / "a.csv"}', *COLUMNS]
  assert call('vidlm', [*flags, '--val_fraction=0.4']) == 0
  assert '3 of 5 clips (' in capsys.readouterr().out
  splits = clip_schema.splits(str(tmp_path / 'set'))
  assert set(splits) == {'train', 'val'}
  # Other options are another set: refused in one line.
  assert call('vidlm', flags) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert 'was prepared otherwise' in line and '--overwrite' in line


def test_nothing_that_decodes_is_an_error(call, capsys, tmp_path):
  videos = tmp_path / 'films'
  videos.mkdir()
  (videos / 'd.mp4').write_bytes(b'this is no video')
  flags = ['prepare', 'folder', f'--videos={videos}', '--workers=0']
  assert call('vidlm', [*flags, f'--output={tmp_path / "set"}']) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert '0 of 1 clips' in line and 'open_failed 1' in line


@pytest.mark.parametrize(
  ('flag', 'message'),
  [
    ('--videos=/nowhere', '/nowhere: no such folder of videos'),
    ('--annotations=/nowhere.csv', 'no such annotation file'),
    ('--caption_column=text', "no column 'text' for the caption; it has "),
    ('--fps=0', 'fps=0.0: need more than 0'),
    ('--max_frames=0', 'max_frames=0: need at least 1'),
    ('--size=-1', 'size=-1: need 0'),
  ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
  call, capsys, flags, tmp_path, flag, message
):
  write_csv(tmp_path / 'a.csv')
  if not flag.startswith('--annotations'):
    flag = [f'--annotations={tmp_path / "a.csv"}', flag]
  flags = [*flags, *COLUMNS, *([flag] if isinstance(flag, str) else flag)]
  assert call('vidlm', flags) == 2
  said = capsys.readouterr()
  assert 'Traceback' not in said.err and not (tmp_path / 'set').exists()
  line = said.err.splitlines()[-1]
  assert line.startswith('error: ') and message in line


def test_annotations_that_are_no_text_are_named(call, capsys, flags, tmp_path):
  (tmp_path / 'a.csv').write_bytes('name,file\nä,b\n'.encode('latin-1'))
  assert call('vidlm', [*flags, f'--annotations={tmp_path / "a.csv"}']) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert f'{tmp_path / "a.csv"}: line 2: not UTF-8' in line


def test_output_that_is_a_file_is_one_line(call, capsys, flags, tmp_path):
  (tmp_path / 'set').touch()
  assert call('vidlm', flags) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line == (
    f'error: --output={tmp_path / "set"}: File exists; choose a folder that '
    'can be written'
  )


def test_output_below_a_file_is_one_line(call, capsys, tmp_path):
  (tmp_path / 'file').touch()
  flags = ['prepare', 'miniature', f'--output={tmp_path / "file"}']
  assert call('vidlm', flags) == 2
  assert capsys.readouterr().err.splitlines()[-1].startswith('error: ')


TINY = """from __gin__ import dynamic_registration
from vidlm.miniature.world import config
from vidlm.miniature.world import prepare
prepare.prepare_miniature.config = @config.MiniatureConfig()
config.MiniatureConfig:
  image_text = 64
  text_only = 300
  short_captions = 3
  narratives = 2
  web_clips = 3
  test_retrieval = 2
  test_classification = 2
  test_captioning = 2
  test_qa = 2
"""


def test_a_miniature_of_the_size_gin_says(call, tmp_path):
  (tmp_path / 'tiny.gin').write_text(TINY)
  flags = [
    'prepare',
    'miniature',
    f'--gin_file={tmp_path / "tiny.gin"}',
    f'--output={tmp_path / "mini"}',
    '--workers=1',
    '--seed=3',
  ]
  assert call('vidlm', flags) == 0
  sizes = {
    (path.name, split): len(clip_reader.open_clips(str(path), split))
    for path in (tmp_path / 'mini').iterdir()
    for split in (clip_schema.splits(str(path)) if path.is_dir() else ())
  }
  assert sizes == {
    ('image_text', 'train'): 64,
    ('short_captions', 'train'): 3,
    ('narratives', 'train'): 2,
    ('web_clips', 'train'): 3,
    ('test_retrieval', 'test'): 2,
    ('test_classification', 'test'): 2,
    ('test_captioning', 'test'): 2,
    ('test_qa', 'test'): 2,
  }
  assert (tmp_path / 'mini' / 'vocabulary.model').exists()


def test_a_miniature_of_another_seed_is_not_mixed_in(call, capsys, tmp_path):
  (tmp_path / 'tiny.gin').write_text(TINY)
  folder = tmp_path / 'mini'
  flags = [
    'prepare',
    'miniature',
    f'--gin_file={tmp_path / "tiny.gin"}',
    f'--output={folder}',
    '--workers=1',
  ]
  assert call('vidlm', [*flags, '--seed=3']) == 0
  own = ('image_text/index-train.parquet', 'text_only.jsonl')
  before = [(folder / name).read_bytes() for name in own]
  assert call('vidlm', [*flags, '--seed=4']) == 2
  assert 'another seed' in capsys.readouterr().err.splitlines()[-1]
  assert [(folder / name).read_bytes() for name in own] == before
  assert call('vidlm', [*flags, '--seed=4', '--overwrite']) == 0
  for name, content in zip(own, before, strict=True):
    assert (folder / name).read_bytes() != content, name
