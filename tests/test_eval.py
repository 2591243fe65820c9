"""`vidlm eval` of a model: its texts reach the score under published ids."""

import dataclasses
import json
import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm import eval as eval_lib
from vidlm.data.store import clip_reader
from vidlm.models import restored

_ANSWERS = {'77': ['dog', 'two'], '78': ['run']}


@pytest.fixture
def folder(tmp_path):
  """Two videos with questions, and a third one that is annotated but gone."""
  rows = [
    clip_reader.ClipRow(
      clip_id=name,
      video=f'{name}.mp4',
      start=0.0,
      end=4.0,
      frames=(b'jpeg',),
      times=(0.0,),
      texts=(f'a {answers[0]}',),
      questions=tuple(f'q{i}' for i in range(len(answers))),
      answers=tuple(answers),
    )
    for name, answers in _ANSWERS.items()
  ]
  clip_reader.write_clips(iter(rows), str(tmp_path), 'toy', 'test')
  return tmp_path


def annotate(folder):
  asked = {**_ANSWERS, '79': ['cat']}
  table = pa.table(
    {
      'clip_id': list(asked),
      'texts': [[f'a {a[0]}'] for a in asked.values()],
      'answers': list(asked.values()),
      'question_ids': [['5', '0'], ['1'], ['3']],
      'kinds': [['color', 'number'], ['motion'], ['color']],
      'more_answers': [[[], []], [[]], [[]]],
    }
  )
  pq.write_table(table, folder / 'annotated-test.parquet')


@pytest.fixture
def model(monkeypatch):
  """A model that says 'dog' to everything, without weights."""

  def predict(vlm, task, **kwargs):
    del vlm, kwargs
    return dict.fromkeys(task.examples().ids, 'dog')

  fake = types.SimpleNamespace(vocabulary=None, num_frames=4)
  monkeypatch.setattr(restored, 'load_vlm', lambda checkpoint: fake)
  monkeypatch.setattr(eval_lib, 'predict', predict)


def test_own_questions(folder, model, tmp_path):
  output = tmp_path / 'scores.json'
  scores = eval_lib.evaluate(
    'run', eval_lib.EvalConfig(str(folder), kind='question'), str(output)
  )
  assert scores['accuracy'] == pytest.approx(1 / 3)
  assert scores['predictions'] == {'77': 'dog', '77#1': 'dog', '78': 'dog'}
  assert scores['protocol']['task'] == 'answers'
  assert json.loads(output.read_text()) == scores


def test_a_published_set_by_name(folder, model):
  annotate(folder)
  config = eval_lib.EvalConfig(str(folder), task='activitynet_qa')
  with pytest.raises(ValueError, match=r"1 are missing \('3'\)"):
    eval_lib.evaluate('run', config)
  scores = eval_lib.evaluate(
    'run', dataclasses.replace(config, allow=['unavailable'])
  )
  assert scores['by_type'] == {
    'color': {'accuracy': 1, 'n': 1},
    'motion': {'accuracy': 0, 'n': 1},
    'number': {'accuracy': 0, 'n': 1},
  }
  assert scores['protocol']['unavailable_ids'] == ['3']
  assert scores['protocol']['published_size'] == 8000
  assert set(scores['predictions']) == {'5', '0', '1'}


def test_captions_of_a_clip_set(folder, model):
  scores = eval_lib.evaluate('run', eval_lib.EvalConfig(str(folder)))
  assert scores['n'] == 2 and scores['protocol']['task'] == 'captions'
  with pytest.raises(ValueError, match="task 'labels': choose one of"):
    eval_lib.evaluate('run', eval_lib.EvalConfig(str(folder), kind='labels'))
