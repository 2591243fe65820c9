"""Clip sets: written, read by index, read by TFDS alone."""

import io
import json
import os
import pathlib
import resource
import subprocess
import sys
import weakref

import numpy as np
import pytest
from PIL import Image

from vidlm.data.store import clip_reader, clip_schema, clip_writer

ROOT = pathlib.Path(__file__).resolve().parents[3]


def jpeg(value: int) -> bytes:
  buffer = io.BytesIO()
  Image.fromarray(np.full((16, 24, 3), value, np.uint8)).save(buffer, 'JPEG')
  return buffer.getvalue()


def make_rows(number: int, first: int = 0) -> list[clip_reader.ClipRow]:
  rows = []
  for i in range(first, first + number):
    count = 1 + i % 3
    rows.append(
      clip_reader.ClipRow(
        clip_id=f'v_{i} é-日',
        video=f'{i}.mp4',
        start=i / 4,
        end=i + 1.0,
        frames=tuple(jpeg(20 * i % 250) for _ in range(count)),
        times=tuple(i / 4 + k / 2 for k in range(count)),
        texts=tuple(f'text {k}' for k in range(i % 3)),
        questions=('what',) * (i % 2),
        answers=('that',) * (i % 2),
        label='walk' if i % 2 else '',
      )
    )
  return rows


def test_a_record_has_one_form() -> None:
  # protobuf orders a map's fields anew in every process, unless told.
  from tensorflow_datasets.proto import tf_example_pb2 as example_pb2

  (row,) = make_rows(1)
  record = clip_schema.serialize(row)
  parsed = example_pb2.Example.FromString(record)
  assert record == parsed.SerializeToString(deterministic=True)


def test_a_record_is_what_tfds_would_write() -> None:
  from tensorflow_datasets.core import example_serializer

  description = clip_schema.features()
  to_proto = example_serializer.ExampleSerializer(
    description.get_serialized_info()
  ).get_tf_example
  for row in make_rows(12):  # empty lists among them
    encoded = description.encode_example(clip_schema.example(row))
    theirs = to_proto(encoded).SerializeToString(deterministic=True)
    assert clip_schema.serialize(row) == theirs


def test_round_trip(tmp_path) -> None:
  rows = make_rows(25)
  folder = str(tmp_path / 'set')
  assert clip_reader.write_clips(rows, folder, num_shards=3) == 25
  reader = clip_reader.open_clips(folder)
  assert len(reader) == 25
  assert reader.clip_ids() == [row.clip_id for row in rows]
  assert reader.texts() == [list(row.texts) for row in rows]
  assert reader.labels() == [row.label for row in rows]
  assert reader.questions()[1] == (['what'], ['that'])
  assert reader.index()['num_frames'].to_pylist()[:3] == [1, 2, 3]
  order = [24, 0, 9, 9, 8]
  records = reader.read(order)
  for index, record in zip(order, records, strict=True):
    example = reader.features.deserialize_example_np(record)
    assert example['clip_id'].decode() == rows[index].clip_id
    assert np.float32(rows[index].start) == example['start']
    assert len(example['frames']) == len(rows[index].frames)
  with pytest.raises(IndexError, match='no clip 25'):
    reader.read([25])


def test_tfds_reads_it_without_our_code(tmp_path) -> None:
  rows = make_rows(7)
  clip_reader.write_clips(iter(rows), str(tmp_path), 'toy', clips_per_shard=3)
  clip_reader.write_clips(make_rows(2, 50), str(tmp_path), 'toy', 'test')
  code = f"""
import sys
import numpy as np, tensorflow_datasets as tfds
builder = tfds.builder_from_directory({str(tmp_path)!r})
assert builder.info.full_name == 'toy/1.0.0'
assert {{k: v.num_examples for k, v in builder.info.splits.items()}} == {{
  'train': 7, 'test': 2}}
assert builder.info.splits['train'].shard_lengths == [3, 3, 1]
source = builder.as_data_source('train')
for i in range(7):
  example = source[i]
  assert example['clip_id'].decode() == f'v_{{i}} é-日'
  assert np.asarray(example['frames'][0]).shape == (16, 24, 3)
  assert len(example['frames']) == len(example['times']) == 1 + i % 3
  assert len(example['texts']) == i % 3
assert 'vidlm' not in sys.modules
print('read')
"""
  done = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    timeout=120,
  )
  assert done.stdout.strip() == 'read', done.stderr


def test_frames_keep_their_bytes(tmp_path) -> None:
  import tensorflow_datasets as tfds

  pytest.importorskip('tensorflow')
  rows = make_rows(3)
  clip_reader.write_clips(rows, str(tmp_path))
  reader = clip_reader.open_clips(str(tmp_path))
  example = reader.features.deserialize_example(
    reader.read([2])[0], decoders={'frames': tfds.decode.SkipDecoding()}
  )
  assert tuple(example['frames'].numpy()) == rows[2].frames


def test_an_index_is_never_held_as_a_whole(tmp_path, monkeypatch) -> None:
  class Row(dict):
    __hash__ = object.__hash__  # a weak set wants one

  class Index:
    """Rows made as they are asked for; counts those that live at once."""

    def __init__(self):
      self.alive = weakref.WeakSet()
      self.most = 0

    def __iter__(self):
      for row in make_rows(25):
        made = Row(clip_schema.index_row(row))
        self.alive.add(made)
        self.most = max(self.most, len(self.alive))
        yield made

  monkeypatch.setattr(clip_writer, '_ROWS_A_GROUP', 4)
  shard, index = tmp_path / '0.array_record', Index()
  with clip_writer.ShardWriter(shard) as writer:
    for row in make_rows(25):
      writer.write(row)
  folder = str(tmp_path / 'set')
  os.mkdir(folder)
  split = clip_writer.Split([str(shard)], [25], index)
  clip_writer.publish(folder, 'toy', {'train': split})
  reader = clip_reader.open_clips(folder)
  assert reader.clip_ids() == [row.clip_id for row in make_rows(25)]
  assert index.most <= 9  # two groups and the row that is being made


def test_writing_is_deterministic(tmp_path) -> None:
  for name in ('a', 'b'):
    clip_reader.write_clips(make_rows(5), str(tmp_path / name), num_shards=2)
  names = sorted(os.listdir(tmp_path / 'a'))
  assert names == sorted(os.listdir(tmp_path / 'b'))
  for name in names:
    one, two = ((tmp_path / s / name).read_bytes() for s in 'ab')
    assert one == two, name


def test_interrupted_writing_is_not_taken_for_a_set(tmp_path) -> None:
  def rows():
    yield from make_rows(5)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    clip_reader.write_clips(rows(), str(tmp_path), clips_per_shard=2)
  with pytest.raises(FileNotFoundError, match='no clip set'):
    clip_reader.open_clips(str(tmp_path))
  assert clip_reader.write_clips(make_rows(5), str(tmp_path)) == 5
  with pytest.raises(KeyboardInterrupt):
    clip_reader.write_clips(rows(), str(tmp_path), split='test')
  assert list(clip_reader.splits(str(tmp_path))) == ['train']
  assert len(clip_reader.open_clips(str(tmp_path))) == 5


def test_existing_split_is_kept_unless_told(tmp_path) -> None:
  clip_reader.write_clips(make_rows(5), str(tmp_path), num_shards=5)
  clip_reader.write_clips(make_rows(2), str(tmp_path), split='val')
  with pytest.raises(FileExistsError, match="split 'train' already"):
    clip_reader.write_clips(make_rows(1), str(tmp_path))
  clip_reader.write_clips(make_rows(3), str(tmp_path), overwrite=True)
  assert len(clip_reader.open_clips(str(tmp_path))) == 3
  assert len(clip_reader.open_clips(str(tmp_path), 'val')) == 2
  assert len(list(tmp_path.glob('*train.array_record*'))) == 1


def test_mistakes_are_named(tmp_path) -> None:
  folder = str(tmp_path)
  with pytest.raises(ValueError, match='more than once in the clips of train'):
    clip_reader.write_clips(make_rows(2) + make_rows(1), folder)
  with pytest.raises(ValueError, match='no clips'):
    clip_reader.write_clips([], folder)
  with pytest.raises(ValueError, match="name 'a-b'"):
    clip_reader.write_clips(make_rows(1), folder, 'a-b')
  with pytest.raises(ValueError, match='num_shards needs'):
    clip_reader.write_clips(iter(make_rows(1)), folder, num_shards=2)
  clip_reader.write_clips(make_rows(4), folder, num_shards=2)
  with pytest.raises(ValueError, match="no split 'test', only train"):
    clip_reader.open_clips(folder, 'test')
  next(tmp_path.glob('*.array_record-00001-*')).unlink()
  with pytest.raises(FileNotFoundError, match='1 of 2 shards'):
    clip_reader.open_clips(folder)


@pytest.mark.parametrize(
  'changes',
  [
    {'frames': ()},
    {'times': (0.0,) * 9},
    {'questions': ('a',)},
    {'clip_id': ''},
  ],
)
def test_rows_are_checked(changes) -> None:
  fields = dict(
    clip_id='a',
    video='a.mp4',
    start=0.0,
    end=1.0,
    frames=(b'x',),
    times=(0.0,),
  )
  with pytest.raises(ValueError, match='clip'):
    clip_reader.ClipRow(**{**fields, **changes})


def test_a_full_disk_is_an_error(tmp_path) -> None:
  code = f"""
import resource, signal, sys
sys.path.insert(0, {str(ROOT)!r})
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (70000, 70000))
import test_clips
from vidlm.data.store import clip_writer
try:
  clip_writer.write_clips(test_clips.make_rows(400), {str(tmp_path)!r})
except OSError as error:
  print('failed:', 'File too large' in str(error))
"""
  done = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, timeout=120
  )
  assert done.stdout == 'failed: True\n', done.stdout + done.stderr
  assert not clip_reader.splits(str(tmp_path))
  assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 70000


def test_dataset_info_is_written_last(tmp_path, monkeypatch) -> None:
  replaced = []
  real = os.replace

  def replace(source: str, target: str) -> None:
    replaced.append(os.path.basename(target))
    real(source, target)

  monkeypatch.setattr(os, 'replace', replace)
  clip_reader.write_clips(make_rows(2), str(tmp_path))
  assert replaced[-1] == 'dataset_info.json'
  info = json.loads((tmp_path / 'dataset_info.json').read_text())
  assert info['fileFormat'] == 'array_record'
