"""Position embeddings of a grid of patches, resampled on loading."""

import math

import numpy as np
from jaxtyping import Float


def resample(
  posemb: Float[np.ndarray, '1 N C'], grid: tuple[int, int]
) -> Float[np.ndarray, '1 M C']:
  """Resamples a learned embedding of a square grid to another grid.

  Linear along each axis with corners aligned: the result of
  `scipy.ndimage.zoom(order=1)`, as big_vision's `resample_posemb` uses it.

  Args:
    posemb: N is a square number; rows of the grid first.
    grid: (height, width) of the wanted grid, in patches.

  Raises:
    ValueError: If N is no square number.
  """
  count, width = posemb.shape[1:]
  side = math.isqrt(count)
  if side * side != count:
    raise ValueError(
      f'pos_embedding: {count} positions are no square grid; a class token '
      'has to be split off before resampling.'
    )
  if grid == (side, side):
    return posemb
  table = posemb.astype(np.float32).reshape(side, side, width)
  rows = interpolation_matrix(side, grid[0])
  columns = interpolation_matrix(side, grid[1])
  table = np.einsum('yi,xj,ijc->yxc', rows, columns, table, optimize=True)
  return table.reshape(1, grid[0] * grid[1], width).astype(posemb.dtype)


def interpolation_matrix(
  source: int, target: int
) -> Float[np.ndarray, 'target source']:
  """Returns weights of linear interpolation with aligned ends.

  Args:
    source: Number of points there are.
    target: Number of points wanted; the first and last fall on the ends.

  Returns:
    Weights; rows sum to one.
  """
  # A single point has no other end: it falls on the first.
  at = np.arange(target) * ((source - 1) / max(target - 1, 1))
  distance = np.abs(at[:, None] - np.arange(source)[None, :])
  return np.maximum(0.0, 1.0 - distance).astype(np.float32)


def resample_temporal(
  embedding: Float[np.ndarray, '1 S C'], num_frames: int
) -> Float[np.ndarray, '1 T C']:
  """Resamples PE_t to another number of frames, linearly, as AVION does.

  Args:
    embedding: The `temporal_embedding` of a checkpoint.
    num_frames: T of the model it goes into.

  Returns:
    The table; first and last frame keep their embedding.
  """
  weights = interpolation_matrix(embedding.shape[1], num_frames)
  resampled = np.einsum('ts,bsc->btc', weights, embedding.astype(np.float32))
  return resampled.astype(embedding.dtype)


def resample_behind_class_token(
  embedding: Float[np.ndarray, '1 M C'], grid: tuple[int, int]
) -> Float[np.ndarray, '1 N C']:
  """Resamples PE_s to another grid of patches; the class token keeps its own.

  Args:
    embedding: The `pos_embedding` of a checkpoint.
    grid: (height, width) in patches of the model it goes into.
  """
  patches = resample(embedding[:, 1:], grid)
  return np.concatenate([embedding[:, :1], patches], axis=1)
