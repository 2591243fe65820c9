"""Ranks with fair ties, and intervals: under both protocols."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float, Int

TIE_RULE = 'mid-rank'
_CHUNK = 64  # Replicates of the bootstrap drawn at a time.


@dataclasses.dataclass(frozen=True)
class Bootstrap:
  """What 95 % intervals are of.

  Attributes:
    samples: Replicates; 0 for no intervals.
    seed: Seed of the draws.
  """

  samples: int = 1000
  seed: int = 0

  def __str__(self) -> str:
    return f'{self.samples} samples, seed {self.seed}'


def mid_ranks(
  scores: Float[np.ndarray, 'q v'], relevant: Bool[np.ndarray, 'q v']
) -> Float[np.ndarray, 'q']:
  """Returns the rank of the best relevant candidate in each row, 1 is best.

  Only irrelevant candidates push it down. One with exactly the same score
  counts half, so that a constant score gets the rank of a coin and not the
  first: rank = 1 + (number above) + (number equal) / 2.

  Args:
    scores: Similarities, all finite.
    relevant: True for the right candidates; at least one a row.

  Returns:
    Ranks, whole or half numbers.
  """
  best = np.where(relevant, scores, -np.inf).max(axis=1, keepdims=True)
  above = (scores > best).sum(axis=1)  # A relevant one is never above.
  equal = ((scores == best) & ~relevant).sum(axis=1)
  return 1.0 + above + equal / 2


def check_scores(scores: Float[np.ndarray, 'q v'], what: str) -> None:
  """Refuses scores that are not finite.

  Args:
    what: Their name, for the message.

  Raises:
    ValueError: If one is NaN or infinite, or there are none.
  """
  if not scores.size:
    raise ValueError(f'{what}: nothing to score, the shape is {scores.shape}.')
  bad = np.count_nonzero(~np.isfinite(scores))
  if bad:
    raise ValueError(
      f'{what}: {bad} of {scores.size} scores are NaN or infinite; look at '
      'the checkpoint, no rank is computed from them.'
    )


def intervals(
  values: Mapping[str, Float[np.ndarray, 'q']],
  groups: Int[np.ndarray, 'q'],
  bootstrap: Bootstrap,
) -> dict[str, list[float]]:
  """Returns 95 % bootstrap intervals of means, drawing whole groups.

  Captions of one video are not independent, so videos are drawn and not
  captions, with replacement. Ranks stay as they are: the candidates are not
  resampled.

  Args:
    values: Name -> what is averaged.
    groups: The group of each query, 0 ... number of groups - 1.
    bootstrap: How many replicates are drawn.

  Returns:
    Name -> [low, high], the 2.5 and 97.5 percentiles; empty for 0 samples.
  """
  samples = bootstrap.samples
  if not samples:
    return {}
  num_groups = int(groups.max()) + 1
  columns = [np.bincount(groups, minlength=num_groups)]
  columns += [np.bincount(groups, v, num_groups) for v in values.values()]
  sums = np.stack(columns, axis=1).astype(np.float64)  # groups, 1 + values
  rng = np.random.default_rng(bootstrap.seed)
  replicates = []
  for start in range(0, samples, _CHUNK):
    count = min(_CHUNK, samples - start)
    drawn = rng.multinomial(
      num_groups, np.full(num_groups, 1 / num_groups), size=count
    )
    replicates.append(drawn @ sums)
  totals = np.concatenate(replicates)
  means = totals[:, 1:] / totals[:, :1]
  bounds = np.percentile(means, [2.5, 97.5], axis=0)
  return {
    name: [float(bounds[0, i]), float(bounds[1, i])]
    for i, name in enumerate(values)
  }
