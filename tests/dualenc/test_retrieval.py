"""Recall, ranks, ties, refusals, intervals: matrices with known answers."""

import json
import math

import numpy as np
import pytest

from dualenc.evals import ranking, retrieval


def ids(n: int) -> list[str]:
  return [f'video{i}' for i in range(n)]


def evaluate(similarity, text_ids=None, video_ids=None, **kwargs):
  similarity = np.asarray(similarity, np.float64)
  video_ids = ids(similarity.shape[1]) if video_ids is None else video_ids
  text_ids = video_ids if text_ids is None else text_ids
  kwargs = {'split': 'test', 'bootstrap': ranking.Bootstrap(0), **kwargs}
  return retrieval.evaluate(similarity, text_ids, video_ids, **kwargs)


def test_known_answer():
  """Ranks 1, 2, 3 for the texts; 2, 1, 2 for the videos."""
  similarity = [[0.9, 0.1, 0.2], [0.95, 0.5, 0.3], [0.8, 0.4, 0.25]]
  scores = evaluate(similarity)
  assert scores['t2v']['R@1'] == pytest.approx(1 / 3)
  assert scores['t2v']['R@5'] == scores['t2v']['R@10'] == 1
  assert scores['t2v']['median_rank'] == 2 == scores['t2v']['mean_rank']
  assert scores['v2t']['R@1'] == pytest.approx(1 / 3)
  assert scores['v2t']['mean_rank'] == pytest.approx(5 / 3)


def test_against_sorting():
  """Without ties a rank is the place in the sorted row."""
  rng = np.random.default_rng(0)
  similarity = rng.normal(size=(40, 40)) + 1.5 * np.eye(40)
  scores = evaluate(similarity)
  for name, matrix in (('t2v', similarity), ('v2t', similarity.T)):
    order = np.argsort(-matrix, axis=1)
    rank = 1 + np.argmax(order == np.arange(40)[:, None], axis=1)
    for k in (1, 5, 10):
      assert scores[name][f'R@{k}'] == pytest.approx(np.mean(rank <= k))
    assert scores[name]['median_rank'] == np.median(rank)
    assert scores[name]['mean_rank'] == pytest.approx(rank.mean())


def test_a_constant_score_is_worth_chance():
  scores = evaluate(np.zeros((21, 21)))
  for name in ('t2v', 'v2t'):
    assert scores[name]['median_rank'] == 11 == scores[name]['mean_rank']
    assert scores[name]['R@1'] == scores[name]['R@10'] == 0
  # Half a place for each equal candidate.
  ranks = ranking.mid_ranks(
    np.array([[1.0, 1.0, 0.0]]), np.array([[True, False, False]])
  )
  assert ranks.tolist() == [1.5]


def test_several_captions_a_video():
  """Each caption asks; a video is right with its best placed caption."""
  text_ids = ['a', 'a', 'b', 'b']
  similarity = [[0.9, 0.0], [0.1, 0.3], [0.8, 0.2], [0.2, 0.7]]
  scores = evaluate(similarity, text_ids, ['a', 'b'])
  assert scores['t2v']['R@1'] == 0.5
  assert scores['t2v']['num_queries'] == 4
  assert scores['v2t']['R@1'] == 1
  assert scores['v2t']['num_queries'] == 2
  # Its other captions do not stand in the way.
  scores = evaluate([[0.9, 0.0], [0.9, 0.0], [0.9, 0.1]], ['a', 'a', 'b'],
                    ['a', 'b'])  # fmt: skip
  assert scores['v2t']['mean_rank'] == pytest.approx((1.5 + 1) / 2)


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(value):
  similarity = np.eye(3)
  similarity[1, 2] = value
  with pytest.raises(ValueError, match='1 of 9 scores are NaN'):
    evaluate(similarity)


@pytest.mark.parametrize(
  ('kwargs', 'message'),
  [
    ({'video_ids': ['a', 'b', 'b']}, r"once in the scored videos: 'b'"),
    ({'annotated_video_ids': ids(4)}, r"1 are missing \('video3'\)"),
    ({'annotated_video_ids': ids(2)}, r"not to be scored \('video2'\)"),
    (
      {'annotated_video_ids': [*ids(3), 'video0']},
      "annotations: 'video0'",
    ),
    ({'known_missing': ['video1']}, r"not to be scored \('video1'\)"),
    ({'known_missing': ['z']}, "1 unavailable ids are not annotated: 'z'"),
    ({'text_ids': ['video0', 'video1', 'x']}, "without a video, such as 'x'"),
    ({'text_ids': ['video0'] * 3}, "without a text, such as 'video1'"),
    ({'text_ids': [*ids(3), 'video0']}, '4 texts and 3 videos'),
  ],
)
def test_refuses_wrong_ids(kwargs, message):
  with pytest.raises(ValueError, match=message):
    evaluate(np.eye(3), **kwargs)


def test_protocol_names_what_was_scored():
  scores = evaluate(
    np.eye(3), annotated_video_ids=ids(5), known_missing=['video3', 'video4']
  )
  protocol = scores['protocol']
  assert protocol['split'] == 'test'
  assert protocol['num_videos'] == 3
  assert protocol['num_videos_annotated'] == 5
  assert protocol['known_missing'] == ['video3', 'video4']
  assert protocol['ties'] == 'mid-rank'
  assert 't2v_dual_softmax' not in scores
  assert json.loads(json.dumps(scores)) == scores


@pytest.mark.parametrize('scale', [0.0, -1.0, math.nan, math.inf])
def test_a_dual_softmax_of_no_scale_is_refused(scale: float):
  """Of NaN every rank would be the first."""
  with pytest.raises(ValueError, match=r'dual_softmax=.*above 0'):
    evaluate(np.eye(3), dual_softmax_scale=scale)


def test_dual_softmax_is_another_figure():
  """A video that all texts like is discounted."""
  similarity = [[0.5, 0.6], [0.1, 0.9]]
  scores = evaluate(similarity, dual_softmax_scale=100.0)
  assert scores['t2v']['R@1'] == 0.5
  assert scores['t2v_dual_softmax']['R@1'] == 1
  assert scores['protocol']['dual_softmax_scale'] == 100
  weighted = retrieval.dual_softmax(np.array(similarity), 2.0, axis=0)
  column = np.exp([1.0, 0.2])
  np.testing.assert_allclose(weighted[:, 0], [0.5, 0.1] * column / column.sum())


def test_intervals_are_seeded_and_cover():
  rng = np.random.default_rng(0)
  similarity = rng.normal(size=(200, 200)) + 2 * np.eye(200)
  bootstrap = ranking.Bootstrap(samples=400, seed=3)
  scores = evaluate(similarity, bootstrap=bootstrap)
  assert scores == evaluate(similarity, bootstrap=bootstrap)
  interval = scores['protocol']['interval_95']
  assert interval == 'bootstrap over videos, 400 samples, seed 3'
  recall = scores['t2v']['R@1']
  low, high = scores['t2v']['interval_95']['R@1']
  normal = 1.96 * np.sqrt(recall * (1 - recall) / 200)
  assert low < recall < high
  assert high - low == pytest.approx(2 * normal, rel=0.2)


def test_intervals_draw_videos_and_not_captions():
  """Twenty copies of a caption are no twenty observations."""
  values = {'x': np.repeat(np.arange(50) % 2, 20).astype(float)}
  groups = np.repeat(np.arange(50), 20)
  bootstrap = ranking.Bootstrap(samples=500)
  low, high = ranking.intervals(values, groups, bootstrap)['x']
  assert high - low == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 50), rel=0.15)
