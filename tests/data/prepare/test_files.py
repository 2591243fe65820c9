"""`prepare folder` counts each file once, whatever bytes its name has."""

import json
import os
import pathlib
import shutil

import hypothesis
import pyarrow.parquet as pq
import pytest
from hypothesis import strategies as st

from vidlm.core import file_names
from vidlm.data.prepare import pipeline
from vidlm.data.store import clip_reader, frame_lookup
from vidlm.data.video import sampling, scanner

SMALL = sampling.Sampling(size=16, min_frames=2, max_frames=2)
NAMES = [b'caf\xe9.mp4', 'é日.MP4'.encode(), b'a\nb.mp4', b'\xff\xfe.mkv']
NAMES += [b"it's  \xe3\x80\x80.mp4", b'\\udcff\\udcfe.mkv', b'-rf *.mp4']


@pytest.fixture(scope='module')
def film(videos, tmp_path_factory) -> pathlib.Path:
  path = tmp_path_factory.mktemp('film') / 'film.mp4'
  videos.write(path, num_frames=10)
  return path


def put(root: pathlib.Path, film, *names: bytes) -> str:
  root.mkdir(exist_ok=True)
  for name in names:
    shutil.copy(film, os.path.join(os.fsencode(root), name))
  return str(root)


def prepare(videos, output, annotations=None, workers=0, **how):
  return pipeline.prepare_folder(
    videos,
    str(output),
    annotations,
    sampling=SMALL,
    work=pipeline.Work(workers=workers),
    **how,
  )


def test_names_in_any_bytes(film, tmp_path) -> None:
  root = put(tmp_path / 'videos', film, *NAMES)
  bad = os.path.join(os.fsencode(root), b'bad \xf0.mp4')
  with open(bad, 'wb') as file:
    file.write(b'no video')
  output = tmp_path / 'out'
  layout = pipeline.Layout(val_fraction=0.3)
  summary = prepare(root, output, workers=1, layout=layout)
  assert summary.ok == len(NAMES) and summary.failed == {'open_failed': 1}
  assert (summary.files.found, summary.files.clips) == (len(NAMES) + 1, 7)
  # In the records, the index, the errors: the same text.
  texts = {file_names.as_text(os.fsdecode(name)) for name in NAMES}
  rows = []
  for split in summary.splits:
    reader = clip_reader.open_clips(str(output), split)
    records = reader.read(range(len(reader)))
    decoded = map(reader.features.deserialize_example_np, records)
    rows += [record['video'].decode() for record in decoded]
    index = pq.read_table(output / f'index-{split}.parquet')
    assert index['video'].to_pylist() == rows[-len(reader) :]
  assert set(rows) == texts
  (error,) = map(json.loads, (output / 'errors.jsonl').read_text().splitlines())
  assert error['video'] == 'bad \\udcf0.mp4' in error['message']
  files = json.loads((output / 'files.json').read_text())
  assert files['names'] == {'open_failed': ['bad \\udcf0.mp4']}
  # Whoever looks at them finds them again.
  row = {'clip_id': 'a', 'video': 'caf\\udce9.mp4', 'start': None, 'end': None}
  found = frame_lookup.VideoFrames(frame_lookup.entries_of([row], root), SMALL)
  assert len(next(found.read(['a']))) == 2
  assert prepare(root, output, layout=layout) == summary


def test_a_cut_file_s_name_in_any_bytes(videos, tmp_path) -> None:
  whole = tmp_path / 'whole.mkv'
  videos.write(whole, num_frames=40)
  root = put(tmp_path / 'videos', whole, b'whole \xe9.mkv')
  data = whole.read_bytes()
  with open(os.path.join(os.fsencode(root), b'cut \xe9.mkv'), 'wb') as file:
    file.write(data[: len(data) // 2])
  summary = prepare(root, tmp_path / 'out')
  assert (summary.ok, summary.cut_short, summary.files.clips) == (2, 1, 2)
  (line,) = (tmp_path / 'out/cut_short.jsonl').read_text().splitlines()
  assert json.loads(line)['video'] == 'cut \\udce9.mkv'
  # Prepared anew without it, nothing of it is left.
  os.unlink(os.path.join(os.fsencode(root), b'cut \xe9.mkv'))
  work = pipeline.Work(workers=0, overwrite=True)
  pipeline.prepare_folder(
    root, str(tmp_path / 'out'), sampling=sampling.Sampling(size=32), work=work
  )
  assert not (tmp_path / 'out/cut_short.jsonl').exists()


_NAME = st.binary(min_size=1, max_size=6).filter(
  lambda b: not {b'/', b'\0'} & {b[i : i + 1] for i in range(len(b))}
)


@hypothesis.settings(deadline=None, max_examples=12)
@hypothesis.given(names=st.sets(_NAME, min_size=1, max_size=4))
def test_any_name_is_prepared(film, tmp_path_factory, names) -> None:
  here = tmp_path_factory.mktemp('any')
  names = [b'x' + name + b'.mp4' for name in names]
  summary = prepare(put(here / 'videos', film, *names), here / 'out')
  assert (summary.total, summary.failed) == (len(names), {})
  assert summary.files.clips == summary.files.found == len(names)


def test_counts_add_up(film, tmp_path) -> None:
  root = pathlib.Path(put(tmp_path / 'v', film, b'a.mp4', b'b.mkv', b'.h.mp4'))
  (root / 'bad.mp4').write_bytes(b'no video')
  (root / 'c.txt').write_text('x')
  (root / 'p.png').write_bytes(b'x')
  (root / 'out.mp4').symlink_to(film)
  summary = prepare(str(root), tmp_path / 'out')
  counts = {'hidden': 1, 'link_leads_out': 1, 'open_failed': 1}
  assert summary.files.skipped == {**counts, 'suffix_unknown': 1}
  assert (summary.files.found, summary.files.clips) == (7, 2)
  assert '7 files found: 2 films, 1 still, 4 skipped' in summary.whole
  written = json.loads((tmp_path / 'out/summary.json').read_text())
  assert written['files']['skipped'] == summary.files.skipped
  # Rows take what they name, and nothing else.
  rows = tmp_path / 'rows.jsonl'
  named = [('1', 'A.mp4'), ('2', 'a.mp4'), ('3', 'b'), ('4', '.h.mp4')]
  rows.write_text(
    ''.join(
      json.dumps({'clip_id': i, 'path': name, 'caption': 'x'}) + '\n'
      for i, name in named
    )
  )
  summary = prepare(str(root), tmp_path / 'rows', str(rows))
  assert (summary.ok, summary.failed) == (3, {'not_found': 1})
  assert (summary.files.clips, summary.files.stills) == (3, 0)
  assert summary.files.skipped == {
    'link_leads_out': 1,
    'no_row': 2,
    'suffix_unknown': 1,
  }
  folder = scanner.Folder(str(root), follow_links=True)
  assert prepare(folder, tmp_path / 'followed').files.clips == 3


def test_films_that_are_cut(film, tmp_path) -> None:
  """A film counts once, and one that can't be cut has an id of its own."""
  root = pathlib.Path(put(tmp_path / 'videos', film, b'a.mp4', b'b.mp4'))
  (root / 'a#0001.mp4').write_bytes(b'no video')
  summary = prepare(str(root), tmp_path / 'out', clips='fixed:0.5s')
  assert (summary.ok, summary.total) == (4, 5)
  assert (summary.files.found, summary.files.clips) == (3, 2)
  errors = (tmp_path / 'out/errors.jsonl').read_text()
  assert json.loads(errors)['clip_id'] == 'a#0001~'


def test_nothing_taken_says_what_was_there(tmp_path) -> None:
  (tmp_path / 'v').mkdir()
  (tmp_path / 'v/a.mp4').write_bytes(b'no video')
  (tmp_path / 'v/a.srt').write_text('x')
  match = r'0 of 1 clips.*2 files found: 0 films.*open_failed 1, suffix_unkno'
  with pytest.raises(ValueError, match=match):
    prepare(str(tmp_path / 'v'), tmp_path / 'out')
