"""ActivityNet Captions and ActivityNet-QA."""

import pytest

from vidlm.data.sets import activitynet, rows

CAPTIONS = {
  'v_-_a-b_c-d_e': {
    'duration': 82.73,
    'timestamps': [[0.83, 19.86], [60.0, 40.0], [79.0, 90.5], [0.83, 19.86]],
    'sentences': [' Un café. ', 'A dog. ', 'Late.', 'Again.'],
  }
}


def test_each_segment_is_a_clip(write, by_id) -> None:
  paths = [write('val_1.json', CAPTIONS), write('val_2.json', CAPTIONS)]
  rows_ = list(activitynet.read([*paths, write('val_ids.json', '["v_x"]')]))
  assert [row.split for row in rows_] == ['val_1'] * 4 + ['val_2'] * 4
  found = by_id(rows_[:4])
  row = found['v_-_a-b_c-d_e[0.83-19.86]']
  assert row.texts == ('Un café.',)
  assert row.source == '-_a-b_c-d_e'
  # With `v_` or without it on disk.
  assert row.names == (
    rows.VideoName('v_-_a-b_c-d_e', 0.83, 19.86),
    rows.VideoName('-_a-b_c-d_e', 0.83, 19.86),
  )
  # Reversed times are swapped; the same segment again has its own name.
  assert found['v_-_a-b_c-d_e[40-60]'].texts == ('A dog.',)
  assert found['v_-_a-b_c-d_e[0.83-19.86]~2'].texts == ('Again.',)


@pytest.mark.parametrize(
  ('item', 'message'),
  [
    ({'timestamps': [[1, 2]]}, "v_x: no 'sentences'"),
    ({'timestamps': [[1, 2]], 'sentences': []}, '1 timestamps, 0 sentences'),
    ({'timestamps': [[1]], 'sentences': ['a']}, 'is not a start and an end'),
    ({'timestamps': [[1, 'x']], 'sentences': ['a']}, "'x' is not a number"),
  ],
)
def test_broken_captions_are_named(write, item, message: str) -> None:
  path = write('train.json', {'v_x': item})
  with pytest.raises(ValueError, match=message) as error:
    list(activitynet.read([path]))
  assert path in str(error.value) and '\n' not in str(error.value)


def test_questions(write, by_id) -> None:
  questions = [
    {'video_name': 'a_b-c_d-e_f', 'question': 'is it', 'question_id': 'v_1'},
    {'video_name': 'a_b-c_d-e_f', 'question': 'how many', 'question_id': 'v_2'},
  ]
  answers = [
    {'answer': '1', 'type': 7, 'question_id': 'v_2'},
    {'answer': 'no', 'type': 3, 'question_id': 'v_1'},
  ]
  paths = [write('test_q.json', questions), write('test_a.json', answers)]
  (row,) = by_id(activitynet.read_questions(paths)).values()
  assert (row.clip_id, row.split) == ('v_a_b-c_d-e_f', 'test')
  assert row.questions == (
    rows.Question('is it', 'no', 'v_1', 'yes/no'),
    rows.Question('how many', '1', 'v_2', 'number'),
  )
  with pytest.raises(ValueError, match=r'need a \*_q.json and a \*_a.json'):
    list(activitynet.read_questions(paths[:1]))
  write('test_a.json', answers[:1])
  with pytest.raises(ValueError, match='no answer for v_1'):
    list(activitynet.read_questions(paths))


def test_an_id_may_begin_with_v_itself(write) -> None:
  question = {'video_name': 'v_abcdefghi', 'question': 'x', 'question_id': '1'}
  paths = [
    write('val_q.json', [question]),
    write('val_a.json', [{'answer': 'y', 'type': 0, 'question_id': '1'}]),
  ]
  (row,) = activitynet.read_questions(paths)
  assert (row.clip_id, row.source) == ('v_v_abcdefghi', 'v_abcdefghi')
  assert [rows.bare_id(f'v_{n}') for n in ('v_abcdefghi', 'abcdefghijk')] == [
    'v_abcdefghi',
    'abcdefghijk',
  ]


def test_real_excerpt(excerpt) -> None:
  paths = [excerpt(f'activitynet_qa/val_{part}.json') for part in 'qa']
  found = list(activitynet.read_questions(paths))
  assert {row.split for row in found} == {'val'}
  questions = [q for row in found for q in row.questions]
  assert len({q.question_id for q in questions}) == len(questions) > 100
  assert {q.kind for q in questions} <= set(activitynet.KINDS)
