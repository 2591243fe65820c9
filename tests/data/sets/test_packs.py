"""Videos in tars and Parquet files, good and bad."""

import io
import json
import os
import pathlib
import tarfile

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm.data.prepare import pipeline
from vidlm.data.sets import build, packs
from vidlm.data.store import clip_reader
from vidlm.data.video import packed, sampling

ONE = pipeline.Work(workers=1)


@pytest.fixture
def video_bytes(one_video) -> bytes:
  return pathlib.Path(one_video).read_bytes()


def write_tar(path, members) -> str:
  path.parent.mkdir(parents=True, exist_ok=True)
  with tarfile.open(path, 'w') as tar:
    for name, content in members:
      info = tarfile.TarInfo(name)
      if content is None:
        info.type, info.linkname = tarfile.SYMTYPE, '/etc/passwd'
        tar.addfile(info)
      else:
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
  return str(path)


def reasons(out) -> dict[str, str]:
  text = pathlib.Path(out, 'errors.jsonl').read_text()
  found = map(json.loads, text.splitlines())
  return {item['clip_id']: item['reason'] for item in found}


def test_webdataset(video_bytes, tmp_path) -> None:
  folder = tmp_path / 'tars'
  fields = {'caption': 'from json', 'url': 'https://youtu.be/a_b-c_d-e_f'}
  write_tar(
    folder / '00000.tar',
    [
      ('0WjR6.3.mp4', video_bytes),
      ('0WjR6.3.txt', b' a text '),
      ('0WjR6.3.json', json.dumps(fields).encode()),
      ('a b.mp4', video_bytes),
      ('a b.json', json.dumps(fields).encode()),
      ('bad.mp4', b'nothing'),
      ('bad.json', b'{'),
      ('link.mp4', None),
      ('../../evil.mp4', video_bytes),
      ('lost.txt', b'no video'),
      ('code.pkl', b'cos\nsystem\n'),
    ],
  )
  write_tar(folder / 'sub' / '00001.tar', [('a b.mp4', video_bytes)])
  out = str(tmp_path / 'out')
  summary = build.prepare_set('webdataset', str(folder), out, work=ONE)
  assert reasons(out) == {
    'bad': 'open_failed',
    '../../evil': 'outside_folder',
  }
  assert (summary.ok, summary.total) == (3, 5)
  reader = clip_reader.open_clips(out)
  assert reader.clip_ids() == ['0WjR6.3', 'a b', '00001/a b']
  assert reader.texts() == [['a text'], ['from json'], []]
  # Nothing was unpacked beside the tars, and no copy is left.
  assert sorted(p.name for p in tmp_path.iterdir()) == ['out', 'tars']
  failed = pathlib.Path(out, 'errors.jsonl').read_text()
  assert f'{folder}/00000.tar/bad.mp4: ' in failed
  assert 'vidlm-packed' not in failed


@pytest.mark.parametrize('how', ['cut', 'header'])
def test_a_damaged_tar_gives_what_it_has(
  video_bytes, tmp_path, how: str
) -> None:
  path = write_tar(
    tmp_path / 'tars' / 'x.tar', [(f'{n}.mp4', video_bytes) for n in 'abc']
  )
  data = bytearray(pathlib.Path(path).read_bytes())
  second = data.index(b'b.mp4')
  if how == 'cut':
    data = data[: second + 2000]
  else:
    data[second : second + 300] = b'\x77' * 300
  pathlib.Path(path).write_bytes(data)
  out = str(tmp_path / 'out')
  summary = build.prepare_set('webdataset', str(tmp_path / 'tars'), out)
  assert (summary.ok, reasons(out)) == (1, {'x.tar/(damaged)': 'corrupt'})


def numbers(out, videos) -> dict[str, tuple[list[str], int]]:
  """Text and number of the first frame of each clip."""
  reader = clip_reader.open_clips(out)
  found = {}
  for number, clip_id in enumerate(reader.clip_ids()):
    (record,) = reader.read([number])
    frames = reader.features.deserialize_example_np(record)['frames']
    found[clip_id] = reader.texts()[number], videos.read_number(frames[0])
  return found


def film(videos, number: int) -> bytes:
  """A film whose frames all carry one number."""
  buffer = io.BytesIO()
  with av.open(buffer, 'w', format='mp4') as out:
    stream = out.add_stream('libx264', rate=10)
    stream.width, stream.height, stream.pix_fmt = 96, 64, 'yuv420p'
    picture = videos.draw(number, 96, 64)
    for _ in range(12):
      out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, 'rgb24')))
    out.mux(stream.encode())
  return buffer.getvalue()


@pytest.mark.parametrize('kind', ['tar', 'TAR', 'parquet', 'PARQUET'])
def test_archives_of_one_name_are_not_confused(
  videos, tmp_path, kind: str
) -> None:
  """Each folder of shards begins with 00000: a text is its own video's."""
  folder = tmp_path / 'v'
  for number, place in enumerate(['', 'sub', 'x/sub', 'y/sub']):
    content, text = film(videos, 3 + number), f'text {3 + number}'
    path = folder / place / f'00000.{kind}'
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind.lower() == 'tar':
      write_tar(path, [('a.mp4', content), ('a.txt', text.encode())])
    else:
      row = {'id': 'a', 'mp4': content, 'text': text}
      pq.write_table(pa.Table.from_pylist([row]), path)
  out = str(tmp_path / 'out')
  name = 'webdataset' if kind.lower() == 'tar' else 'parquet'
  native = sampling.Sampling(size=None)
  build.prepare_set(name, str(folder), out, work=ONE, sampling=native)
  found = numbers(out, videos)
  assert sorted(found.values()) == [([f'text {n}'], n) for n in range(3, 7)]
  assert 'a' in found


def test_names_in_a_tar_in_any_bytes(video_bytes, tmp_path) -> None:
  name = os.fsdecode(b'caf\xe9')
  members = [(f'{name}.mp4', video_bytes), (f'{name}.txt', b'a text')]
  write_tar(tmp_path / 'v' / '0.tar', members)
  out = str(tmp_path / 'out')
  build.prepare_set('webdataset', str(tmp_path / 'v'), out, work=ONE)
  reader = clip_reader.open_clips(out)
  assert reader.clip_ids() == ['caf\\udce9']
  assert reader.texts() == [['a text']]


def test_any_set_finds_videos_in_tars(video_bytes, write, tmp_path) -> None:
  write_tar(tmp_path / 'v' / '0.tar', [('all/video7010.mp4', video_bytes)])
  path = write('a.json', [{'video': 'video7010.mp4', 'caption': ['x']}])
  out = str(tmp_path / 'out')
  build.prepare_set('msrvtt', str(tmp_path / 'v'), out, [path], work=ONE)
  assert clip_reader.open_clips(out, 'test').texts() == [['x']]


def test_parquet(video_bytes, tmp_path) -> None:
  folder = tmp_path / 'hf'
  folder.mkdir()
  struct = [
    {'video': {'bytes': video_bytes, 'path': 'v_a-b.mp4'}, 'caption': 'one'},
    {'video': {'bytes': None, 'path': 'gone.mp4'}, 'caption': 'two'},
    {'video': {'bytes': b'junk', 'path': None}, 'caption': 'three'},
  ]
  pq.write_table(pa.Table.from_pylist(struct), folder / 'a.parquet')
  plain = [{'id': 'k 1', 'mp4': video_bytes, 'question': 'q', 'answer': 'r'}]
  pq.write_table(pa.Table.from_pylist(plain), folder / 'b.parquet')
  (folder / 'c.parquet').write_bytes(b'PAR1 not really')
  out = str(tmp_path / 'out')
  summary = build.prepare_set('parquet', str(folder), out, work=ONE)
  assert summary.ok == 2
  reader = clip_reader.open_clips(out)
  assert reader.clip_ids() == ['v_a-b', 'k 1']
  assert reader.texts()[0] == ['one']
  assert reader.questions()[1] == (['q'], ['r'])
  assert reasons(out) == {
    'gone': 'corrupt',
    'a#2': 'open_failed',
    'c.parquet/(damaged)': 'corrupt',
  }


def test_the_split_is_in_a_parquet_files_name(video_bytes, tmp_path) -> None:
  row = {'mp4': video_bytes, 'text': 'x'}
  for name, more in (
    ('train-00000-of-00001', {}),
    ('validation-00000-of-00001', {}),
    ('test-00000-of-00001', {}),
    ('test-00001-of-00001', {'split': 'train'}),  # the column is nearer
  ):
    table = pa.Table.from_pylist([{**row, **more, 'id': name}])
    pq.write_table(table, tmp_path / f'{name}.parquet')
  files = sorted(map(str, tmp_path.iterdir()))
  assert {r.clip_id: r.split for r in packs.read_parquet(files)} == {
    'train-00000-of-00001': 'train',
    'validation-00000-of-00001': 'val',
    'test-00000-of-00001': 'test',
    'test-00001-of-00001': 'train',
  }


def test_rows_come_in_any_order(tmp_path) -> None:
  rows = [{'video': bytes([n]) * 5} for n in range(8)]
  path = str(tmp_path / 'x.parquet')
  pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=3)
  with packed.Unpacker() as unpacker:
    for number in (0, 1, 5, 2, 7):
      copy = unpacker.fetch(path, f'row:{number}', '.mp4')
      assert pathlib.Path(copy).read_bytes() == bytes([number]) * 5
    with pytest.raises(packed.DamagedError, match='no row 8'):
      unpacker.fetch(path, 'row:8', '')
  assert not pathlib.Path(copy).exists()
