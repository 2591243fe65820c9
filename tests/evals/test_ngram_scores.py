"""BLEU-4 and ROUGE-L against pycocoevalcap's scorers on made-up corpora."""

import random

import pytest

from vidlm.evals import bleu, rouge

_WORDS = ('a', 'the', 'man', 'dog', 'red', 'ball', 'runs', 'over', 'left')


def _corpus(seed: int, items: int) -> tuple[list[str], list[list[str]]]:
  rng = random.Random(seed)

  def caption(least: int) -> str:
    return ' '.join(rng.choices(_WORDS, k=rng.randint(least, 12)))

  truths = [
    [caption(1) for _ in range(rng.randint(1, 5))] for _ in range(items)
  ]
  candidates = [
    rng.choice([caption(0), own[0], own[-1] + ' a ball', 'xyz'])
    for own in truths
  ]
  return candidates, truths


@pytest.mark.parametrize('items', [1, 3, 60])
@pytest.mark.parametrize('seed', range(5))
def test_equal_pycocoevalcap(seed: int, items: int):
  theirs_bleu = pytest.importorskip('pycocoevalcap.bleu.bleu')
  theirs_rouge = pytest.importorskip('pycocoevalcap.rouge.rouge')
  candidates, truths = _corpus(seed, items)
  keyed = dict(enumerate(truths)), {i: [c] for i, c in enumerate(candidates)}
  theirs, _ = theirs_bleu.Bleu(4).compute_score(*keyed, verbose=0)
  assert bleu.bleu4(candidates, truths) == pytest.approx(theirs[3], abs=1e-12)
  theirs, _ = theirs_rouge.Rouge().compute_score(*keyed)
  assert rouge.rouge_l(candidates, truths) == pytest.approx(theirs, abs=1e-12)


def test_worked_by_hand():
  # 4 of 5 words, 2 of 4 pairs, 1 of 3 triples, 0 of 2 fours.
  assert bleu.bleu4(['a b c x d'], [['a b c d d']]) < 1e-3
  assert bleu.bleu4(['a b c d'], [['a b c d']]) == pytest.approx(1)
  # LCS 2 of 3 and 2 of 4 words.
  value = (1 + 1.44) * (2 / 3) * (1 / 2) / (1 / 2 + 1.44 * 2 / 3)
  assert rouge.rouge_l(['a b x'], [['a y b z']]) == pytest.approx(value)


@pytest.mark.parametrize('score', [bleu.bleu4, rouge.rouge_l])
def test_bad_input(score):
  with pytest.raises(ValueError, match='got 0 candidates'):
    score([], [])
  with pytest.raises(ValueError, match='1 candidates and 2 items'):
    score(['a'], [['a'], ['b']])
