"""A folder of videos, good and bad, becomes a clip set."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from vidlm.data.prepare import pipeline, staging
from vidlm.data.store import clip_reader
from vidlm.data.video import decode_pool, listing, sampling

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture(scope='module')
def folder(videos, tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp('videos')
  for number in range(6):
    videos.write(folder / f'v_{number}.mp4', num_frames=20 + 10 * number)
  return folder


SMALL = sampling.Sampling(size=32)
HERE = pipeline.Work(workers=0)


def annotate(path: pathlib.Path, rows: list[dict]) -> str:
  path.write_text(''.join(json.dumps(row) + '\n' for row in rows))
  return str(path)


def rows_of(folder: pathlib.Path) -> list[dict]:
  return [
    {'clip_id': f'clip {n}', 'path': f'v_{n}.mp4', 'caption': f'text {n}'}
    for n in range(6)
  ]


def read_set(output) -> dict[str, bytes]:
  return {
    path.name: path.read_bytes()
    for path in sorted(pathlib.Path(output).iterdir())
    if path.name != '.lock'
  }


def test_folder_without_annotations(folder, tmp_path) -> None:
  summary = pipeline.prepare_folder(
    str(folder),
    str(tmp_path / 'out'),
    sampling=SMALL,
    work=pipeline.Work(workers=1),
  )
  assert (summary.total, summary.ok, summary.failed) == (6, 6, {})
  reader = clip_reader.open_clips(str(tmp_path / 'out'))
  assert reader.clip_ids() == [f'v_{n}' for n in range(6)]
  # 2 s to 7 s at 2 FPS; the two that are short get 8 frames all the same.
  assert reader.index()['num_frames'].to_pylist() == [8, 8, 8, 10, 12, 14]
  example = reader.features.deserialize_example_np(reader.read([3])[0])
  assert list(example['times']) == [n / 2 for n in range(10)]
  assert example['frames'][0].shape == (32, 48, 3)


def test_bad_files_become_rows_with_reasons(folder, hostile, tmp_path) -> None:
  mixed = tmp_path / 'videos'
  shutil.copytree(folder, mixed)
  rows = rows_of(folder)
  for at, (name, (path, _)) in enumerate(hostile.items()):
    shutil.copy(path, mixed / name)
    rows.insert(2 * at, {'clip_id': name, 'path': name, 'caption': 'bad'})
  rows.append({'clip_id': 'out', 'path': '../out.mp4', 'caption': 'bad'})
  rows.append({'clip_id': 'gone', 'path': 'gone.mp4', 'caption': 'bad'})
  annotations = annotate(tmp_path / 'a.jsonl', rows)
  output = tmp_path / 'out'
  summary = pipeline.prepare_folder(
    str(mixed),
    str(output),
    annotations,
    layout=pipeline.Layout(num_shards=3),
    work=pipeline.Work(workers=2),
  )
  bad = len(hostile) + 2
  assert (summary.total, summary.ok) == (6 + bad, 6)
  assert sum(summary.failed.values()) == bad
  assert summary.coverage == 6 / (6 + bad)
  lines = (output / 'errors.jsonl').read_text().splitlines()
  errors = [json.loads(line) for line in lines]
  reasons = {error['clip_id']: error['reason'] for error in errors}
  assert reasons.pop('out') == 'outside_folder'
  assert reasons.pop('gone') == 'not_found'
  for name, reason in reasons.items():
    assert reason in hostile[name][1]
  assert {error['status'] for error in errors} == {'failed'}
  reader = clip_reader.open_clips(str(output))
  assert reader.clip_ids() == [f'clip {n}' for n in range(6)]
  assert reader.texts() == [[f'text {n}'] for n in range(6)]
  written = json.loads((output / 'summary.json').read_text())
  assert written['coverage'] == summary.coverage
  text = str(summary)
  assert f'6 of {6 + bad} clips (train 6); {bad} failed' in text


def test_again_is_nothing_and_otherwise_is_refused(
  folder, tmp_path, monkeypatch
) -> None:
  mine = tmp_path / 'videos'
  shutil.copytree(folder, mine)
  output = str(tmp_path / 'out')
  first = pipeline.prepare_folder(str(mine), output, sampling=SMALL, work=HERE)
  before = read_set(output)
  with monkeypatch.context() as patch:
    patch.setattr(decode_pool, 'DecodePool', None)
    again = pipeline.prepare_folder(
      str(mine), output, sampling=SMALL, work=HERE
    )
  assert again == first and read_set(output) == before
  with pytest.raises(FileExistsError, match='size was 32, is 48'):
    other = sampling.Sampling(size=48)
    pipeline.prepare_folder(str(mine), output, sampling=other, work=HERE)
  os.utime(mine / 'v_3.mp4', (1, 1))
  with pytest.raises(FileExistsError, match='video files changed'):
    pipeline.prepare_folder(str(mine), output, sampling=SMALL, work=HERE)
  (mine / 'v_3.mp4').unlink()
  with pytest.raises(FileExistsError, match='clips changed'):
    pipeline.prepare_folder(str(mine), output, sampling=SMALL, work=HERE)
  assert read_set(output) == before
  summary = pipeline.prepare_folder(
    str(mine),
    output,
    sampling=sampling.Sampling(size=48),
    layout=pipeline.Layout(num_shards=1),
    work=pipeline.Work(workers=0, overwrite=True),
  )
  assert summary.ok == 5
  assert len(clip_reader.open_clips(output)) == 5


def test_a_foreign_dataset_is_not_touched(folder, tmp_path) -> None:
  (tmp_path / 'dataset_info.json').write_text('{}')
  with pytest.raises(FileExistsError, match='holds a dataset already'):
    pipeline.prepare_folder(str(folder), str(tmp_path), work=HERE)


def test_goes_on_after_an_interruption(folder, tmp_path, monkeypatch) -> None:
  layout = pipeline.Layout(clips_per_shard=2)
  kwargs = dict(work=HERE, sampling=SMALL, layout=layout)
  pipeline.prepare_folder(str(folder), str(tmp_path / 'whole'), **kwargs)
  decoded = []
  real = decode_pool.decode_worker.decode

  def decode(task):
    decoded.append(task.path)
    if len(decoded) == 5:
      raise KeyboardInterrupt
    return real(task)

  monkeypatch.setattr(decode_pool.decode_worker, 'decode', decode)
  output = str(tmp_path / 'broken')
  with pytest.raises(KeyboardInterrupt):
    pipeline.prepare_folder(str(folder), output, **kwargs)
  with pytest.raises(FileNotFoundError, match='no clip set'):
    clip_reader.open_clips(output)
  decoded.extend([''] * 5)
  pipeline.prepare_folder(str(folder), output, **kwargs)
  assert len([path for path in decoded if path]) == 5 + 2
  assert read_set(output) == read_set(tmp_path / 'whole')


def test_goes_on_after_an_interrupted_assembly(
  folder, tmp_path, monkeypatch
) -> None:
  layout = pipeline.Layout(clips_per_shard=2, val_fraction=0.34)
  kwargs = dict(work=HERE, sampling=SMALL, layout=layout)
  pipeline.prepare_folder(str(folder), str(tmp_path / 'whole'), **kwargs)
  real = os.replace
  left = 0

  def replace(source, target):
    nonlocal left
    left -= 1
    if left == 0:
      raise KeyboardInterrupt
    real(source, target)

  output = str(tmp_path / 'broken')
  monkeypatch.setattr(os, 'replace', replace)
  stops = 0
  for stop in range(1, 100):
    left = stop
    try:
      pipeline.prepare_folder(str(folder), output, **kwargs)
    except KeyboardInterrupt:
      stops += 1
      assert not clip_reader.splits(output)
    else:
      break
  assert stops > 5
  assert read_set(output) == read_set(tmp_path / 'whole')


@pytest.mark.parametrize('seconds', [1.0, 2.0])
def test_kill_9(folder, tmp_path, seconds: float) -> None:
  """At whatever moment it dies, its workers go too, and a rerun completes."""
  output = str(tmp_path / 'out')
  code = (
    'from vidlm.data.prepare import pipeline; '
    'from vidlm.data.video import sampling; pipeline.prepare_folder('
    f'{str(folder)!r}, {output!r}, work=pipeline.Work(workers=1), '
    'sampling=sampling.Sampling(size=32), '
    'layout=pipeline.Layout(clips_per_shard=1))'
  )
  process = subprocess.Popen([sys.executable, '-c', code], cwd=ROOT)
  time.sleep(seconds)
  orphans = psutil.Process(process.pid).children()
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert not psutil.wait_procs(orphans, timeout=20)[1]
  summary = pipeline.prepare_folder(
    str(folder),
    output,
    sampling=SMALL,
    layout=pipeline.Layout(clips_per_shard=1),
    work=pipeline.Work(workers=1),
  )
  assert summary.ok == 6 and len(clip_reader.open_clips(output)) == 6


def test_validation_videos_are_held_out_whole(folder, tmp_path) -> None:
  rows = [
    {
      'clip_id': f'{n}-{part}',
      'path': f'v_{n}.mp4',
      'caption': 'c',
      'start': part,
      'end': part + 1.0,
    }
    for n in range(6)
    for part in range(2)
  ]
  annotations = annotate(tmp_path / 'a.jsonl', rows)
  summary = pipeline.prepare_folder(
    str(folder),
    str(tmp_path / 'out'),
    annotations,
    sampling=SMALL,
    layout=pipeline.Layout(val_fraction=1 / 3),
    work=HERE,
  )
  assert summary.splits == {'train': 8, 'val': 4}
  seen = {
    split: {
      clip_id[0]
      for clip_id in clip_reader.open_clips(
        str(tmp_path / 'out'), split
      ).clip_ids()
    }
    for split in ('train', 'val')
  }
  assert not seen['train'] & seen['val']


def test_nothing_decodes(tmp_path) -> None:
  (tmp_path / 'videos').mkdir()
  (tmp_path / 'videos' / 'a.mp4').write_bytes(b'nothing')
  output = tmp_path / 'out'
  for _ in range(2):
    with pytest.raises(ValueError, match=r'0 of 1 clips.*open_failed 1'):
      pipeline.prepare_folder(str(tmp_path / 'videos'), str(output), work=HERE)
  assert len((output / 'errors.jsonl').read_text().splitlines()) == 1


def test_mistakes(folder, tmp_path) -> None:
  output = str(tmp_path / 'out')
  with pytest.raises(ValueError, match='no clips'):
    pipeline.prepare_clips([], output)
  entry = listing.Entry('a', 'v_1.mp4', str(folder / 'v_1.mp4'))
  with pytest.raises(ValueError, match="in the clips of train: 'a'"):
    pipeline.prepare_clips([entry, entry], output)
  with pytest.raises(ValueError, match="name 'my clips'"):
    pipeline.prepare_clips([entry], output, layout=pipeline.Layout('my clips'))
  with pytest.raises(ValueError, match='val_fraction'):
    pipeline.Layout(val_fraction=1.0)
  with pytest.raises(ValueError, match='positive'):
    pipeline.Layout(num_shards=0)


def test_two_at_once(folder, tmp_path) -> None:
  import filelock

  with (
    filelock.FileLock(tmp_path / '.lock'),
    pytest.raises(FileExistsError, match='another process'),
  ):
    pipeline.prepare_folder(str(folder), str(tmp_path), work=HERE)


def test_progress_is_logged(folder, tmp_path, caplog, monkeypatch) -> None:
  monkeypatch.setattr(staging, '_SECONDS_BETWEEN_REPORTS', 0.0)
  caplog.set_level('INFO', logger='absl')
  pipeline.prepare_folder(str(folder), str(tmp_path), sampling=SMALL, work=HERE)
  assert '3 of 6 clips, 0 failed' in caplog.text
  assert 'clips/s' in caplog.text and 'left' in caplog.text


def test_real_clips(tmp_path) -> None:
  source = ROOT.parent / 'shared' / 'clips'
  if not source.exists():
    pytest.skip('no real clips here')
  summary = pipeline.prepare_folder(
    str(source),
    str(tmp_path),
    str(source / 'captions.jsonl'),
    sampling=sampling.Sampling(size=64, max_frames=8),
    work=pipeline.Work(workers=2),
  )
  assert (summary.total, summary.ok) == (68, 68)
