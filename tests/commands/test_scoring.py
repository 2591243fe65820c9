"""Scores while training, as a recipe asks for them."""

import json

import pytest

from dualenc import eval as dualenc_eval
from vidlm import eval as eval_lib
from vidlm.models import restored

STEPS = 6
CLIPS = "'test_captioning:test'"
RETRIEVAL = "'test_retrieval:test'"


@pytest.fixture(scope='module')
def train(call, commands, tmp_path_factory):
  """Trains a tiny recipe; its MODEL_DIR."""

  def run(program, recipe, folder=None, **macros):
    folder = folder or tmp_path_factory.mktemp(program) / 'run'
    macros = {'TRAIN_STEPS': STEPS, **macros}
    flags = commands.train_flags(recipe, folder, **macros)
    assert call(program, flags) == 0
    return folder

  return run


@pytest.fixture(scope='module')
def plain(train):
  return train('vidlm', 'visual')


@pytest.fixture(scope='module')
def validated(train):
  return train('vidlm', 'visual_validated', EVAL_PERIOD=2)


def test_the_recipe_trains_as_without_scores_to_the_bit(
  plain, validated, tools
):
  ours, theirs = tools.metrics(validated), tools.metrics(plain)
  for step, row in theirs.items():
    for name in ('loss', 'accuracy', 'grad_norm', 'update_norm'):
      assert ours[step][name] == row[name]
    assert not any('eval/' in name for name in row)
  scored = [step for step, row in ours.items() if 'infer_eval/cider' in row]
  assert scored == [2, 4, 6]
  assert 0 < ours[6]['train_eval/loss'] != ours[4]['train_eval/loss']


def test_the_last_score_is_that_of_eval(validated, data, tools):
  scores = eval_lib.evaluate(
    restored.load_vlm(str(validated)),
    eval_lib.EvalConfig(str(data / 'test_captioning'), clips_per_device=1),
  )
  row = tools.metrics(validated)[STEPS]
  for name in ('cider', 'bleu4', 'rouge_l', 'mean_words'):
    assert row[f'infer_eval/{name}'] == pytest.approx(scores[name], abs=1e-9)


def test_the_best_is_on_record_and_can_be_asked_for(validated, tools):
  record = json.loads((validated / 'best.json').read_text())
  ours = {
    step: row['infer_eval/cider']
    for step, row in tools.metrics(validated).items()
    if 'infer_eval/cider' in row
  }
  first = max(ours, key=lambda step: (ours[step], -step))
  assert record == {
    'checkpoint': f'checkpoint_{first}',
    'step': first,
    'name': 'infer_eval/cider',
    'score': ours[first],
  }
  vlm = restored.load_vlm(str(validated / record['checkpoint']))
  assert set(vlm.params) == {'img', 'llm'}


def test_retrieval_while_two_towers_train(train, data, tools):
  macros = {'TRAIN_EVAL': RETRIEVAL, 'INFER_EVAL': RETRIEVAL}
  folder = train(
    'dualenc', 'dualenc', EVAL_PERIOD=4, KEEP_BEST="'t2v/R@5'", **macros
  )
  scores = dualenc_eval.evaluate(
    str(folder), dualenc_eval.EvalConfig(str(data / 'test_retrieval'))
  )
  row = tools.metrics(folder)[STEPS]
  for way in ('t2v', 'v2t'):
    for name in ('R@1', 'R@5', 'median_rank'):
      assert row[f'infer_eval/{way}/{name}'] == pytest.approx(scores[way][name])
  assert 0 < row['train_eval/loss'] < 10
  assert (folder / 'best.json').exists()


def test_answers_by_exact_match_and_several_tasks(train, commands, tools):
  recipe = commands.folder / 'answers.gin'
  recipe.write_text(
    'from __gin__ import dynamic_registration\n'
    'from vidlm.data.feed import tasks\n'
    "include 'configs/miniature/visual.gin'\n"
    'EVAL_PERIOD = 3\n'
    'INFER_EVAL = [@qa/tasks.ClipTask(), @said/tasks.ClipTask()]\n'
    'qa/tasks.ClipTask:\n'
    "  name = 'qa'\n  clips = 'test_qa'\n"
    "  split = 'test'\n  kind = 'question'\n"
    'said/tasks.ClipTask:\n'
    "  name = 'said'\n  clips = 'test_captioning'\n"
    "  split = 'test'\n  limit = 3\n"
  )
  row = tools.metrics(train('vidlm', str(recipe), TRAIN_STEPS=3))[3]
  assert 0 <= row['infer_eval/qa/accuracy'] <= 1
  assert row['infer_eval/said/cider'] >= 0


@pytest.mark.parametrize(
  ('macros', 'message'),
  [
    ({'EVAL_PERIOD': 2}, 'EVAL_PERIOD=2: nothing to score; give TRAIN_EVAL'),
    ({'EVAL_PERIOD': -1}, 'EVAL_PERIOD=-1: need at least 0'),
    ({'TRAIN_EVAL': CLIPS}, 'never scored; give the steps between two'),
    ({'EVAL_STEPS': 2}, 'EVAL_STEPS=2: batches of TRAIN_EVAL'),
    ({'KEEP_BEST': "'loss'"}, "KEEP_BEST='loss': nothing is scored"),
    (
      {'EVAL_PERIOD': 2, 'TRAIN_EVAL': CLIPS, 'KEEP_BEST': "'cider'"},
      "KEEP_BEST 'cider': choose one of train_eval/accuracy, train_eval/loss",
    ),
    ({'EVAL_PERIOD': 2, 'TRAIN_EVAL': 7}, 'TRAIN_EVAL=7: need a split'),
    ({'EVAL_PERIOD': 2, 'TRAIN_EVAL': "'valid'"}, 'valid'),
  ],
)
def test_a_mistake_is_one_line(
  call, commands, capsys, tmp_path, macros, message
):
  capsys.readouterr()
  flags = commands.train_flags('visual', tmp_path / 'run', **macros)
  assert call('vidlm', flags) == 2
  errors = capsys.readouterr().err.splitlines()
  assert not any('Traceback' in line for line in errors)
  assert errors[-1].startswith('error: ') and message in errors[-1]
  assert not (tmp_path / 'run').exists()


def test_a_run_says_how_it_scores_and_what_means_nothing(
  train, commands, caplog
):
  caplog.set_level('INFO')
  recipe = commands.folder / 'one.gin'
  recipe.write_text(
    'from __gin__ import dynamic_registration\n'
    'from vidlm.data.feed import tasks\n'
    "include 'configs/miniature/visual.gin'\n"
    'EVAL_PERIOD = 1\n'
    'INFER_EVAL = @one/tasks.ClipTask()\n'
    'one/tasks.ClipTask:\n'
    "  name = 'one'\n  clips = 'test_captioning'\n"
    "  split = 'test'\n  limit = 1\n"
  )
  train('vidlm', str(recipe), TRAIN_STEPS=2)
  assert (
    'INFER_EVAL: captions of 1 examples, greedy text of at most 64 tokens, 2 '
    "frames, prompt 'Generate the alt-text:', on 1 processes"
  ) in caplog.text
  assert 'WARNING: INFER_EVAL: CIDEr of one clip is always 0' in caplog.text
  # What trains is counted too.
  assert 'task miniature_short_captions: 24 examples; 24 of 24' in caplog.text
