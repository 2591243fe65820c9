"""Training clips that are in an evaluation set are found, others not."""

import io
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vidlm import cli
from vidlm.data.sets import overlap, rows
from vidlm.data.store import clip_schema, clip_writer


def film(seed: int, frames: int = 6, size: int = 64) -> list[Image.Image]:
  """Blurred noise that moves: no two seeds look alike."""
  rng = np.random.default_rng(seed)
  noise = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
  large = noise.resize((size + 32, size + 32), Image.Resampling.BICUBIC)
  return [large.crop((4 * t, 0, 4 * t + size, size)) for t in range(frames)]


def encode(image: Image.Image, quality: int = 95) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, 'JPEG', quality=quality)
  return buffer.getvalue()


def clip(clip_id: str, images, video: str = '', quality: int = 95):
  return clip_schema.ClipRow(
    clip_id,
    video or f'{clip_id}.mp4',
    0.0,
    3.0,
    tuple(encode(image, quality) for image in images),
    tuple(t / 2 for t in range(len(images))),
  )


@pytest.fixture
def evaluation(tmp_path) -> str:
  folder = str(tmp_path / 'eval')
  rows = [clip(f'video{n}', film(n)) for n in range(8)]
  rows.append(clip('v_a_b-c_d-e_f', film(100)))
  black = Image.new('RGB', (64, 64))
  rows.append(clip('dark', [black] * 6))
  clip_writer.write_clips(rows, folder, split='test')
  return folder


def write_training(tmp_path, rows) -> str:
  folder = str(tmp_path / 'train')
  clip_writer.write_clips(rows, folder)
  return folder


def test_frames_of_another_size_and_quality(evaluation, tmp_path) -> None:
  smaller = [image.resize((40, 40)) for image in film(3)]
  black = Image.new('RGB', (64, 64))
  training = write_training(
    tmp_path,
    [
      clip('fresh', film(50)),
      clip('copy', smaller, quality=40),
      # One frame of it between others: a coincidence, such as a title card.
      clip('one frame', [film(4)[0], *film(51)]),
      clip('black', [black] * 5),
      *[clip(f'more {n}', film(200 + n)) for n in range(20)],
    ],
  )
  report = overlap.check(training, [evaluation])
  found = [(o.clip_id, o.reason, o.evaluation_clip_id) for o in report.overlaps]
  assert found == [('copy', 'frames', 'video3')]
  assert 0 <= report.overlaps[0].distance <= overlap.MAX_DISTANCE
  assert '1 of 24 training clips' in str(report)
  assert 'by source 0, by frames 1' in str(report)
  (line,) = pathlib.Path(training, 'overlap.jsonl').read_text().splitlines()
  assert json.loads(line)['evaluation_split'] == 'test'


@pytest.mark.parametrize(
  'name',
  ['', 'v_', '_000010_000020', '_1.500_4.500', '.7', 'v__10_20'],
)
def test_sources_are_read_from_names(name: str) -> None:
  video = 'a_b-c_d-e_f'
  prefix, suffix = ('v_', name[2:]) if name[:2] == 'v_' else ('', name)
  assert rows.source_id(f'sub/{prefix}{video}{suffix}.mp4') == video


def test_a_copy_that_begins_elsewhere(tmp_path) -> None:
  frames = film(7, frames=40)
  whole, cut = clip('whole', frames), clip('cut', frames[12:26])
  folder = str(tmp_path / 'eval')
  clip_writer.write_clips([whole], folder, split='test')
  report = overlap.check(write_training(tmp_path, [cut]), [folder])
  assert [o.clip_id for o in report.overlaps] == ['cut']


def test_the_same_source(evaluation, tmp_path) -> None:
  training = write_training(
    tmp_path,
    [
      clip('x', film(60), video='train/a_b-c_d-e_f_000010_000020.mp4'),
      clip('y', film(61), video='A_b-c_d-e_f.mp4'),  # another video
      clip('z', film(62)),
    ],
  )
  table = pa.table({'clip_id': ['z', 'gone'], 'source': ['video5xx', 'a']})
  pq.write_table(table, f'{training}/annotated-train.parquet')
  report = overlap.check(training, [f'{evaluation}:test'])
  assert [(o.clip_id, o.source) for o in report.overlaps] == [
    ('x', 'a_b-c_d-e_f')
  ]
  assert overlap.clip_sources(training, 'train')['z'] == 'video5xx'


def test_splits_of_one_set(tmp_path) -> None:
  folder = str(tmp_path / 'set')
  rows = [clip(f'c{n}', film(n)) for n in range(3)]
  clip_writer.write_clips(rows, folder, split='train_9k')
  clip_writer.write_clips(rows[:1], folder, split='test_1ka')
  report = overlap.check(folder, [folder])
  assert [o.clip_id for o in report.overlaps] == ['c0']
  with pytest.raises(ValueError, match='compared with itself'):
    overlap.check(folder, [f'{folder}:train_9k'])


def test_command(evaluation, tmp_path, capsys) -> None:
  training = write_training(tmp_path, [clip('fresh', film(50))])
  with pytest.raises(SystemExit) as status:
    cli.main(
      ['prepare', f'--output={training}', f'--check_overlap={evaluation}']
    )
  assert not status.value.code
  assert 'no overlap found in 1 training clips' in capsys.readouterr().out
  with pytest.raises(SystemExit):
    cli.main(['prepare', f'--output={training}'])
  with pytest.raises(SystemExit):
    cli.main(
      ['prepare', f'--output={training}', f'--check_overlap={tmp_path}/no']
    )
  assert 'no clip set here' in capsys.readouterr().err
