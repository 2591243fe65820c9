"""Exact match to the byte, the diagnostic one, and the majority baseline."""

import pytest

from vidlm.evals import vqa

_TRUTHS = {'1': 'yes', '2': 'no', '3': 'yes', '4': 'red ball'}


def test_exact_is_the_headline():
  predictions = {'1': 'yes', '2': 'No.', '3': 'Yes', '4': 'the red ball'}
  result = vqa.evaluate_answers(predictions, _TRUTHS, split='val')
  assert result['accuracy'] == 0.25
  assert result['normalized_accuracy'] == 1.0
  assert result['majority'] == {'answer': 'yes', 'accuracy': 0.5}
  assert result['n'] == result['protocol']['n_scored'] == 4
  assert result['protocol']['split'] == 'val'


def test_unicode_forms_are_different_bytes():
  result = vqa.evaluate_answers({'1': 'cafe\u0301'}, {'1': 'caf\u00e9'})
  assert result['accuracy'] == 0


def test_majority_of_train_answers():
  result = vqa.evaluate_answers(
    dict(_TRUTHS), _TRUTHS, train_answers=['no', 'no', 'yes']
  )
  assert result['accuracy'] == 1
  assert result['majority'] == {'answer': 'no', 'accuracy': 0.25}
  assert result['protocol']['majority_from'] == 'train answers'


@pytest.mark.parametrize(
  'answer, normal',
  [
    ('The red, ball!', 'red ball'),
    ("don't", 'dont'),
    ('left-hand  side.', 'left hand side'),
    ('A', ''),
  ],
)
def test_normalize(answer: str, normal: str):
  assert vqa.normalize(answer) == normal


@pytest.mark.parametrize(
  'predictions', [{'1': 'yes'}, {**_TRUTHS, '9': 'x'}, [('1', 'a'), ('1', 'b')]]
)
def test_wrong_ids_are_refused(predictions):
  with pytest.raises(ValueError):
    vqa.evaluate_answers(predictions, _TRUTHS)


def test_by_type():
  types = {'1': 'motion', '2': 'motion', '3': 'color', '4': ''}
  predictions = {'1': 'yes', '2': 'yes', '3': 'yes', '4': 'Red ball'}
  result = vqa.evaluate_answers(predictions, _TRUTHS, types=types)
  assert result['by_type'] == {
    'color': {'accuracy': 1, 'n': 1},
    'motion': {'accuracy': 0.5, 'n': 2},
    'untyped': {'accuracy': 0, 'n': 1},
  }
  assert 'by_type' not in vqa.evaluate_answers(predictions, _TRUTHS)


def test_missing_answers_are_wrong_if_allowed():
  result = vqa.evaluate_answers({'1': 'yes'}, _TRUTHS, allow=['missing'])
  assert result['accuracy'] == 0.25
  assert result['protocol']['n_missing_scored_as_empty'] == 3
