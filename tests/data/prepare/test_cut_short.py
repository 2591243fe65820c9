"""Clips in which a file breaks off: listed, counted, or left out."""

import json
import pathlib
import shutil

import pytest

from vidlm.data.prepare import pipeline, summary
from vidlm.data.store import clip_reader
from vidlm.data.video import sampling


@pytest.fixture
def videos_folder(videos, cut_film, tmp_path) -> pathlib.Path:
  folder = tmp_path / 'videos'
  folder.mkdir()
  videos.write(folder / 'whole.mp4', num_frames=40)
  shutil.copy(cut_film, folder / 'cut.mp4')
  return folder


def prepare(folder, output, **how) -> summary.Summary:
  return pipeline.prepare_folder(
    str(folder),
    str(output),
    sampling=sampling.Sampling(size=32, **how),
    work=pipeline.Work(workers=1),
  )


def test_a_clip_cut_short_is_in_the_set_and_in_a_list(
  videos_folder, tmp_path
) -> None:
  counts = prepare(videos_folder, tmp_path / 'out')
  assert (counts.ok, counts.failed, counts.cut_short) == (2, {}, 1)
  assert '1 cut short, see cut_short.jsonl' in str(counts)
  (line,) = (tmp_path / 'out' / 'cut_short.jsonl').read_text().splitlines()
  clip = json.loads(line)
  assert (clip['clip_id'], clip['video']) == ('cut', 'cut.mp4')
  assert 1 < clip['end'] < 3 and 'breaks off' in clip['message']
  index = clip_reader.open_clips(str(tmp_path / 'out')).index().to_pylist()
  ends = {row['clip_id']: row['end'] for row in index}
  assert ends['cut'] == pytest.approx(clip['end'])
  assert summary.read(tmp_path / 'out') == counts


def test_refused_it_is_an_error(videos_folder, tmp_path) -> None:
  counts = prepare(videos_folder, tmp_path / 'out', damaged='refuse')
  assert (counts.ok, counts.failed) == (1, {'truncated': 1})
  assert counts.cut_short == 0 and 'cut short' not in str(counts)
  assert not (tmp_path / 'out' / 'cut_short.jsonl').exists()
  fields = json.loads((tmp_path / 'out' / 'summary.json').read_text())
  assert 'cut_short' not in fields
