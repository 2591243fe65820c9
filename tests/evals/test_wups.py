"""WUPS by hand on a lexicon of five words, and as published on real data."""

import csv
import json
import pathlib
import time
from collections.abc import Sequence

import pytest

from vidlm.evals import treebank, wordnet, wups

_NEXT_OE = pathlib.Path(__file__).parents[3] / 'shared/annotations/next_oe'
# Made by the published script on the published predictions, nltk 3.3, pywsd
# 1.2.4, times 100.
_PUBLISHED = {
  'CW': 13.56,
  'CH': 18.14,
  'TN': 11.53,
  'TC': 19.73,
  'DB': 57.76,
  'DC': 38.02,
  'DL': 43.71,
  'DO': 44.95,
}
_GROUPS = {'C': 14.76, 'T': 14.90, 'D': 46.60}


_ALIKE = {
  ('dog', 'cat'): 0.86,
  ('dog', 'animal'): 0.95,
  ('run', 'walk'): 0.5,
}


class _Lexicon:
  """Words are their own lemmas but for a plural s."""

  name = 'made up'

  def lemmas(self, text: str) -> Sequence[str]:
    return [w.rstrip('s') if len(w) > 2 else w for w in text.lower().split()]

  def similarity(self, first: str, second: str) -> float:
    if first == second:
      return 1.0
    pair = (first, second)
    return _ALIKE.get(pair, _ALIKE.get(pair[::-1], 0.0))


def score(said: str, truth: str, threshold: float = 0.0) -> float:
  lexicon = _Lexicon()
  texts = [wups.content(text, lexicon) for text in (said, truth)]
  return wups.wups(*texts, threshold, lexicon)


@pytest.mark.parametrize(
  'said, truth, expected',
  [
    ('the dogs', 'dog', 1.0),  # stop words don't count
    ('dog', 'cat', 0.86),
    ('dog run', 'cat walk', 0.86 * 0.5),
    ('dog red', 'dog', 1.0),  # a word like none of the others is skipped
    ('dog cat', 'dog', 0.86),  # the worse of both directions
    ('red', 'dog', 0.0),
    ('', 'dog', 0.0),
    ('the', 'the', 0.0),  # nothing is left of either
    ('not', 'not', 1.0),  # negations are no stop words here
  ],
)
def test_worked_by_hand(said: str, truth: str, expected: float):
  assert score(said, truth) == pytest.approx(expected)


def test_below_the_threshold_a_tenth():
  assert score('dog', 'cat', 0.9) == pytest.approx(0.086)
  assert score('dog', 'animal', 0.9) == pytest.approx(0.95)


def evaluate(said: dict[str, str], **kwargs):
  truths = {
    'v_0': ['dog'],
    'v_1': ['two'],
    'v_2': ['run', 'walk'],
    'v_3': ['run'],
  }
  types = {'v_0': 'DO', 'v_1': 'DC', 'v_2': 'TP', 'v_3': 'TN'}
  return wups.evaluate_wups(
    said, truths, types, lexicon=_Lexicon(), split='test', **kwargs
  )


def test_types_groups_and_protocol():
  scores = evaluate({'v_0': 'cat', 'v_1': '2', 'v_2': 'walks', 'v_3': 'walk'})
  assert scores['by_type']['DC']['wups'] == 0  # exact match
  assert scores['by_type']['DO']['wups'] == pytest.approx(0.86)
  assert 'TP' not in scores['by_type']
  assert scores['by_type']['TN'] == {
    'wups': pytest.approx(0.75),  # 1 by the second reference, and 0.5
    'wups_0.9': pytest.approx((1 + 0.05) / 2),
    'n': 2,
  }
  assert scores['by_group']['D']['wups'] == pytest.approx(0.43)
  assert scores['wups'] == pytest.approx((0.86 + 0 + 1 + 0.5) / 4)
  protocol = scores['protocol']
  assert protocol['additional_references'] == 1
  assert protocol['lexicon'] == 'made up'
  assert json.loads(json.dumps(scores)) == scores


def test_refusals():
  with pytest.raises(ValueError, match='3 are missing'):
    evaluate({'v_0': 'cat'})
  assert evaluate({'v_0': 'cat'}, allow=['missing'])['n'] == 4
  with pytest.raises(ValueError, match=r"1 questions have no type: \['a'\]"):
    wups.evaluate_wups({'a': 'x'}, {'a': ['x']}, {}, lexicon=_Lexicon())


@pytest.mark.parametrize(
  'text, tokens',
  [
    ("he can't, it's", ['he', 'ca', "n't", ',', 'it', "'s"]),
    ('Dr. A. Lee runs. He (then) stops.', [
      'Dr.', 'A.', 'Lee', 'runs', '.', 'He', '(', 'then', ')', 'stops', '.']),
    ('say "cannot": 3.5', ['say', '``', 'can', 'not', "''", ':', '3.5']),
    ("'tis gonna", ["'t", 'is', 'gon', 'na']),
    ('', []),
  ],
)  # fmt: skip
def test_tokens(text: str, tokens: list[str]):
  assert treebank.tokenize(text) == tokens


def test_says_how_to_get_wordnet(monkeypatch: pytest.MonkeyPatch):
  data = pytest.importorskip('nltk.data')
  monkeypatch.setattr(data, 'path', [])
  # What an earlier test has loaded stays loaded: ask for it anew.
  corpus = pytest.importorskip('nltk.corpus')
  reader = pytest.importorskip('nltk.corpus.reader')
  lazy = corpus.LazyCorpusLoader('wordnet', reader.WordNetCorpusReader, None)
  monkeypatch.setattr(corpus, 'wordnet', lazy)
  with pytest.raises(FileNotFoundError, match='NLTK_DATA') as caught:
    wordnet.WordNet()
  assert '\n' not in str(caught.value)


@pytest.fixture(scope='module')
def lexicon() -> wordnet.WordNet:
  """WordNet, where it is installed."""
  data = pytest.importorskip('nltk.data')
  shared = _NEXT_OE.parents[1] / 'nltk_data'
  if shared.exists() and str(shared) not in data.path:
    data.path.append(str(shared))
  try:
    return wordnet.WordNet()
  except FileNotFoundError:
    pytest.skip('WordNet is not here')


def test_wordnet(lexicon: wordnet.WordNet):
  assert lexicon.similarity('dog', 'cat') == pytest.approx(0.857, abs=1e-3)
  # With a root above both only where the first is a verb: 0 the other way.
  assert lexicon.similarity('eat', 'dog') > 0
  assert lexicon.similarity('dog', 'eat') == 0
  assert lexicon.similarity('xyzzy', 'dog') == 0
  assert lexicon.lemmas('The dogs were running quickly') == (
    'the', 'dog', 'be', 'run', 'quickly',
  )  # fmt: skip


@pytest.mark.skipif(not _NEXT_OE.exists(), reason='no NExT-OE here')
def test_published_figures(lexicon: wordnet.WordNet):
  listed = (_NEXT_OE / 'stopwords.txt').read_text().split()
  assert set(listed) == wups.STOP_WORDS
  with (_NEXT_OE / 'val_full.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  said = json.loads((_NEXT_OE / 'hga_val_predictions.json').read_text())
  ids = [f'{row["video"]}_{row["qid"]}' for row in rows]
  started = time.process_time()  # a busy machine is not our fault
  scores = wups.evaluate_wups(
    {f'{v}_{q}': text for v, of in said.items() for q, text in of.items()},
    {key: [row['answer']] for key, row in zip(ids, rows, strict=True)},
    {key: row['type'] for key, row in zip(ids, rows, strict=True)},
    lexicon=lexicon,
  )
  assert time.process_time() - started < 30
  assert 100 * scores['wups'] == pytest.approx(21.48, abs=0.02)
  for group, value in _GROUPS.items():
    found = 100 * scores['by_group'][group]['wups']
    assert found == pytest.approx(value, abs=0.05), group
  for kind, value in _PUBLISHED.items():
    found = 100 * scores['by_type'][kind]['wups']
    assert found == pytest.approx(value, abs=0.05), kind
  assert scores['wups_0.9'] < scores['wups']
