"""Annotation files in every form people keep them in."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm.data.prepare import annotations

ROWS = [
  {
    'clip_id': 'v_a-b c',
    'path': 'v_a.mp4',
    'caption': ' one ',
    'start': 0.5,
    'end': 2,
  },
  {
    'clip_id': '__日本é',
    'path': 'sub/b c.mp4',
    'caption': ['x', '', 'y'],
    'start': None,
    'end': None,
  },
  {
    'clip_id': '7',
    'path': 'missing.mp4',
    'caption': '[sic] a "dog"',
    'start': '00:01:02.5',
    'end': '1:03',
  },
]


@pytest.fixture
def folder(tmp_path):
  folder = tmp_path / 'videos'
  (folder / 'sub').mkdir(parents=True)
  for name in ('v_a.mp4', 'sub/b c.mp4', '0WjR6.3.mp4'):
    (folder / name).write_bytes(b'x')
  (tmp_path / 'secret.mp4').write_bytes(b'x')
  return folder


def write(path, rows) -> str:
  if path.suffix == '.jsonl':
    path.write_text(''.join(json.dumps(row) + '\n\n' for row in rows))
  elif path.suffix == '.json':
    path.write_text(json.dumps(rows))
  elif path.suffix == '.parquet':
    as_lists = [
      {
        **row,
        'caption': [row['caption']]
        if isinstance(row['caption'], str)
        else row['caption'],
        'start': None,
        'end': None,
      }
      for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(as_lists), path)
  else:
    import csv
    import io

    buffer = io.StringIO()
    delimiter = {'.tsv': '\t', '.csv': ','}[path.suffix]
    writer = csv.DictWriter(buffer, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    for row in rows:
      lists = isinstance(row['caption'], list)
      writer.writerow(
        {**row, 'caption': json.dumps(row['caption'])} if lists else row
      )
    path.write_text(buffer.getvalue(), encoding='utf-8-sig')
  return str(path)


@pytest.mark.parametrize('suffix', ['jsonl', 'json', 'csv', 'tsv', 'parquet'])
def test_formats(tmp_path, folder, suffix: str) -> None:
  path = write(tmp_path / f'a.{suffix}', ROWS)
  one, two, three = annotations.read_annotations(path, str(folder))
  assert (one.clip_id, one.video, one.texts) == ('v_a-b c', 'v_a.mp4', ('one',))
  assert one.path == str(folder / 'v_a.mp4') and not one.reason
  assert (two.clip_id, two.texts, two.start) == ('__日本é', ('x', 'y'), None)
  assert two.path == str(folder / 'sub' / 'b c.mp4')
  assert (three.reason, three.path) == ('not_found', None)
  assert three.texts == ('[sic] a "dog"',)
  if suffix != 'parquet':
    assert (one.start, one.end) == (0.5, 2.0)
    assert (three.start, three.end) == (62.5, 63.0)


def test_own_columns(tmp_path, folder) -> None:
  path = tmp_path / 'a.csv'
  path.write_text(
    'key;file;sentence;question;answer;label;split\n'
    'k1;v_a.mp4;"a; b";who;he;run;test\n'
  )
  columns = {'id': 'key', 'video': 'file', 'caption': 'sentence'}
  (entry,) = annotations.read_annotations(str(path), str(folder), columns)
  assert (entry.clip_id, entry.texts) == ('k1', ('a; b',))
  assert (entry.questions, entry.answers) == (('who',), ('he',))
  assert (entry.label, entry.split) == ('run', 'test')


def test_videos_are_found_without_suffix(tmp_path, folder) -> None:
  path = tmp_path / 'a.jsonl'
  path.write_text('{"clip_id": "0WjR6.3"}\n{"clip_id": "v_a"}\n')
  columns = {'video': 'clip_id', 'caption': ''}
  entries = annotations.read_annotations(str(path), str(folder), columns)
  assert [(e.video, e.texts) for e in entries] == [
    ('0WjR6.3.mp4', ()),
    ('v_a.mp4', ()),
  ]


def test_nothing_outside_the_folder(tmp_path, folder) -> None:
  (folder / 'link.mp4').symlink_to(tmp_path / 'secret.mp4')
  (folder / 'loop.mp4').symlink_to(folder / 'loop.mp4')
  outside = [
    '../secret.mp4',
    str(tmp_path / 'secret.mp4'),
    'sub/../../secret.mp4',
    'link.mp4',
    '/etc/passwd',
    'http://host/a.mp4',
    'loop.mp4',
    'a\0b.mp4',
    'sub/../v_a.mp4',
    str(folder / 'v_a.mp4'),
  ]
  path = tmp_path / 'a.jsonl'
  path.write_text(
    ''.join(
      json.dumps({'clip_id': str(i), 'path': name, 'caption': 'c'}) + '\n'
      for i, name in enumerate(outside)
    )
  )
  entries = annotations.read_annotations(str(path), str(folder))
  assert [entry.reason for entry in entries] == (
    ['outside_folder'] * 5
    + ['not_found', 'outside_folder', 'outside_folder', '', '']
  )
  assert [entry.path for entry in entries[:8]] == [None] * 8
  assert {entry.video for entry in entries[8:]} == {'v_a.mp4'}


@pytest.mark.parametrize(
  'content, columns, message',
  [
    (
      '{"id": 1, "path": "a", "caption": "c"}',
      {},
      "no column 'clip_id' for the id; it has caption, id, path; name it by "
      '--id_column',
    ),
    ('{"clip_id": 1, "path": "a"}', {}, "no column 'caption'"),
    (
      '{"clip_id": 1, "path": "a", "caption": ""}',
      {'start': 'from'},
      "no column 'from' for the start",
    ),
    (
      '{"clip_id": 1, "path": "a", "caption": "c"}',
      {'sound': 'x'},
      'unknown; there are id, video',
    ),
    (
      '{"clip_id": 1, "path": "a", "caption": "c"}\n' * 2,
      {},
      "rows 1 and 2 both have the clip id '1'",
    ),
    ('{"clip_id": "", "path": "a", "caption": "c"}', {}, 'row 1: no clip id'),
    ('{"clip_id": 1, "path": null, "caption": "c"}', {}, 'clip 1: no video'),
    (
      '{"clip_id": 1, "path": "a", "caption": "c", "end": "soon"}',
      {},
      "'soon': neither seconds nor",
    ),
    ('{"clip_id": 1, "path": "a", "caption": [["c"]]}', {}, 'neither a text'),
    (
      '{"clip_id": 1, "path": "a", "caption": "c", "question": "q"}',
      {},
      '1 questions, 0 answers',
    ),
    ('{"clip_id": 1,', {}, 'line 1, column 15: not JSON'),
    ('[1]', {}, 'not an object'),
    ('', {}, 'no rows'),
  ],
)
def test_mistakes(tmp_path, folder, content, columns, message) -> None:
  path = tmp_path / 'a.jsonl'
  path.write_text(content)
  with pytest.raises(ValueError) as caught:
    annotations.read_annotations(str(path), str(folder), columns)
  assert message in str(caught.value)
  assert '\n' not in str(caught.value)


def test_missing_files(tmp_path, folder) -> None:
  with pytest.raises(FileNotFoundError, match='no such annotation file'):
    annotations.read_annotations(str(tmp_path / 'a.csv'), str(folder))
  with pytest.raises(FileNotFoundError, match='no such folder'):
    annotations.read_annotations('a.csv', str(tmp_path / 'none'))
  (tmp_path / 'a.xlsx').write_text('x')
  with pytest.raises(ValueError, match=r'need \.jsonl'):
    annotations.read_annotations(str(tmp_path / 'a.xlsx'), str(folder))
  (tmp_path / 'a.csv').write_text('clip_id,path,caption\na,b\n')
  with pytest.raises(ValueError, match='line 2: 2 cells for 3 columns'):
    annotations.read_annotations(str(tmp_path / 'a.csv'), str(folder))


def test_a_video_whose_name_differs_in_case(tmp_path, folder, caplog) -> None:
  (folder / 'sub' / 'Big.MP4').write_bytes(b'x')
  path = tmp_path / 'a.csv'
  path.write_bytes(
    "clip_id;path;caption;label\r\n1;V_A.mp4;['x', 'y'];run \r\n"
    '2;sub/big.mp4;z;run\r\n'.encode('utf-16')
  )
  one, two = annotations.read_annotations(str(path), str(folder))
  assert (one.video, two.video) == ('v_a.mp4', 'sub/Big.MP4')
  assert one.texts == ('x', 'y') and one.label == two.label == 'run'
  assert "'V_A.mp4' is 'v_a.mp4'" in caplog.text
  (folder / 'V_a.mp4').write_bytes(b'x')
  one, _ = annotations.read_annotations(str(path), str(folder))
  assert one.reason == 'not_found'
