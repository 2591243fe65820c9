"""From a set's files to a clip set, with everything that may go wrong."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from vidlm import cli
from vidlm.data.prepare import pipeline
from vidlm.data.sets import build, locate, registry, rows
from vidlm.data.store import clip_reader
from vidlm.data.video import sampling, scanner

ONE = pipeline.Work(workers=1)
ROOT = pathlib.Path(__file__).resolve().parents[3]
NASTY = (
  '-_a-b_c-d_e',
  '__x--y__z_0',
  'A b _ (1) c34',
  'v_v_v_v_v_v_v',
  '日本é',
)


def captions(*names: str) -> list[dict]:
  return [{'video': n, 'caption': [f'text of {n}']} for n in names]


def lines(path) -> list[dict]:
  text = pathlib.Path(path).read_text(encoding='utf-8')
  return [json.loads(line) for line in text.splitlines()]


def test_each_clip_is_in_the_set_or_has_a_reason(
  make_videos, write, hostile, tmp_path
) -> None:
  folder = make_videos('sub/video7010.mp4', 'video7011.MKV', 'video7012.mp4')
  damaged = pathlib.Path(hostile['random.mp4'][0]).read_bytes()
  pathlib.Path(folder, 'video7012.mp4').write_bytes(damaged)
  wanted = [f'video{n}' for n in range(7010, 7014)]
  path = write('captions.json', captions(*wanted, '../video1'))
  out = str(tmp_path / 'out')
  summary = build.prepare_set('msrvtt', folder, out, [path], work=ONE)
  assert (summary.total, summary.ok) == (5, 2)
  assert summary.coverage == 0.4
  assert '2 of 5 clips (test 2); 3 failed' in str(summary)
  assert str(summary).endswith('; coverage 40.00 %')
  reasons = {e['clip_id']: e['reason'] for e in lines(f'{out}/errors.jsonl')}
  assert reasons.pop('video7012') in ('open_failed', 'no_video_stream')
  assert reasons == {'video7013': 'not_found', '../video1': 'outside_folder'}
  reader = clip_reader.open_clips(out, 'test')
  assert reader.clip_ids() == ['video7010', 'video7011']
  assert reader.texts()[0] == ['text of video7010']
  # All that was asked for, so that scores know of how many.
  table = pq.read_table(f'{out}/annotated-test.parquet')
  assert table['clip_id'].to_pylist() == [*wanted, '../video1']
  # Again: nothing to do.
  assert build.prepare_set('msrvtt', folder, out, [path], work=ONE) == summary


def test_nasty_names_survive(make_videos, write, tmp_path) -> None:
  folder = make_videos(*(f'{name}.mp4' for name in NASTY))
  path = write('a.json', captions(*NASTY))
  out = str(tmp_path / 'out')
  build.prepare_set('msrvtt', folder, out, [path], work=ONE)
  assert clip_reader.open_clips(out, 'test').clip_ids() == list(NASTY)


def row(*names: str) -> rows.Row:
  return rows.Row('id', tuple(rows.VideoName(name) for name in names))


def test_renamed_files_are_found_and_said(make_videos) -> None:
  folder = locate.VideoFolder(
    make_videos('26_Bad_Nominees_-_X_(May)_HD20.mp4', 'aBcDe-gHiJk.mp4')
  )
  entry, changed = folder.find(row('oops/26 Bad Nominees - X (May) HD20'))
  assert changed and entry.path
  # Not where each character counts, nor by upper and lower case.
  assert folder.find(row('aBcDe_gHiJk'))[0].reason == 'not_found'
  assert folder.find(row('abcde-ghijk'))[0].reason == 'not_found'
  assert folder.find(row('aBcDe-gHiJk')) == (
    folder.find(row('nothing', 'aBcDe-gHiJk'))[0],
    False,
  )


def test_case_and_accents_are_no_other_name(make_videos) -> None:
  folder = locate.VideoFolder(
    make_videos('Clip 1.MP4', 'sub/cafe\u0301.mp4', 'aBcDe-gHiJk.MP4', 'D.MOV')
  )
  for name, file in (
    ('clip 1.mp4', 'Clip 1.MP4'),
    ('CAFÉ.mp4', 'sub/cafe\u0301.mp4'),
    ('d', 'D.MOV'),
    ('aBcDe-gHiJk.mp4', 'aBcDe-gHiJk.MP4'),
  ):
    entry, changed = folder.find(row(name))
    assert (entry.video, changed) == (file, True)
  assert folder.find(row('abcde-ghijk.mp4'))[0].reason == 'not_found'


def test_a_hub_s_cache(make_videos, tmp_path) -> None:
  blobs = make_videos('blob.mp4')
  snapshot = tmp_path / 'snapshot'
  snapshot.mkdir()
  (snapshot / 'x.mp4').symlink_to(pathlib.Path(blobs, 'blob.mp4'))
  assert locate.VideoFolder(str(snapshot)).find(row('x'))[0].path is None
  folder = locate.VideoFolder(scanner.Folder(str(snapshot), follow_links=True))
  assert folder.find(row('x'))[0].path == str(snapshot / 'x.mp4')


def test_two_candidates_are_none(make_videos) -> None:
  folder = locate.VideoFolder(make_videos('A_b.mp4', 'A__b.mp4'))
  assert folder.find(row('A b'))[0].reason == 'not_found'


def test_links_out_of_the_folder(make_videos, one_video) -> None:
  folder = make_videos('x.mp4')
  pathlib.Path(folder, 'out.mp4').symlink_to(one_video)
  assert locate.VideoFolder(folder).find(row('out'))[0].path is None


def test_too_short_is_a_reason(make_videos, write, tmp_path) -> None:
  folder = make_videos('v_x.mp4')  # four seconds
  spans = [[0, 4], [2, 5], [3, 9], [50, 60]]
  item = {'timestamps': spans, 'sentences': list('abcd')}
  path = write('train.json', {'v_x': item})
  out = str(tmp_path / 'out')
  summary = build.prepare_set('activitynet', folder, out, [path], work=ONE)
  # 2 of 3 seconds are there: taken; 1 of 6: not what was described.
  assert summary.failed == {'empty': 1, 'too_short': 1}
  index = clip_reader.open_clips(out, 'train').index()
  assert index['end'].to_pylist() == pytest.approx([4.0, 4.0], abs=0.01)


def test_a_clip_cut_already_may_be_too_short(
  make_videos, write, tmp_path
) -> None:
  ids = ('a_b-c_d-e_f_000010_000020', 'a_b-c_d-e_f_000010_000017')
  folder = make_videos(*(f'{name}.mp4' for name in ids))  # four seconds each
  clips_ = [{'videoID': name, 'enCap': ['x']} for name in ids]
  path = write('vatex_validation_v1.0.json', clips_)
  out = str(tmp_path / 'out')
  summary = build.prepare_set('vatex', folder, out, [path], work=ONE)
  assert summary.failed == {'too_short': 1}
  assert clip_reader.open_clips(out, 'val').clip_ids() == [ids[1]]


def test_folders_of_frames(write, tmp_path) -> None:
  folder = tmp_path / 'frames' / 'c1a40349'
  folder.mkdir(parents=True)
  for number in range(12):
    image = np.full((20, 30, 3), 20 * number, np.uint8)
    Image.fromarray(image).save(folder / f'{number}.png')  # 10 sorts before 9
  line = {
    'dataset_id': 'UVO_dense_train',
    'video_id': 'c1a40349',
    'actor_narratives': [{'caption': 'Grey gets lighter.'}],
  }
  out = str(tmp_path / 'out')
  summary = build.prepare_set(
    'vidln',
    str(tmp_path / 'frames'),
    out,
    [write('a.jsonl', [line])],
    sampling=sampling.Sampling(frame_rate=4.0, min_frames=4, size=None),
    work=ONE,
  )
  assert summary.ok == 1
  reader = clip_reader.open_clips(out)
  example = reader.features.deserialize_example_np(reader.read([0])[0])
  assert list(example['times']) == [0, 0.5, 1, 1.5, 2, 2.5]
  means = [round(float(frame.mean()) / 20) for frame in example['frames']]
  assert means == [0, 2, 4, 6, 8, 10]


def test_lists_of_ids(make_videos, write, tmp_path, caplog) -> None:
  folder = make_videos('video7010.mp4', 'video7011.mp4')
  path = write('a.json', captions('video7010', 'video7011'))
  ids = write('ids.txt', 'video_id\nvideo7011\nvideo5\n')
  entries, kept, _ = build.collect(
    'msrvtt', folder, [path], build.Selection(ids=ids, split='half')
  )
  assert [(r.clip_id, r.split) for r in kept] == [('video7011', 'half')]
  assert entries[0].path
  write('ids.txt', 'other\n')
  with pytest.raises(ValueError, match='none of its 1 ids is annotated'):
    build.collect('msrvtt', folder, [path], build.Selection(ids=ids))


@pytest.mark.parametrize(
  ('arguments', 'message'),
  [
    (['msrvtt'], 'prepare msrvtt: give --videos=DIR'),
    (['msrvtt', '--videos=.'], 'prepare msrvtt: give --annotations'),
    (['msrvtt', '--videos=.', '--annotations=no.json'], 'no.json: no such'),
    (
      ['msrvtt', '--videos=.', '--annotations=a.csv', '--video_map=x'],
      'no use for --video_map; it is for next_oe',
    ),
    (
      ['msrvtt', '--videos=.', '--annotations=a.csv', '--limit=-1'],
      'limit=-1: need at least 1',
    ),
    (
      ['msrvtt', '--videos=.', '--annotations=a.csv', '--limit=0'],
      'limit=0: need at least 1',
    ),
  ],
)
def test_one_line_for_a_mistake(
  arguments, message: str, tmp_path, monkeypatch, capsys
) -> None:
  monkeypatch.chdir(tmp_path)
  with pytest.raises(SystemExit) as error:
    cli.main(['prepare', *arguments, '--output=out'])
  said = capsys.readouterr().err + str(error.value)
  assert message in said


def test_help_names_every_set_without_tensorflow() -> None:
  code = (
    'import sys\nfrom vidlm import cli\n'
    "try: cli.main(['prepare', '--help'])\nexcept SystemExit: pass\n"
    "assert not {'tensorflow', 'av', 'numpy'} & set(sys.modules)"
  )
  done = subprocess.run(
    [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True
  )
  assert done.returncode == 0, done.stderr
  assert all(name in done.stdout for name in registry.SETS)


def test_command(make_videos, write, tmp_path, capsys) -> None:
  folder = make_videos('video7010.mp4')
  path = write('a.json', captions('video7010'))
  out = str(tmp_path / 'out')
  with pytest.raises(SystemExit) as status:
    cli.main(
      [
        'prepare',
        'msrvtt',
        f'--videos={folder}',
        f'--annotations={path}',
        f'--output={out}',
        '--workers=1',
        '--size=32',
      ]
    )
  assert not status.value.code
  assert '1 of 1 clips (test 1)' in capsys.readouterr().out
