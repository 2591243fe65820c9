"""Video Localized Narratives and Oops-QA."""

import tracemalloc

import pytest

from vidlm.data.sets import rows, vidln


def narrative(dataset: str, video: str, *captions: str, **more) -> dict:
  actors = [{'actor_name': 'A', 'caption': c} for c in captions]
  return {
    'vidln_id': 1,
    'dataset_id': dataset,
    'video_id': video,
    'actor_narratives': actors,
    **more,
  }


def test_several_narratives_a_video(write, by_id) -> None:
  lines = [
    narrative(
      'oops_train', 'A Fail (1) _ X34', ' A man runs. ', 'In the back.'
    ),
    narrative('OVIS_train', 'c1a40349', 'A fish.'),
    narrative('oops_train', 'A Fail (1) _ X34', 'One falls.', ''),
  ]
  path = write('all.jsonl', lines)
  other = write('UVO_dense_val.jsonl', [narrative('UVO_dense_val', 'x', 'V.')])
  found = by_id(vidln.read([path, other]))
  row = found['oops_train/A Fail (1) _ X34']
  assert row.texts == ('A man runs. In the back.', 'One falls.')
  assert row.split == 'train'
  assert found['UVO_dense_val/x'].split == 'val'
  assert found['OVIS_train/c1a40349'].texts == ('A fish.',)


def test_where_videos_may_be(names) -> None:
  got = [n.name for n in vidln._names('oops_train', 'A b')]
  assert got == ['oops_train/A b', 'oops/A b', 'train/A b', 'A b']
  kinetics = vidln._names('kinetics_train', '-_bC-eF_hI-_000010_000020')
  assert rows.VideoName('-_bC-eF_hI-', 10.0, 20.0) in kinetics


def test_traces_of_gigabytes_are_not_kept(write) -> None:
  traces = [[{'x': 0.1, 'y': 0.2, 'time_ms_since_epoch': 1}] * 5000]
  line = narrative('oops_train', 'v', 'Text.')
  line['actor_narratives'][0]['traces'] = traces
  path = write('a.jsonl', [{**line, 'video_id': f'v{n}'} for n in range(30)])
  tracemalloc.start()
  found = list(vidln.read([path]))
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert len(found) == 30
  assert peak < 8e6  # a line is 0.25 MB of text, the file 30 of them


def test_bad_lines(write) -> None:
  good = narrative('oops_train', 'v', 'Text.')
  path = write('a.jsonl', [good, {'dataset_id': 'x', 'video_id': 'y'}])
  with pytest.raises(ValueError, match=r"a.jsonl:2: no 'actor_narratives'"):
    list(vidln.read([path]))
  cut = write('b.jsonl', '{"dataset_id": "oops')
  with pytest.raises(ValueError, match=r'b.jsonl: line 1.*: not JSON.*whole'):
    list(vidln.read([cut]))


def test_oops_qa(write, by_id, names) -> None:
  pair = {'question_id': 'x_question_val_0', 'question': 'who', 'answer': 'boy'}
  content = {
    'dataset': 'oops',
    'split': 'val',
    'annotations': [{'video_name': 'val/A! b_c34', 'qa_pairs': [pair]}],
  }
  (row,) = vidln.read_questions([write('qa_text_output.json', content)])
  assert (row.clip_id, row.split) == ('val/A! b_c34', 'val')
  assert names(row) == ['val/A! b_c34', 'A! b_c34']
  assert row.questions == (rows.Question('who', 'boy', 'x_question_val_0'),)


def test_real_excerpts(excerpt) -> None:
  files = [
    excerpt('vidln/OVIS_train_sample.jsonl'),
    excerpt('vidln/oops_train_sample.jsonl'),
  ]
  found = list(vidln.read(files))
  assert len(found) >= 6
  for row in found:
    assert all(text == text.strip() for text in row.texts)
  assert 'In the background' in found[0].texts[0]
