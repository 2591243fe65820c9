"""METEOR through NLTK: one text by hand, and what it says where it can't."""

import builtins

import pytest

from vidlm.evals import captioning, meteor, protocols, references


@pytest.fixture
def wordnet():
  corpus = pytest.importorskip('nltk.corpus').wordnet
  try:
    corpus.ensure_loaded()
  except LookupError:
    pytest.skip('WordNet is not installed')


def test_worked_by_hand(wordnet):
  # All three words match in one chunk: 1 - 0.5 / 27.
  whole = 1 - 0.5 * (1 / 3) ** 3
  assert meteor.meteor(['a b c'], [['x', 'a b c']]) == pytest.approx(whole)
  # 'run' is the stem of 'runs'; 'auto' means 'car'.
  assert meteor.meteor(['car runs'], [['auto run']]) == pytest.approx(
    1 - 0.5 * (1 / 2) ** 3
  )
  assert meteor.meteor(['', 'a b c'], [['a'], ['a b c']]) == whole / 2


def test_a_figure_with_a_name_of_its_own(wordnet):
  said, truth = {'v': 'A man runs.'}, {'v': ['a man runs', 'he runs']}
  scores = captioning.evaluate_captions(said, truth, with_meteor=True)
  assert scores['meteor_nltk'] == pytest.approx(1 - 0.5 / 27)
  assert 'not the METEOR 1.5' in scores['protocol']['also']['meteor_nltk']
  assert 'meteor_nltk' not in captioning.evaluate_captions(said, truth)


def test_only_for_captions():
  refs = references.References('test', {'q': ['yes']})
  with pytest.raises(ValueError, match='no --meteor for it, only for captions'):
    protocols.score('answers', [('q', 'yes')], refs, with_meteor=True)


def test_without_nltk_it_says_how_to_get_it(monkeypatch):
  real = builtins.__import__

  def without(name, *args, **kwargs):
    if name.startswith('nltk'):
      raise ImportError(name)
    return real(name, *args, **kwargs)

  monkeypatch.setattr(builtins, '__import__', without)
  with pytest.raises(FileNotFoundError, match=r"pip install 'vidlm\[metrics\]"):
    meteor.meteor(['a'], [['a']])


def test_bad_input():
  with pytest.raises(ValueError, match='1 candidates and 2 items'):
    meteor.meteor(['a'], [['a'], ['b']])
