"""Real files: a folder of videos, films that are cut, and clip sets."""

import json
import os
import pathlib
import shutil

import av
import numpy as np
import pyarrow as pa
import pytest

from vidlm.captions import caption, folder, identity, inputs
from vidlm.data.prepare import pipeline
from vidlm.data.store import caption_sets as captions_lib
from vidlm.data.store import clip_reader

FRAMES = {'num_frames': 2, 'image_size': 4}
SCENES = folder.Cutting('scenes')


def write_film(path, colours, seconds=1.2, fps=20):
  """A film of plain scenes with a little noise, one a colour."""
  rng = np.random.default_rng(0)
  with av.open(str(path), 'w') as out:
    stream = out.add_stream('libx264', rate=fps)
    stream.width, stream.height, stream.pix_fmt = 64, 48, 'yuv420p'
    stream.codec_context.thread_count = 1
    for colour in colours:
      for _ in range(round(seconds * fps)):
        image = np.full((48, 64, 3), colour) + rng.integers(0, 9, (48, 64, 1))
        frame = av.VideoFrame.from_ndarray(image.clip(0, 255).astype(np.uint8))
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


RED, GREEN, BLUE = (200, 20, 20), (20, 200, 20), (20, 20, 200)


@pytest.fixture(scope='module')
def films(tmp_path_factory):
  root = tmp_path_factory.mktemp('films')
  (root / 'sub').mkdir()
  write_film(root / 'b three scenes.mp4', [RED, GREEN, BLUE])
  write_film(root / 'sub' / 'a.mp4', [GREEN])
  (root / 'broken.mp4').write_bytes(b'this is no video')
  (root / 'notes.txt').write_text('not a video')
  return root


@pytest.fixture
def run(fakes, films, tmp_path):
  def caption_films(output='out', videos=films, clip_dataset=None, **cutting):
    return caption.caption(
      captioner=fakes.FakeCaptioner(),
      output=str(tmp_path / output),
      clip_dataset=clip_dataset,
      videos=str(videos) if videos else None,
      cutting=folder.Cutting(**cutting),
      workers=1,
      run=caption.Run(process_index=0, process_count=1),
    )

  return caption_films


def table(path):
  return captions_lib.read_captions(path).to_pylist()


def test_whole_videos(run, tmp_path):
  summary = run(videos_per_file=2)
  assert (summary.files, summary.clips, summary.failed) == (2, 3, 1)
  rows = table(tmp_path / 'out')
  assert [row['clip_id'] for row in rows] == [
    'b three scenes',
    'broken',
    'sub/a',
  ]
  assert [row['status'] for row in rows] == ['ok', 'failed', 'ok']
  assert rows[0]['video'] == 'b three scenes.mp4'
  assert (rows[0]['start'], rows[0]['end']) == (0.0, pytest.approx(3.6))
  # The reason names the file, not where it lies on this machine.
  assert rows[1]['error'].startswith('open_failed: broken.mp4')
  assert str(tmp_path.parent) not in rows[1]['error']
  assert rows[1]['start'] is None


def test_scenes(run, tmp_path):
  run(clips='scenes')
  rows = table(tmp_path / 'out')
  scenes = [row for row in rows if row['video'].startswith('b three')]
  assert [row['clip_id'][-5:] for row in scenes] == ['#0000', '#0001', '#0002']
  starts = [row['start'] for row in scenes]
  assert starts == pytest.approx([0.0, 1.2, 2.4], abs=0.11)
  assert [row['end'] for row in scenes[:-1]] == starts[1:]
  assert [row['status'] for row in rows] == ['ok'] * 3 + ['failed', 'ok']
  assert rows[3]['clip_id'] == 'broken' and 'open_failed' in rows[3]['error']


def test_scenes_show_their_own_frames(films):
  source = folder.FolderSource(str(films), SCENES, workers=1, **FRAMES)
  try:
    ((_, clips),) = source.open([0])
    colours = [
      clip.frames.mean((0, 1, 2)).argmax()
      for clip in clips
      if clip.video.startswith('b three')
    ]
  finally:
    source.close()
  assert colours == [0, 1, 2]


def test_fixed_clips(run, tmp_path):
  run(clips='fixed:2s')
  rows = [r for r in table(tmp_path / 'out') if r['status'] == 'ok']
  spans = [(round(r['start'], 3), round(r['end'], 3)) for r in rows]
  assert spans == [(0.0, 2.0), (2.0, 3.6), (0.0, 1.2)]


def test_unknown_cut_is_refused_before_anything_is_done(run, tmp_path):
  with pytest.raises(ValueError, match='fixed:4s'):
    run(clips='shots')
  assert not (tmp_path / 'out').exists()


def test_other_cut_is_another_set(run):
  run(clips='fixed:2s')
  with pytest.raises(ValueError, match=r"input\.clips: 'fixed:2s' -> 'whole'"):
    run()


def test_replaced_video_is_captioned_again(run, fakes, tmp_path):
  videos = tmp_path / 'videos'
  videos.mkdir()
  for name in 'abc':
    write_film(videos / f'{name}.mp4', [RED], seconds=0.5)
  run(videos=videos, videos_per_file=1)
  before = table(tmp_path / 'out')
  write_film(videos / 'b.mp4', [BLUE], seconds=0.5)
  summary = run(videos=videos, videos_per_file=1)
  assert summary.new_files == 1
  after = table(tmp_path / 'out')
  assert (before[0], before[2]) == (after[0], after[2])
  assert before[1]['captions'] != after[1]['captions']


def test_links_out_of_the_folder_are_left_alone(run, films, tmp_path):
  videos = tmp_path / 'videos'
  videos.mkdir()
  write_film(videos / 'a.mp4', [RED], seconds=0.5)
  (videos / 'link.mp4').symlink_to(films / 'sub' / 'a.mp4')
  assert run(videos=videos).clips == 1


def test_films_are_grouped_by_size(monkeypatch, films):
  monkeypatch.setattr(folder, '_BYTES_PER_FILE', 1)
  source = folder.FolderSource(str(films), SCENES, **FRAMES)
  whole = folder.FolderSource(str(films), **FRAMES)
  assert (source.num_shards, whole.num_shards) == (3, 1)
  assert (source.rows(0), whole.rows(0)) == (None, 3)


@pytest.fixture(scope='module')
def clip_set(films, tmp_path_factory):
  output = tmp_path_factory.mktemp('set') / 'clips'
  pipeline.prepare_folder(
    str(films),
    str(output),
    layout=pipeline.Layout(clips_per_shard=1),
    work=pipeline.Work(workers=1),
  )
  return output


def test_clip_set_gives_the_same_captions_as_its_videos(
  run, clip_set, tmp_path
):
  run()
  from_videos = {row['clip_id']: row for row in table(tmp_path / 'out')}
  summary = run('set', videos=None, clip_dataset=str(clip_set))
  # What could not be prepared is not in the set.
  assert (summary.files, summary.clips, summary.failed) == (2, 2, 0)
  for row in table(tmp_path / 'set'):
    other = from_videos[row['clip_id']]
    for column in ('video', 'captions', 'logprobs', 'lengths'):
      assert row[column] == other[column]


def test_damaged_record_is_a_row_with_a_reason(clip_set, monkeypatch):
  source = inputs.ClipSetSource(str(clip_set), 'train', workers=2, **FRAMES)
  read = source._reader.read
  monkeypatch.setattr(
    source._reader, 'read', lambda i: [b'junk'] if i == [0] else read(i)
  )
  clips = [clip for _, clips in source.open([0, 1]) for clip in clips]
  source.close()
  assert [bool(clip.error) for clip in clips] == [True, False]
  assert clips[0].error.startswith('corrupt: ') and clips[0].clip_id
  assert clips[1].frames.shape == (2, 4, 4, 3)


def test_clip_set_digest_sees_its_bytes(clip_set):
  source = inputs.ClipSetSource(str(clip_set), 'train', **FRAMES)
  (path,) = clip_set.glob('*array_record-00001*')
  before = [source.digest(0), source.digest(1)]
  data = path.read_bytes()
  path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
  after = [source.digest(0), source.digest(1)]
  path.write_bytes(data)
  source.close()
  assert before[0] == after[0] and before[1] != after[1]


def test_duplicate_ids_are_refused(clip_set, monkeypatch):
  real = clip_reader.ClipReader.index

  def index(self):
    return pa.concat_tables([real(self), real(self).slice(0, 1)])

  monkeypatch.setattr(clip_reader.ClipReader, 'index', index)
  with pytest.raises(ValueError, match=r'1 ids occur more .* again'):
    inputs.ClipSetSource(str(clip_set), 'train', **FRAMES)


def test_unreadable_file_has_a_digest(tmp_path):
  assert 'unreadable' in identity.file_digest(tmp_path / 'none')
  assert identity.file_digest(pathlib.Path(__file__)).isalnum()


def test_each_file_is_counted_once(run, films, tmp_path):
  videos = tmp_path / 'videos'
  shutil.copytree(films, videos)
  name = os.fsdecode(b'caf\xe9  \xe3\x80\x80.mp4')
  os.rename(videos / 'sub' / 'a.mp4', videos / 'sub' / name)
  (videos / os.fsdecode(b'\xff  bad.mts')).write_bytes(b'no video')
  (videos / 'link.mp4').symlink_to(films / 'sub' / 'a.mp4')
  os.mkfifo(videos / 'pipe.mp4')  # to read it would take for ever
  summary = run(videos=videos)
  counts = summary.videos
  assert (counts.found, counts.clips, counts.stills) == (7, 2, 0)
  assert counts.skipped == {
    'link_leads_out': 1,
    'not_a_file': 1,
    'open_failed': 2,
    'suffix_unknown': 1,
  }
  assert '7 files found: 2 films' in str(summary)
  written = json.loads((tmp_path / 'out' / 'files.json').read_text())
  assert written['names']['open_failed'] == ['broken.mp4', '\\udcff  bad.mts']
  bad = table(tmp_path / 'out')[-1]
  assert bad['clip_id'] == '\\udcff  bad' and str(tmp_path) not in bad['error']
  # Done already, it counts the same; with the link, one more.
  assert run(videos=videos).videos == counts
  counts = run(videos=videos, follow_links=True).videos
  assert counts.clips == 3 and 'link_leads_out' not in counts.skipped
