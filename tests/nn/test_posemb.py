"""Resampling of position embeddings."""

import numpy as np
import pytest
import scipy.ndimage

from vidlm.nn import posemb


@pytest.mark.parametrize('grid', [(7, 7), (4, 6), (3, 2), (5, 5), (1, 1)])
def test_equals_scipy_zoom_of_order_one(grid: tuple[int, int]) -> None:
  table = np.random.default_rng(0).normal(size=(1, 25, 3)).astype(np.float32)
  got = posemb.resample(table, grid)
  zoom = (grid[0] / 5, grid[1] / 5, 1)
  want = scipy.ndimage.zoom(table.reshape(5, 5, 3), zoom, order=1)
  assert got.dtype == table.dtype
  np.testing.assert_allclose(got, want.reshape(1, -1, 3), atol=1e-6)


def test_same_grid_is_untouched() -> None:
  table = np.ones((1, 16, 2), np.float32)
  assert posemb.resample(table, (4, 4)) is table


def test_class_token_is_refused() -> None:
  with pytest.raises(ValueError, match='no square grid'):
    posemb.resample(np.zeros((1, 17, 2), np.float32), (4, 4))
