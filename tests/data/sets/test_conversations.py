"""LLaVA's and Video-ChatGPT's instructions."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from vidlm.data.prepare import pipeline
from vidlm.data.sets import build, conversations, rows
from vidlm.data.store import clip_reader
from vidlm.data.video import sampling

ONE = pipeline.Work(workers=1)
TALK = [
  {'from': 'human', 'value': '<image>\nWhat is on the table?'},
  {'from': 'gpt', 'value': ' A cup. '},
  {'from': 'human', 'value': 'Why?\n<image>'},
  {'from': 'gpt', 'value': 'Somebody drinks.'},
]


def test_llava(write, by_id) -> None:
  entries = [
    {'id': '1', 'image': '000000000001.jpg', 'conversations': TALK},
    {'id': '1', 'image': '000000000001.jpg', 'conversations': TALK[:2]},
    {'id': '9', 'conversations': TALK},  # text alone, in later mixes
  ]
  (row,) = by_id(conversations.read_llava([write('l.json', entries)])).values()
  assert row.questions[:2] == (
    rows.Question('What is on the table?', 'A cup.', '1_0'),
    rows.Question('Why?', 'Somebody drinks.', '1_1'),
  )
  assert len(row.questions) == 3
  assert 'COCO_train2014_000000000001.jpg' in [n.name for n in row.names]


def test_images_become_clips_of_one_frame(write, tmp_path) -> None:
  folder = tmp_path / 'images' / 'train2014'
  folder.mkdir(parents=True)
  for number in (1, 2, 3):
    image = Image.fromarray(np.full((60, 90, 3), 40 * number, np.uint8))
    image.save(folder / f'COCO_train2014_{number:012d}.jpg')
  (folder / 'COCO_train2014_000000000004.jpg').write_bytes(b'%!PS-Adobe')
  entries = [
    {'id': str(n), 'image': f'{n:012d}.jpg', 'conversations': TALK}
    for n in (1, 2, 4, 5)
  ]
  out = str(tmp_path / 'out')
  summary = build.prepare_set(
    'llava',
    str(tmp_path / 'images'),
    out,
    [write('llava_instruct_150k.json', entries)],
    sampling=sampling.Sampling(size=30),
    work=ONE,
  )
  assert summary.failed == {'not_found': 1, 'open_failed': 1}
  reader = clip_reader.open_clips(out)
  assert reader.index()['num_frames'].to_pylist() == [1, 1]
  example = reader.features.deserialize_example_np(reader.read([1])[0])
  assert example['frames'][0].shape == (30, 45, 3)
  assert abs(float(example['frames'][0].mean()) - 80) < 3


@pytest.mark.parametrize('converted', [False, True])
def test_video_chatgpt(write, by_id, converted: bool) -> None:
  if converted:
    talk = [
      {'from': 'human', 'value': 'What happens?\n<video>'},
      {'from': 'gpt', 'value': 'A fall.'},
    ]
    entry = {'id': 'v_a_b-c_d-e_f', 'video': 'v_a_b-c_d-e_f.pkl'}
    entries = [{**entry, 'conversations': talk}]
  else:
    entries = [
      {'q': 'What happens?', 'a': 'A fall.', 'video_id': 'v_a_b-c_d-e_f'}
    ]
  path = write('VideoInstruct100K.json', entries * 2)
  (row,) = by_id(conversations.read_video_chatgpt([path])).values()
  assert (row.clip_id, row.source) == ('v_a_b-c_d-e_f', 'a_b-c_d-e_f')
  assert [n.name for n in row.names] == ['v_a_b-c_d-e_f', 'a_b-c_d-e_f']
  assert len(row.questions) == 2
  assert row.questions[0].question == 'What happens?'
  assert row.questions[0].answer == 'A fall.'


def test_other_turns_are_refused(write) -> None:
  path = write(
    'l.json', [{'id': '1', 'image': 'a.jpg', 'conversations': TALK[1:]}]
  )
  with pytest.raises(ValueError, match='not human and gpt by turns'):
    list(conversations.read_llava([path]))
  assert pathlib.Path(path).exists()
