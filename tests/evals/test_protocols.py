"""Evaluations by name, from files: what a user types to compare numbers."""

import argparse
import json
import pathlib
from typing import Any

import pytest

from vidlm.commands import eval
from vidlm.core import command_line
from vidlm.evals import (
  densevid,
  file_scores,
  prediction_files,
  protocols,
  references,
)

S = densevid.Segment
_SHARED = pathlib.Path(__file__).parents[3] / 'shared'


def write(path: pathlib.Path, value: Any) -> str:
  path.write_text(value if isinstance(value, str) else json.dumps(value))
  return str(path)


def test_help_names_every_task():
  parser = argparse.ArgumentParser()
  eval.add_flags(parser)
  text = ' '.join(parser.format_help().split())
  for task in protocols.PROTOCOLS:
    assert task in text


@pytest.mark.parametrize(
  'content',
  [
    {'a': 'yes', 'b': 'no'},
    {'a': ['yes'], 'b': ['no']},
    {'accuracy': 1.0, 'predictions': {'a': 'yes', 'b': 'no'}},
    [{'question_id': 'a', 'answer': 'yes'}, {'id': 'b', 'prediction': 'no'}],
    [{'image_id': 'a', 'caption': 'yes'}, {'image_id': 'b', 'caption': 'no'}],
  ],
)
def test_shapes_of_json(tmp_path: pathlib.Path, content: Any):
  path = write(tmp_path / 'p.json', content)
  assert prediction_files.read_predictions(path) == [('a', 'yes'), ('b', 'no')]


def test_other_shapes(tmp_path: pathlib.Path):
  rows = '{"clip_id": "a", "text": "x"}\n\n{"clip_id": "b", "text": "y"}\n'
  path = write(tmp_path / 'p.jsonl', rows)
  assert prediction_files.read_predictions(path) == [('a', 'x'), ('b', 'y')]
  path = write(tmp_path / 'p.csv', 'id,answer\na,"x, y"\n')
  assert prediction_files.read_predictions(path) == [('a', 'x, y')]
  path = write(tmp_path / 'p.json', {'7': {'0': 'x', '1': 'y'}})
  assert prediction_files.read_predictions(path) == [('7_0', 'x'), ('7_1', 'y')]


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    ('{"a": "x"', 'line 1, column 10: not JSON'),
    ('3', 'neither an object nor a list'),
    ('["x"]', 'row 1: not an object'),
    (
      '[{"id": "a", "says": "x"}]',
      'known to hold the predictions; it has id, says; name it by '
      '--prediction_column=',
    ),
    ('[{"whose": "a", "pred": "x"}]', 'known to hold ids; it has whose, pred'),
    ('{"a": ["x", "y"]}', "prediction of 'a' is no text"),
    ('{"a": null}', "prediction of 'a' is no text"),
    ('{}', 'p.json: no prediction in it'),
  ],
)
def test_mistakes_in_files(tmp_path: pathlib.Path, content: str, message: str):
  path = write(tmp_path / 'p.json', content)
  with pytest.raises(ValueError, match=message):
    prediction_files.read_predictions(path)


def test_a_mistake_in_jsonl_has_its_line(tmp_path: pathlib.Path):
  path = write(tmp_path / 'p.jsonl', '{"id": "a", "text": "x"}\n\n{"id"\n')
  with pytest.raises(ValueError, match='line 3, column 6: not JSON'):
    prediction_files.read_predictions(path)


@pytest.mark.parametrize('value', [1, None, float('nan'), {}, ['x', 2]])
def test_annotations_are_texts(tmp_path: pathlib.Path, value: Any):
  path = write(tmp_path / 't.json', [{'id': 'a', 'answer': value}])
  with pytest.raises(ValueError, match=r't.json: .*no text'):
    references.from_file(path, 'question', 'test')


@pytest.mark.parametrize(
  ('results', 'message'),
  [
    ([1], '"results" is no object of videos'),
    ({'v_a': [{'sentence': 3, 'timestamp': [0, 1]}]}, 'v_a needs a list'),
    ({'v_a': [{'sentence': 'x', 'timestamp': ['0', 1]}]}, 'v_a needs a list'),
    ({'v_a': [{'sentence': 'x', 'timestamp': [0, float('nan')]}]}, 'seconds'),
    ({'v_a': [{'sentence': 'x', 'timestamp': [0]}]}, 'v_a needs a list'),
  ],
)
def test_mistakes_in_submissions(
  tmp_path: pathlib.Path, results: Any, message: str
):
  path = write(tmp_path / 'p.json', {'results': results})
  with pytest.raises(ValueError, match=message):
    prediction_files.read_submission(path)


def test_a_key_twice_in_json_is_seen(tmp_path: pathlib.Path):
  said = write(tmp_path / 'p.json', '{"a": "x", "a": "y"}')
  truth = write(tmp_path / 't.json', {'a': 'x'})
  options = {'predictions': said, 'task': 'answers', 'annotations': [truth]}
  with pytest.raises(ValueError, match='more than once'):
    file_scores.evaluate_file(**options)
  scores = file_scores.evaluate_file(**options, allow=['duplicates', 'perfect'])
  assert scores['accuracy'] == 1
  assert scores['protocol']['n_duplicate'] == 1


def run(*argv: str) -> int:
  """Runs `vidlm eval` but for JAX."""
  command = command_line.Command(
    'eval', '', eval.add_flags, eval.run, uses_jax=False
  )
  return command_line.run('vidlm', '', [command], ['eval', *argv])


def test_command_scores_a_file(
  tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
):
  said = write(tmp_path / 'p.json', {'v1': 'a man runs', 'v2': 'a dog sits'})
  rows = 'video,caption,split\n'
  rows += 'v1.mp4,a man runs,test\nv2.mp4,a dog,test\nv3.mp4,a cat,val\n'
  truth = write(tmp_path / 'smit.csv', rows)
  output = str(tmp_path / 'out' / 'scores.json')
  flags = ('--task=smit_captions', f'--predictions={said}')
  assert run(*flags, f'--annotations={truth}', f'--output={output}') == 0
  shown = json.loads(capsys.readouterr().out)
  assert 'cider_per_item' not in shown
  assert shown['protocol']['task'] == 'smit_captions'
  assert shown['protocol']['split'] == 'test'
  assert shown['protocol']['headline'] == 'cider'
  kept = json.loads(pathlib.Path(output).read_text())
  assert kept['cider'] == shown['cider'] > 0


@pytest.mark.parametrize(
  ('flags', 'message'),
  [
    ([], 'give --checkpoint=DIR and --clip_dataset=DIR, or --predictions'),
    (['--predictions=p'], 'give --task=NAME'),
    (['--predictions=p', '--checkpoint=c'], 'choose one'),
    (['--predictions=p', '--task=no'], "task 'no': choose one of captions"),
    (['--predictions=p', '--task=NExT-OE'], "did you mean 'next_oe'?"),
    (['--predictions=p', '--task=msrvtt_1ka'], 'tasks of `dualenc eval`'),
    (['--predictions=p', '--task=answers', '--num_frames=8'], '--num_frames'),
    (['--predictions=p', '--task=answers', '--output=.'], 'is a folder'),
    (['--predictions=p', '--task=answers'], 'give --annotations=FILE'),
    (['--predictions=p', '--allow=x'], "'x' is not one of missing"),
  ],
)
def test_mistakes_on_the_command_line(
  flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
  with pytest.raises(SystemExit) as caught:
    run(*flags)
  assert message in capsys.readouterr().err + str(caught.value)


_SEGMENTS = [
  {'clip_id': 'v_a[0-10]', 'texts': ['a man runs']},
  {'clip_id': 'v_a[0-10]~2', 'texts': ['he is fast']},
  {'clip_id': 'v_b-_[1.5-9.25]', 'texts': ['a dog jumps over it']},
  {'clip_id': 'v_b-_[9-12]', 'texts': ['they stop and talk']},
]


def test_segments_two_ways(tmp_path: pathlib.Path):
  """A submission is scored per segment and per video, and says which."""
  refs = references.build(_SEGMENTS, 'caption', 'val_2')
  submission = {
    'version': 'VERSION 1.0',
    'results': {
      'v_a': [
        {'sentence': 'a man runs', 'timestamp': [0, 10]},
        {'sentence': 'he runs', 'timestamp': [0.0, 10.0]},
      ],
      'v_b-_': [
        {'sentence': 'a dog jumps', 'timestamp': [1.5, 9.25]},
        {'sentence': 'they talk', 'timestamp': [9, 12]},
      ],
    },
  }
  path = write(tmp_path / 'p.json', submission)
  segments = protocols.score_file('activitynet_captions_segments', path, refs)
  videos = protocols.score_file('activitynet_captions_densevid', path, refs)
  assert (segments['n'], videos['n']) == (4, 2)
  assert segments['cider'] != videos['cider']
  assert videos['protocol']['proposals'] == 'of the submission'
  # The same texts by id are the same score.
  flat = write(tmp_path / 'flat.json', dict(references.segment_ids(
    prediction_files.read_submission(path))))  # fmt: skip
  for task, scores in (
    ('activitynet_captions_segments', segments),
    ('activitynet_captions_densevid', videos),
  ):
    again = protocols.score_file(task, flat, refs)
    assert again['cider'] == pytest.approx(scores['cider'])
  assert again['protocol']['proposals'] == 'annotated'


_VAL = (
  {'v_a': {'timestamps': [[0, 10], [4, 9]], 'sentences': ['a man', 'he runs']}},
  {
    'v_a': {'timestamps': [[0, 10]], 'sentences': ['a man runs fast']},
    'v_b': {'timestamps': [[1, 2]], 'sentences': ['a red dog']},
  },
)


def test_densevid_pools_both_annotators(tmp_path: pathlib.Path):
  """As densevid_eval does by default; ids that both have stay apart."""
  paths = [write(tmp_path / f'val_{n}.json', v) for n, v in enumerate(_VAL, 1)]
  task = 'activitynet_captions_densevid'
  refs = protocols.read_references(task, paths, split='val_1,val_2')
  assert list(refs.texts) == [
    'v_a[0-10]', 'v_a[4-9]', 'v_a[0-10]~val_2', 'v_b[1-2]']  # fmt: skip
  assert {v: len(s) for v, s in refs.segments().items()} == {'v_a': 3, 'v_b': 1}
  said = {'v_a[0-10]': 'a man runs', 'v_b[1-2]': 'a dog'}
  scores = protocols.score(task, said.items(), refs)
  assert scores['protocol']['split'] == 'val_1,val_2'
  truths = {
    'v_a': [S(0, 10, 'a man'), S(4, 9, 'he runs'), S(0, 10, 'a man runs fast')],
    'v_b': [S(1, 2, 'a red dog')],
  }
  expected = densevid.evaluate_densevid(
    {'v_a': [S(0, 10, 'a man runs')], 'v_b': [S(1, 2, 'a dog')]}, truths
  )
  assert scores['by_tiou'] == expected['by_tiou']
  alone = protocols.read_references(task, paths)
  assert alone.split == 'val_2' and len(alone.texts) == 2
  with pytest.raises(ValueError, match="no split 'val_3'"):
    protocols.read_references(task, paths, split='val_1,val_3')
  empty = write(tmp_path / 'val_2.json', {})
  with pytest.raises(ValueError, match='nothing is annotated in'):
    protocols.read_references(task, [empty])


def test_the_published_size_is_that_of_the_published_split():
  rows = [
    {'clip_id': 'a', 'texts': ['a man']},
    {'clip_id': 'b', 'texts': ['x']},
  ]
  sizes = [
    protocols.score(
      'msrvtt_captions',
      [('a', 'a man'), ('b', 'y')],
      references.build(rows, 'caption', split),
    )['protocol']['published_size']
    for split in ('test', 'val')
  ]
  assert sizes == [2990, None]


def test_questions_are_called_as_their_set_calls_them():
  rows = [
    {
      'clip_id': '77',
      'answers': ['dog', 'two'],
      'question_ids': ['5', '0'],
      'kinds': ['DO', 'DC'],
      'more_answers': [['cat'], []],
    },
    {'clip_id': '78', 'answers': ['run']},
  ]
  refs = references.build(rows, 'question', 'test', per_video=True)
  assert refs.texts == {'77_5': ['dog', 'cat'], '77_0': ['two'], '78': ['run']}
  assert refs.published == {'77': '77_5', '77#1': '77_0', '78': '78'}
  assert refs.types == {'77_5': 'DO', '77_0': 'DC'}
  with pytest.raises(ValueError, match='no question'):
    references.build([], 'question', 'test')


@pytest.mark.skipif(not _SHARED.exists(), reason='no real annotations here')
def test_real_annotations_score_themselves(tmp_path: pathlib.Path):
  pytest.importorskip('vidlm.data.sets.registry')
  folder = _SHARED / 'annotations'
  said = folder / 'next_oe/hga_val_predictions.json'
  truth = str(folder / 'next_oe/val_full.csv')
  refs = protocols.read_references('next_oe', [truth])
  found = prediction_files.read_predictions(said)
  assert {key for key, _ in found} == set(refs.texts)
  assert refs.split == 'val' and set(refs.types.values()) > {'CW', 'TP'}
  folder = folder / 'activitynet_qa'
  files = [str(folder / f'val_{part}.json') for part in 'qa']
  refs = protocols.read_references('activitynet_qa', files, split='val')
  scores = protocols.score(
    'activitynet_qa', {k: t[0] for k, t in refs.texts.items()}.items(), refs
  )
  assert scores['accuracy'] == 1
  assert len(scores['by_type']) > 1
  truth = str(_SHARED / 'annotations/msrvtt/msrvtt_caption_test.json')
  refs = protocols.read_references('msrvtt_captions', [truth])
  assert set(map(len, refs.texts.values())) == {20}
  perfect = [(key, texts[0]) for key, texts in refs.texts.items()]
  scores = protocols.score('msrvtt_captions', perfect, refs)
  assert scores['bleu4'] == pytest.approx(1)
  assert scores['protocol']['published_size'] == 2990
