import pathlib

from vidlm.data.sets import conversations as readers
from vidlm.miniature.world import conversations


def test_pictures_are_read_by_llavas_reader(tmp_path: pathlib.Path):
  caption = 'a big red bar at the left and a blue ring'
  path = conversations.write_llava(
    [('still_0', b'jpeg', caption), ('still_1', b'jpeg', 'nothing')], tmp_path
  )
  assert (tmp_path / 'images/still_0.jpg').read_bytes() == b'jpeg'
  first, empty = readers.read_llava([path])
  asked = {q.question: q.answer for q in first.questions}
  assert asked['what is in the picture?'] == f'there is {caption}.'
  assert asked['what colour is the bar?'] == 'the bar is red.'
  assert asked['where is the red bar?'] == 'the red bar is at the left.'
  assert asked['describe the picture in detail.'] == (
    'there is a big red bar at the left . there is a blue ring in the picture .'
  )
  assert [q.answer for q in empty.questions] == ['there is nothing.']


def test_videos_are_read_by_video_chatgpts_reader(tmp_path: pathlib.Path):
  narrative = 'a bar falls . after that a ring grows . all is on a dark wall .'
  path = conversations.write_video_chatgpt([('n_0', narrative)], tmp_path)
  [row] = readers.read_video_chatgpt([path])
  assert {name.name for name in row.names} == {'v_n_0', 'n_0'}
  assert [q.answer for q in row.questions] == [
    'a bar falls . after that a ring grows .',
    narrative,
    'all is on a dark wall .',
  ]
