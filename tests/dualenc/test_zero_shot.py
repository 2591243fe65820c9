"""Templates and zero-shot classification."""

import numpy as np
import pytest

from dualenc.evals import classification, prompts


def test_presets():
  assert prompts.presets() == ('kinetics_openai', 'kinetics_viclip', 'plain')
  openai = prompts.load('kinetics_openai')
  assert len(openai) == len(set(openai)) == 28
  assert openai[0] == 'a photo of {}.'
  assert openai[16] == 'a example of a person using {}.'
  viclip = prompts.load('kinetics_viclip')
  assert len(viclip) == len(set(viclip)) == 28
  assert viclip[:3] == (
    'A photo of action {}.', 'A video of action {}.', 'He or she is {}.',
  )  # fmt: skip
  assert prompts.load('plain') == ('{}',)


def test_own_templates(tmp_path):
  path = tmp_path / 'mine.txt'
  path.write_text('# mine\n\nlook: {}!\n')
  assert prompts.load(str(path)) == ('look: {}!',)
  path.write_text('no place\n')
  with pytest.raises(ValueError, match='no place'):
    prompts.load(str(path))
  path.write_text('# nothing\n')
  with pytest.raises(ValueError, match='no template'):
    prompts.load(str(path))
  with pytest.raises(ValueError, match='kinetics_openai'):
    prompts.load('kinetics')


def test_fill_leaves_braces_alone():
  assert prompts.fill(['{} and {}'], '{0}') == ['{0} and {0}']


def test_class_embeddings_are_means_of_unit_vectors():
  vectors = {
    'a cat': [2.0, 0.0], 'one cat': [0.0, 5.0],
    'a dog': [-1.0, 0.0], 'one dog': [-3.0, 0.0],
  }  # fmt: skip
  calls = []

  def embed(sentences):
    calls.append(sentences)
    return np.array([vectors[s] for s in sentences], np.float32)

  embeddings = classification.class_embeddings(
    embed, ['cat', 'dog'], ['a {}', 'one {}']
  )
  half = np.sqrt(0.5)
  np.testing.assert_allclose(embeddings, [[half, half], [-1, 0]], rtol=1e-6)
  assert len(calls) == 1
  with pytest.raises(ValueError, match="'cat' is named twice"):
    classification.class_embeddings(embed, ['cat', 'cat'], ['a {}'])


def evaluate(scores, labels, **kwargs):
  clip_ids = [str(i) for i in range(len(labels))]
  kwargs = {'split': 'val', 'templates': 'plain', **kwargs}
  return classification.evaluate(
    np.asarray(scores, np.float32), np.asarray(labels), clip_ids, **kwargs
  )


def test_accuracy():
  """The label is best, sixth, and tied for first with one other."""
  scores = [
    [9, 1, 2, 3, 4, 5, 6],
    [7, 6, 5, 4, 3, 2, 1],
    [1, 1, 0, 0, 0, 0, 0],
  ]
  result = evaluate(scores, [0, 5, 1])
  assert result['top1'] == pytest.approx(1 / 3)
  assert result['top5'] == pytest.approx(2 / 3)
  low, high = result['interval_95']['top1']
  assert 0 <= low <= 1 / 3 <= high <= 1
  assert result['protocol']['templates'] == 'plain'
  assert result['protocol']['chance_top5'] == pytest.approx(5 / 7)
  assert result['protocol']['num_clips_annotated'] == 3


def test_a_constant_score_is_worth_nothing():
  result = evaluate(np.ones((4, 20)), [0, 1, 2, 3])
  assert result['top1'] == result['top5'] == 0


def test_refusals():
  scores = np.eye(3)
  with pytest.raises(ValueError, match='NaN'):
    evaluate(scores * np.nan, [0, 1, 2])
  with pytest.raises(ValueError, match='3 classes'):
    evaluate(scores, [0, 1, 3])
  with pytest.raises(ValueError, match='3 rows'):
    evaluate(scores, [0, 1])
  with pytest.raises(ValueError, match=r"scored clips do not.*\('3'\)"):
    evaluate(scores, [0, 1, 2], annotated_clip_ids=list('0123'))
