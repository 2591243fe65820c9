"""The rule for which frames a clip is made of."""

import numpy as np
import pytest

from vidlm.data.video import sampling


def test_two_frames_a_second_from_the_start() -> None:
  times = sampling.Sampling(fps=2.0).times(1.0, 5.0)
  np.testing.assert_array_equal(times, [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5])


def test_short_clip_is_sampled_evenly() -> None:
  times = sampling.Sampling(min_frames=8).times(0.0, 1.0)
  np.testing.assert_allclose(times, np.arange(8) / 8)


def test_long_clip_is_sampled_evenly() -> None:
  times = sampling.Sampling(max_frames=10).times(0.0, 100.0)
  np.testing.assert_allclose(times, np.arange(10) * 10)


def test_rounding_errors_add_no_frame() -> None:
  assert len(sampling.Sampling().times(0.1 * 3, 4.3 + 1e-12)) == 8
  assert len(sampling.Sampling().times(0.0, 4.01)) == 9


@pytest.mark.parametrize('start, end', [(1, 1), (2, 1), (0, float('nan'))])
def test_empty_clip(start: float, end: float) -> None:
  with pytest.raises(ValueError, match='empty'):
    sampling.Sampling().times(float(start), float(end))


@pytest.mark.parametrize(
  'fields',
  [
    {'fps': 0.0},
    {'fps': float('nan')},
    {'min_frames': 0},
    {'min_frames': 9, 'max_frames': 8},
    {'max_frames': 4},
    {'size': -1},
    {'frame_rate': 0.0},
  ],
)
def test_bad_numbers_are_refused_before_any_work(fields) -> None:
  with pytest.raises(ValueError, match=f'{list(fields)[-1]}='):
    sampling.Sampling(**fields)


def test_a_model_gets_as_many_frames_as_it_takes() -> None:
  assert sampling.Sampling().at_least(4) == sampling.Sampling()
  assert sampling.Sampling().at_least(16).min_frames == 16
  with pytest.raises(ValueError, match='max_frames=64'):
    sampling.Sampling().at_least(65)


def test_a_set_is_told_what_it_was_told_before() -> None:
  """Keys of sets: what is as usual is in none that was not so before."""
  always = ('fps', 'size')
  assert sampling.Sampling().config(always) == {'fps': 2.0, 'size': 256}
  limits = sampling.Limits(max_decoded_frames=5, memory=1 << 30, timeout=1.0)
  other = sampling.Sampling(min_share=0.5, frame_rate=30.0, limits=limits)
  assert list(other.config(always).items()) == [
    ('fps', 2.0),
    ('size', 256),
    ('min_share', 0.5),
    ('frame_rate', 30.0),
    ('max_decoded_frames', 5),
  ]


@pytest.mark.parametrize(
  'stored, num_frames, expected',
  [
    (3, 5, [0, 1, 2, 2, 2]),
    (1, 4, [0, 0, 0, 0]),
    (4, 4, [0, 1, 2, 3]),
    (10, 4, [1, 3, 6, 8]),
    (9, 8, [0, 1, 2, 3, 5, 6, 7, 8]),
    (10, 1, [5]),
  ],
)
def test_uniform(stored: int, num_frames: int, expected: list[int]) -> None:
  chosen = sampling.select_frames(stored, num_frames)
  assert chosen.dtype == np.int32
  np.testing.assert_array_equal(chosen, expected)


def test_consecutive() -> None:
  for start, first in [(0, 0), (5, 5), (6, 6), (9, 6), (-3, 0)]:
    chosen = sampling.select_frames(10, 4, 'consecutive', start)
    np.testing.assert_array_equal(chosen, first + np.arange(4))


def test_unknown_mode() -> None:
  with pytest.raises(ValueError, match='mode'):
    sampling._check_mode('random')
  with pytest.raises(ValueError, match='cannot choose'):
    sampling.select_frames(0, 4)
