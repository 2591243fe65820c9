"""MSR-VTT in the forms it circulates in."""

import pytest

from vidlm.data.sets import msrvtt, rows

CHALLENGE = {
  'info': {'year': '2016'},
  'videos': [
    {
      'id': 7010,
      'video_id': 'video7010',
      'category': 3,
      'url': 'https://www.youtube.com/watch?v=a_b-c_d-e_f&t=1',
      'start time': 137.72,
      'end time': 149.44,
      'split': 'validate',
    },
    {'id': 1, 'video_id': 'video1', 'url': '', 'split': 'train'},
  ],
  'sentences': [
    {'sen_id': 0, 'video_id': 'video7010', 'caption': ' a cat, sleeping '},
    {'sen_id': 1, 'video_id': 'video1', 'caption': 'a bus'},
    {'sen_id': 2, 'video_id': 'video7010', 'caption': 'a cat'},
  ],
}


def test_challenge_files(write, by_id, names) -> None:
  found = by_id(msrvtt.read([write('test_videodatainfo.json', CHALLENGE)]))
  row = found['video7010']
  assert row.texts == ('a cat, sleeping', 'a cat')
  # 7010 is of the official test range; the file says otherwise and wins.
  assert (row.split, row.source) == ('val', 'a_b-c_d-e_f')
  # Cut already, or to be cut from the whole video at "start time".
  assert names(row)[0] == 'video7010'
  assert rows.VideoName('a_b-c_d-e_f', 137.72, 149.44) in row.names
  assert found['video1'].split == 'train' and found['video1'].source == ''


def test_train_and_test_files_come_together(write, by_id) -> None:
  other = {'sentences': [{'video_id': 'video9999', 'caption': 'x'}]}
  found = by_id(
    msrvtt.read([write('a.json', CHALLENGE), write('b.json', other)])
  )
  assert found['video9999'].split == 'test' and len(found) == 3


def test_captions_given_twice_count_once(write, by_id) -> None:
  parts = write('train_val_videodatainfo.json', CHALLENGE)
  other = {'sentences': [{'video_id': 'video9999', 'caption': 'x'}]}
  merged = write(
    'MSRVTT_data.json',
    {'sentences': CHALLENGE['sentences'] + other['sentences']},
  )
  for order in ([parts, merged], [merged, parts]):
    found = by_id(msrvtt.read(order))
    assert {k: len(row.texts) for k, row in found.items()} == {
      'video7010': 2,
      'video1': 1,
      'video9999': 1,
    }
    assert (found['video7010'].split, found['video1'].split) == ('val', 'train')


def test_official_ranges(write, by_id) -> None:
  numbers = (0, 6512, 6513, 7009, 7010, 9999)
  items = [{'image_id': f'video{n}', 'caption': 'x'} for n in numbers]
  found = by_id(msrvtt.read([write('MSR_VTT.json', {'annotations': items})]))
  assert [row.split for row in found.values()] == [
    'train',
    'train',
    'val',
    'val',
    'test',
    'test',
  ]


@pytest.mark.parametrize('delimiter', [',', ';'])
def test_1ka_has_either_delimiter(write, by_id, delimiter: str) -> None:
  cells = [
    ('key', 'vid_key', 'video_id', 'sentence'),
    ('ret0', 'msr9770', 'video9770', '"a dog, or; a cat"'),
    ('ret1', 'msr9771', 'video9771', 'null'),
  ]
  text = '\n'.join(delimiter.join(row) for row in cells)
  found = by_id(msrvtt.read([write('MSRVTT_JSFUSION_test.csv', text)]))
  assert found['video9770'].texts == ('a dog, or; a cat',)
  assert found['video9771'].texts == ('null',)
  assert {row.split for row in found.values()} == {'test_1ka'}


def test_lists_choose_and_name_the_splits(write, caplog) -> None:
  captions = write('MSRVTT_data.json', CHALLENGE)
  nine = write('MSRVTT_train.9k.csv', 'video_id\nvideo1\nvideo7010\nvideo5\n')
  val = write('val_list_jsfusion.txt', 'video7010\n')
  found = list(msrvtt.read([captions, nine, val]))
  assert [(r.clip_id, r.split, len(r.texts)) for r in found] == [
    ('video1', 'train_9k', 1),
    ('video7010', 'train_9k', 2),
    ('video5', 'train_9k', 0),
    ('video7010', 'val_jsfusion', 2),
  ]
  assert 'train_9k: 1 of 3 videos have no captions' in caplog.text
  with pytest.raises(ValueError, match='give the JSON of captions too'):
    list(msrvtt.read([nine]))


def test_questions(write, by_id) -> None:
  item = {'answer': 'none', 'category_id': 14, 'id': 5, 'question': 'who ran'}
  path = write('val_qa.json', [{**item, 'video_id': 6513}, {**item, 'id': 6,
    'video_id': 'video6513', 'answer': 7}])  # fmt: skip
  (row,) = by_id(msrvtt.read_questions([path])).values()
  assert (row.clip_id, row.split) == ('video6513', 'val')
  assert [q.answer for q in row.questions] == ['none', '7']
  assert row.questions[0] == rows.Question('who ran', 'none', '5', 'who')


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('{"sentences": [{"caption": "x"}]}', "sentence 0: no 'video_id'"),
    ('{"a": 1}', 'not captions of MSR-VTT'),
    ('[{"question": "who"}]', 'prepare msrvtt_qa'),
    ('[{"video": "video1"', 'not JSON'),
  ],
)
def test_other_files_are_refused(write, content: str, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    list(msrvtt.read([write('a.json', content)]))


def test_real_excerpts(excerpt, by_id) -> None:
  found = by_id(msrvtt.read([excerpt('msrvtt/msrvtt_caption_test.json')]))
  assert found['video7010'].split == 'test'
  assert all(len(row.texts) >= 19 for row in found.values())
  pairs = by_id(msrvtt.read([excerpt('msrvtt/MSRVTT_JSFUSION_test.csv')]))
  assert all(len(row.texts) == 1 for row in pairs.values())
  assert pairs['video9770'].texts[0].startswith('a person is connecting')
