"""Frames by clip id, from clip sets and from videos."""

import io
import pathlib

import numpy as np
import PIL.Image
import pytest

from vidlm.data.prepare import pipeline
from vidlm.data.store import frame_lookup
from vidlm.data.video import listing, sampling

SMALL = sampling.Sampling(size=64)


@pytest.fixture(scope='module')
def folder(tmp_path_factory, videos):
  root = tmp_path_factory.mktemp('films')
  (root / 'sub').mkdir()
  videos.write(root / 'one.mp4', num_frames=40)
  videos.write(root / 'sub' / 'two.mp4', num_frames=80)
  (root / 'bad.mp4').write_bytes(b'no video')
  return root


def numbers(frames, videos):
  images = [PIL.Image.open(io.BytesIO(f)).convert('RGB') for f in frames]
  assert {image.size for image in images} == {(96, 64)}
  return [videos.read_number(np.asarray(image)) for image in images]


def test_videos_of_a_folder(folder, videos):
  source = frame_lookup.open_frames(str(folder), sampling=SMALL)
  assert source.clip_ids == ['bad', 'one', 'sub/two']
  assert list(source.texts) == [[], [], []] and set(source.labels) == {''}
  bad, two, nowhere, one = source.read(['bad', 'sub/two', 'nowhere', 'one'])
  assert bad == nowhere == ()
  # 10 frames a second in the file, 2 stored; in the order asked for.
  assert numbers(one, videos) == [0, 5, 10, 15, 20, 25, 30, 35]
  assert numbers(two, videos)[:3] == [0, 5, 10] and len(two) == 16
  assert list(source.read(['nowhere'])) == [()]


def test_clips_of_a_caption_set(folder, videos):
  rows = [
    {'clip_id': 'two#1', 'video': 'sub/two.mp4', 'start': 4.0, 'end': 8.0},
    {'clip_id': 'whole', 'video': 'one.mp4', 'start': None, 'end': None},
    {'clip_id': 'out', 'video': '../one.mp4', 'start': None, 'end': None},
  ]
  source = frame_lookup.open_frames(
    str(folder),
    entries=frame_lookup.entries_of(rows, str(folder)),
    sampling=SMALL,
  )
  cut, whole, outside = source.read(['two#1', 'whole', 'out'])
  assert numbers(cut, videos) == [40, 45, 50, 55, 60, 65, 70, 75]
  assert len(whole) == 8 and outside == ()


def test_clip_sets(folder, tmp_path, videos):
  entries = [
    listing.Entry(
      'x', 'one.mp4', str(folder / 'one.mp4'), texts=('a text',), label='run'
    ),
    listing.Entry('y', 'sub/two.mp4', str(folder / 'sub/two.mp4')),
  ]
  pipeline.prepare_clips(
    entries,
    str(tmp_path / 'set'),
    sampling=sampling.Sampling(size=None),
    work=pipeline.Work(workers=1),
  )
  source = frame_lookup.open_frames(str(tmp_path / 'set'))
  assert isinstance(source, frame_lookup.ClipFrames)
  assert list(source.clip_ids) == ['x', 'y']
  assert list(source.texts) == [['a text'], []]
  assert list(source.labels) == ['run', '']
  y, nowhere, x = source.read(['y', 'nowhere', 'x'])
  assert nowhere == () and len(y) == 16
  assert numbers(x, videos) == [0, 5, 10, 15, 20, 25, 30, 35]
  with pytest.raises(ValueError, match="no split 'test'"):
    frame_lookup.open_frames(str(tmp_path / 'set'), 'test')


@pytest.mark.parametrize('entries', [None, []])
def test_no_such_folder(tmp_path: pathlib.Path, entries):
  with pytest.raises(FileNotFoundError, match='nowhere: no'):
    frame_lookup.open_frames(str(tmp_path / 'nowhere'), entries=entries)
