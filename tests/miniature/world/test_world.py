"""Motions of the miniature: physics, pairs, and what one frame can't tell."""

import numpy as np
import pytest

from vidlm.miniature.world import scenes as world
from vidlm.miniature.world.physics import SIDE
from vidlm.miniature.world.vocabulary import (
  COLLIDES,
  COLOURS,
  MOTIONS,
  SHAPES,
  SINGLE_FRAME_PAIRS,
)

TIMES = world.frame_times(4.0, 8)


def _scenes(count, seed=0, **kwargs):
  rng = np.random.default_rng(seed)
  return [world.sample_scene(rng, TIMES, **kwargs) for _ in range(count)]


def _profile(scene):
  """What happens to the only body, as numbers over time."""
  x, y, width, visible = scene.tracks[:, 0].astype(np.float64).T
  steps = np.diff(np.stack([x, y]), axis=1)
  return width, visible > 0, steps


def _is(motion, scene):
  """Whether tracks alone, without labels, show `motion`."""
  width, visible, (dx, dy) = _profile(scene)
  moving = np.hypot(dx, dy) > 0.05
  half = len(moving) // 2
  return {
    'moves left': (dx < -0.1).all() and visible.all(),
    'moves right': (dx > 0.1).all() and visible.all(),
    'moves up': (dy < -0.1).all(),
    'moves down': (dy > 0.1).all(),
    'grows': width[-1] > width[0] + 5 and (np.diff(width) >= 0).all(),
    'shrinks': width[-1] < width[0] - 5 and (np.diff(width) <= 0).all(),
    'appears': not visible[0]
    and visible[-1]
    and np.abs(np.diff(visible.astype(int))).sum() == 1,
    'disappears': visible[0]
    and not visible[-1]
    and np.abs(np.diff(visible.astype(int))).sum() == 1,
    'stops moving': moving[0] and not moving[half + 5 :].any(),
    'starts moving': moving[-1] and not moving[: half - 5].any(),
  }[motion]


def test_there_are_enough_classes_and_pairs():
  assert len(MOTIONS) >= 12
  assert len(SINGLE_FRAME_PAIRS) >= 4
  assert len(COLOURS) >= 6
  assert len(SHAPES) >= 3
  for one, other in SINGLE_FRAME_PAIRS:
    assert MOTIONS[one].reverse == other
    assert MOTIONS[other].reverse == one


@pytest.mark.parametrize('pair', SINGLE_FRAME_PAIRS)
def test_a_clip_played_backwards_is_the_other_class(pair):
  for motion, other in (pair, pair[::-1]):
    for scene in _scenes(40, motion=motion):
      assert _is(motion, scene)
      backwards = world.Scene(
        scene.bodies, scene.relation, scene.background, scene.tracks[::-1]
      )
      assert _is(other, backwards)
      assert not _is(other, scene)


@pytest.mark.parametrize('pair', SINGLE_FRAME_PAIRS)
def test_the_middle_frame_does_not_tell_a_pair_apart(pair):
  states = []
  for motion in pair:
    scenes = _scenes(600, seed=7, motion=motion)
    states.append(
      np.stack([scene.tracks[15:17, 0].mean(0) for scene in scenes])
    )
  # Means of 600 draws differ by less than four standard errors.
  error = np.sqrt(states[0].var(0) / 600 + states[1].var(0) / 600) + 0.05
  assert (np.abs(states[0].mean(0) - states[1].mean(0)) < 4 * error).all()


def test_bodies_stay_in_the_picture_and_apart():
  for scene in _scenes(300, two_bodies=0.7):
    x, y, width, visible = np.moveaxis(scene.tracks, 2, 0)
    shown = visible > 0
    for centre in (x, y):
      assert (centre[shown] - width[shown] * 0.18 > -0.5).all()
      assert (centre[shown] + width[shown] * 0.18 < SIDE + 0.5).all()
    if len(scene.bodies) == 2 and scene.relation != 'collide':
      gap = np.maximum(np.abs(x[:, 0] - x[:, 1]), np.abs(y[:, 0] - y[:, 1]))
      assert (gap > width.mean(1) - 1e-3).all()
      assert scene.bodies[0].colour != scene.bodies[1].colour
      assert scene.bodies[0].shape != scene.bodies[1].shape


def test_collisions_follow_the_contact_log():
  for scene in _scenes(40, motion=COLLIDES):
    assert len(scene.contacts) == 1
    gap = np.abs(scene.tracks[:, 0, 0] - scene.tracks[:, 1, 0])
    nearest = TIMES[int(np.argmin(gap))]
    assert abs(nearest - scene.contacts[0]) <= 0.25
    assert gap[0] > gap.min() + 3
    assert gap[-1] > gap.min() + 2


def test_falling_ends_on_the_floor_and_bouncing_comes_back():
  for scene in _scenes(30, motion='falls'):
    body, track = scene.bodies[0], scene.tracks[:, 0]
    half = track[-1, 2] / 2 * (0.36 if body.shape == 'bar' else 1)
    assert track[-1, 1] == pytest.approx(SIDE - half, abs=0.3)
    assert (np.diff(track[:, 1]) > -0.3).all()
  for scene in _scenes(30, motion='bounces'):
    turns = np.diff(np.sign(np.diff(scene.tracks[:, 0, 1])))
    assert (turns < 0).sum() >= 2  # two or more times off the floor


def test_events_of_a_then_scene_come_in_order():
  scenes = [s for s in _scenes(400, two_bodies=1.0) if s.relation == 'then']
  assert len(scenes) > 80
  for scene in scenes:
    first, second = scene.bodies
    assert first.onset < second.onset


def test_a_scene_is_a_function_of_its_random_state():
  one, other = _scenes(20, seed=3), _scenes(20, seed=3)
  for a, b in zip(one, other, strict=True):
    assert a.bodies == b.bodies
    np.testing.assert_array_equal(a.tracks, b.tracks)


def test_unknown_motion_is_refused():
  with pytest.raises(ValueError, match='wobbles'):
    world.sample_scene(np.random.default_rng(0), TIMES, motion='wobbles')
