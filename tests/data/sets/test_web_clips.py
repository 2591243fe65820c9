"""VideoCC's microseconds and InternVid's hours."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm.data.sets import rows, smit, web_clips

ROW = 'https://www.youtube.com/watch?v=a_b-c_d-e_f,10500000,14000000,'


@pytest.mark.parametrize(
  'header', ['', 'Video URL,Start timestamp,End timestamp,Caption\n']
)
def test_videocc(write, by_id, header: str) -> None:
  text = header + ROW + '"a person, running"\n' + ROW + 'a ## person\n'
  text += ROW + 'a ## person\nhttps://youtu.be/-----------,0,2000000,x, y\n'
  found = by_id(web_clips.read_videocc([write('video_cc.csv', text)]))
  row = found['a_b-c_d-e_f_10.500_14.000']
  assert row.texts == ('a person, running', 'a ## person')
  assert rows.VideoName('a_b-c_d-e_f', 10.5, 14.0) in row.names
  assert row.source == 'a_b-c_d-e_f'
  assert found['-----------_0.000_2.000'].texts == ('x, y',)


def test_a_first_caption_with_semicolons(write) -> None:
  text = f'{ROW}"a; b; c; d; e; f"\n{ROW}second\n'
  (row,) = web_clips.read_videocc([write('video_cc.csv', text)])
  assert row.texts == ('a; b; c; d; e; f', 'second')


@pytest.mark.parametrize(
  ('line', 'message'),
  [
    ('https://youtu.be/abcdefghijk,10,14,x', 'times are microseconds'),
    ('https://youtu.be/abcdefghijk,1', '2 cells; need URL'),
    ('https://youtu.be/abcdefghijk,0,soon,x', "'soon' is not a number"),
  ],
)
def test_bad_videocc(write, line: str, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    list(web_clips.read_videocc([write('a.csv', ROW + f'x\n{line}\n')]))


INTERNVID = {
  'YoutubeID': 'H_Y-yzCSWyw',
  'Start_timestamp': '00:03:10.567',
  'End_timestamp': '00:03:11.200',
  'Caption': 'a hand, a mouse',
  'Aesthetic_Score': 4.5,
  'UMT_Score': 0.4,
}


def test_internvid(write, by_id, tmp_path) -> None:
  later = {**INTERNVID, 'Start_timestamp': '01:00:00', 'End_timestamp': '3605'}
  lines = write('InternVid-10M-FLT.jsonl', [INTERNVID, later])
  table = str(tmp_path / 'x.parquet')
  pq.write_table(pa.Table.from_pylist([INTERNVID, later]), table)
  for path in (lines, table):
    found = by_id(web_clips.read_internvid([path]))
    row = found['H_Y-yzCSWyw_190.567_191.200']
    assert row.texts == ('a hand, a mouse',)
    last = found['H_Y-yzCSWyw_3600.000_3605.000']
    assert rows.VideoName('H_Y-yzCSWyw', 3600.0, 3605.0) in last.names
  bad = write('b.jsonl', [{**INTERNVID, 'Start_timestamp': 'soon'}])
  with pytest.raises(ValueError, match=r"b.jsonl:1: 'soon' is neither seconds"):
    list(web_clips.read_internvid([bad]))


def test_smit_takes_a_table_of_your_own(write, by_id) -> None:
  text = 'video,caption\na/v 1.mp4,uh a man\nb-2.mp4,\na/v 1.mp4,again\n'
  lines = [{'path': 'c.mp4', 'text': 'x', 'split': 'validation', 'id': '7'}]
  found = by_id(
    smit.read([write('smit_train.csv', text), write('rest.jsonl', lines)])
  )
  assert found['a/v 1'].texts == ('uh a man', 'again')
  assert (found['a/v 1'].split, found['b-2'].texts) == ('train', ())
  assert (found['7'].split, found['7'].names[0].name) == ('val', 'c.mp4')
  with pytest.raises(ValueError, match=r'none of video, path.*it has x'):
    list(smit.read([write('a.csv', 'x\n1\n')]))
  twice = 'id,video,caption\n1,a.mp4,x\n1,b.mp4,y\n'
  with pytest.raises(ValueError, match="both have the id '1'"):
    list(smit.read([write('a.csv', twice)]))
