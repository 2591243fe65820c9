"""NExT-OE: tables, second answers, VidOR's folders."""

import pytest

from vidlm.data.sets import next_oe, rows

HEADER = 'video,frame_count,width,height,question,answer,qid,type\n'
TABLE = HEADER + (
  '0123,99,640,480,"why, though",none,3,CW\n'
  '0123,99,640,480,how many,null,4,DC\n'
  '77,99,640,480,is it,no,3,DB\n'
)


def test_answers_stay_texts(write, by_id, names) -> None:
  table = write('test.csv', TABLE)
  second = write('second.json', {'0123': {'4': ' two '}})
  places = write('map.json', {'0123': '0101/0123'})
  found = by_id(next_oe.read([table], references=second, video_map=places))
  row = found['0123']  # leading zeros and all
  assert row.questions == (
    rows.Question('why, though', 'none', '3', 'CW'),
    rows.Question('how many', 'null', '4', 'DC', ('two',)),
  )
  assert names(row) == ['0101/0123', '0123'] and row.split == 'test'
  assert found['77'].questions[0].question_id == '3'  # unique in a video only


def test_a_folder_with_all_files(write) -> None:
  paths = [
    write('nextqa/add_reference_answer_test.json', {'77': {'3': 'yes'}}),
    write('nextqa/map_vid_vidorID.json', {'77': '1/77'}),
    write('nextqa/test.csv', TABLE),
    write('nextqa/val.csv', TABLE),
  ]
  found = list(next_oe.read(paths))
  more = {row.split: row.questions[0].more_answers for row in found[1::2]}
  # The second answers are those of the test split.
  assert more == {'test': ('yes',), 'val': ()}
  assert found[1].names[0].name == '1/77'


@pytest.mark.parametrize(
  ('text', 'message'),
  [
    ('video,question,answer,a0,qid,type\n1,q,0,a,1,CW\n', 'multiple-choice'),
    ('video,question\n', "no column 'answer'"),
    (HEADER + '1,2,3\n', ':2: 3 cells for 8 columns'),
    (TABLE + '77,99,640,480,is it,no,3,DB\n', ":5: video '77', qid '3' again"),
  ],
)
def test_bad_tables(write, text: str, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    list(next_oe.read([write('val.csv', text)]))


def test_real_excerpts(excerpt) -> None:
  found = list(next_oe.read([excerpt('next_oe/val_full.csv')]))
  questions = [q for row in found for q in row.questions]
  assert (len(found), len(questions)) == (570, 5343)  # as published
  kinds = {q.kind for q in questions}
  assert kinds <= {'CW', 'CH', 'TN', 'TC', 'TP', 'DL', 'DB', 'DC', 'DO'}
  test = list(
    next_oe.read(
      [
        excerpt('next_oe/test.csv'),
        excerpt('next_oe/add_reference_answer_test.json'),
      ]
    )
  )
  assert {row.split for row in test} == {'test'}
