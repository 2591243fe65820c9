"""Zero-shot text-to-video and video-to-text retrieval.

Recall is a fraction, ties count as mid-ranks, and the protocol stands beside
the numbers: public evaluations disagree about ties, captions and re-ranking,
and figures of different protocols look alike.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from dualenc.evals import ranking
from vidlm.core import ids

RECALLS = (1, 5, 10)


def evaluate(
  similarity: Float[np.ndarray, 'q v'],
  text_video_ids: Sequence[str],
  video_ids: Sequence[str],
  *,
  split: str,
  annotated_video_ids: Sequence[str] | None = None,
  known_missing: Sequence[str] = (),
  dual_softmax_scale: float | None = None,
  bootstrap: ranking.Bootstrap = ranking.Bootstrap(),
) -> dict[str, Any]:
  """Scores a similarity matrix in both directions.

  With several captions a video, text-to-video asks with each caption, and
  video-to-text takes the best placed of the video's captions among all texts,
  its other captions not counting as wrong.

  Args:
    similarity: Higher is closer.
    text_video_ids: For each text, the id of its video.
    video_ids: For each column, the id of the video.
    split: Name of the split, for the protocol.
    annotated_video_ids: All ids of the split; None for `video_ids`.
    known_missing: Annotated ids that are not scored, such as videos that are
      gone. Any other difference is an error.
    dual_softmax_scale: If given, adds `t2v_dual_softmax` and
      `v2t_dual_softmax`, see `dual_softmax`. Never mixed with the plain ones.
    bootstrap: What the 95 % intervals are of.

  Returns:
    `t2v` and `v2t`, each with R@1, R@5, R@10 (fractions), median_rank,
    mean_rank and `interval_95`, and `protocol`, in which `meaningless` names
    the recalls that could be no other.

  Raises:
    ValueError: If scores are not finite, ids are missing, extra or double, or
      shapes don't fit.
  """
  ranking.check_scores(similarity, 'similarity')
  annotated = video_ids if annotated_video_ids is None else annotated_video_ids
  ids.require_same(video_ids, annotated, known_missing, 'scored videos')
  target = match_texts(text_video_ids, video_ids)
  shape = (len(text_video_ids), len(video_ids))
  if similarity.shape != shape:
    raise ValueError(
      f'similarity: shape {similarity.shape}, but there are {shape[0]} texts '
      f'and {shape[1]} videos.'
    )
  result = _both(similarity, similarity, target, '', bootstrap)
  if dual_softmax_scale is not None:
    check_scale(dual_softmax_scale)
    t2v = dual_softmax(similarity, dual_softmax_scale, axis=0)
    v2t = dual_softmax(similarity, dual_softmax_scale, axis=1)
    result |= _both(t2v, v2t, target, '_dual_softmax', bootstrap)
  meaningless = _meaningless(target, shape)
  result['protocol'] = {
    'task': 'retrieval',
    'split': split,
    'num_videos': len(video_ids),
    'num_videos_annotated': len(annotated),
    'known_missing': sorted(known_missing),
    'num_texts': len(text_video_ids),
    'ties': ranking.TIE_RULE,
    't2v': 'each text asks among all videos',
    'v2t': 'best placed of the own texts among all texts',
    'interval_95': f'bootstrap over videos, {bootstrap}',
    'dual_softmax_scale': dual_softmax_scale,
    'chance_R@1': 1 / len(video_ids),
    **({'meaningless': meaningless} if meaningless else {}),
  }
  return result


def _meaningless(
  target: Int[np.ndarray, 'q'], shape: tuple[int, int]
) -> dict[str, str]:
  """Recalls that are 1 whatever the model: nobody could be ranked lower."""
  texts, videos = shape
  # The own texts of a video do not compete with each other.
  lowest = {'t2v': videos, 'v2t': texts - int(np.bincount(target).min()) + 1}
  return {
    f'{way}/R@{k}': f'always 1: the lowest rank there is is {rank}'
    for way, rank in lowest.items()
    for k in RECALLS
    if k >= rank
  }


def match_texts(
  text_video_ids: Sequence[str], video_ids: Sequence[str]
) -> Int[np.ndarray, 'q']:
  """Returns the column of each text's video.

  Args:
    text_video_ids: For each text, the id of its video.
    video_ids: For each column, the id of the video; no id twice.

  Raises:
    ValueError: If a text has no video, or a video no text.
  """
  column = {video: i for i, video in enumerate(video_ids)}
  unknown = set(text_video_ids) - set(column)
  if unknown:
    raise ValueError(
      f'texts: {len(unknown)} ids without a video, such as '
      f'{min(unknown)!r}; score the video or drop its texts.'
    )
  silent = set(column) - set(text_video_ids)
  if silent:
    raise ValueError(
      f'videos: {len(silent)} without a text, such as {min(silent)!r}; they '
      'would only be distractors; drop them or add their texts.'
    )
  return np.array([column[video] for video in text_video_ids], np.int64)


def check_scale(scale: float) -> None:
  """Refuses what is no scale of a dual softmax.

  Raises:
    ValueError: If it isn't above 0: of NaN, every rank would be the first.
  """
  if not 0 < scale < math.inf:
    raise ValueError(
      f'dual_softmax={scale}: need a number above 0, such as 100'
    )


def dual_softmax(
  similarity: Float[np.ndarray, 'q v'], scale: float, axis: int
) -> Float[np.ndarray, 'q v']:
  """Re-weights similarities by a softmax over the queries (CAMoE's DSL).

  It looks at all test queries at once, so it is another protocol, and worth
  some 5 points of recall; the paper does not use it.

  Args:
    scale: Factor inside of the softmax, 100 with CLIP's largest logit scale.
    axis: Axis of the queries: 0 for text-to-video, 1 for video-to-text.

  Returns:
    Similarity * softmax(scale * similarity, axis).
  """
  scores = similarity.astype(np.float64)
  logits = scale * scores
  weights = np.exp(logits - logits.max(axis=axis, keepdims=True))
  return scores * weights / weights.sum(axis=axis, keepdims=True)


def _both(
  t2v: Float[np.ndarray, 'q v'],
  v2t: Float[np.ndarray, 'q v'],
  target: Int[np.ndarray, 'q'],
  suffix: str,
  bootstrap: ranking.Bootstrap,
) -> dict[str, Any]:
  relevant = target[:, None] == np.arange(t2v.shape[1])  # texts, videos
  videos = np.arange(t2v.shape[1])
  return {
    f't2v{suffix}': _direction(t2v, relevant, target, bootstrap),
    f'v2t{suffix}': _direction(v2t.T, relevant.T, videos, bootstrap),
  }


def _direction(
  scores: Float[np.ndarray, 'q v'],
  relevant: Bool[np.ndarray, 'q v'],
  groups: Int[np.ndarray, 'q'],
  bootstrap: ranking.Bootstrap,
) -> dict[str, Any]:
  ranks = ranking.mid_ranks(scores, relevant)
  values = {f'R@{k}': (ranks <= k).astype(np.float64) for k in RECALLS}
  values['mean_rank'] = ranks
  result: dict[str, Any] = {n: float(v.mean()) for n, v in values.items()}
  result['median_rank'] = float(np.median(ranks))
  result['num_queries'] = len(ranks)
  result['interval_95'] = ranking.intervals(values, groups, bootstrap)
  return result
