"""CIDEr-D against pycocoevalcap's scorer on made-up corpora."""

import random

import numpy as np
import pytest

from vidlm.evals import cider

_WORDS = ('a', 'the', 'man', 'dog', 'red', 'ball', 'runs', 'over', 'left')


def _corpus(
  rng: random.Random, items: int, references: int
) -> tuple[list[str], list[list[str]]]:
  def caption() -> str:
    return ' '.join(rng.choices(_WORDS, k=rng.randint(0, 14)))

  candidates, truths = [], []
  for _ in range(items):
    own = [caption() for _ in range(rng.randint(1, references))]
    truths.append(own)
    candidates.append(
      rng.choice([caption(), own[0], own[0] + ' a ball', 'xyz'])
    )
  return candidates, truths


@pytest.mark.parametrize(
  'items, references', [(1, 1), (2, 3), (50, 1), (80, 6)]
)
def test_equals_pycocoevalcap(items: int, references: int):
  scorer = pytest.importorskip('pycocoevalcap.cider.cider')
  candidates, truths = _corpus(random.Random(items), items, references)
  score, scores = scorer.Cider().compute_score(
    {i: refs for i, refs in enumerate(truths)},
    {i: [caption] for i, caption in enumerate(candidates)},
  )
  ours = cider.cider_d(candidates, truths)
  assert abs(ours.score - score) <= 1e-9
  np.testing.assert_allclose(ours.scores, scores, rtol=0, atol=1e-9)


def test_bounds():
  truths = [['a red ball rolls left'], ['the dog jumps over it']]
  assert cider.cider_d([t[0] for t in truths], truths).score == pytest.approx(
    10
  )
  assert cider.cider_d(['x y z', ''], truths).score == 0


def test_one_item_scores_zero_as_in_the_reference():
  assert cider.cider_d(['a red ball'], [['a red ball']]).score == 0


@pytest.mark.parametrize(
  'candidates, truths, message',
  [
    (['a'], [], 'got 1 candidates and 0 items'),
    ([], [], 'got 0 candidates'),
    (['a', 'b'], [['a'], []], r'items \[1\] \(1 in all\) have no reference'),
  ],
)
def test_bad_input(candidates: list, truths: list, message: str):
  with pytest.raises(ValueError, match=message):
    cider.cider_d(candidates, truths)
