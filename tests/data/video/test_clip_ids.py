"""Ids of the files of a folder: all different, and those of old sets stay."""

import collections
import random

import hypothesis
import pytest
from hypothesis import strategies as st

from vidlm.data.video import clip_ids

_STEMS = st.sampled_from(['y', 'y.mp4', 'x', 'b/y', 'y~2', 'y.mts', 'y.mts~2'])
_FIRST = st.sampled_from(['.mp4', '.mkv', '.MP4', '.mp4.mp4', '.mts.mp4'])
_LATER = st.sampled_from(['.mts', '.MTS', '.h264', '.mp4.mts', '.mts.mts'])


def names(suffixes):
  name = st.tuples(_STEMS, suffixes).map(''.join)
  return st.sets(name, max_size=10)


def as_it_was(listed) -> dict[str, str]:
  """How ids were made before, when some could be the same."""
  seen = collections.Counter(name.rpartition('.')[0] for name in listed)
  return {
    name: name if seen[name.rpartition('.')[0]] > 1 else name.rpartition('.')[0]
    for name in listed
  }


@hypothesis.given(names(_FIRST), names(_LATER), st.randoms())
def test_ids_are_different_and_old_ones_stay(
  first: set[str], later: set[str], chance: random.Random
) -> None:
  ids = clip_ids.of_names(first, later)
  assert sorted(ids) == sorted([*first, *later])
  assert len(set(ids.values())) == len(ids)
  # Later suffixes change nothing of what there was.
  alone = clip_ids.of_names(first)
  assert {name: ids[name] for name in first} == alone
  before = as_it_was(first)
  if len(set(before.values())) == len(before):
    assert alone == before
  # Whatever order a file system lists them in.
  mixed = [sorted(first), sorted(later)]
  for part in mixed:
    chance.shuffle(part)
  assert clip_ids.of_names(*mixed) == ids


@pytest.mark.parametrize(
  'first, later, ids',
  [
    (['y.mp4'], [], ['y']),
    (['y.mp4', 'y.mkv'], [], ['y.mp4', 'y.mkv']),
    (
      ['y.mp4', 'y.mkv', 'y.mp4.mp4'],
      [],
      ['y.mp4', 'y.mkv', 'y.mp4.mp4'],
    ),
    (['y.mp4', 'y.mp4.mp4'], [], ['y', 'y.mp4']),
    (['y.mp4'], ['y.mts'], ['y', 'y.mts']),
    (['y.mp4', 'y.mts.mp4'], ['y.mts'], ['y', 'y.mts', 'y.mts~2']),
  ],
)
def test_ids(first: list[str], later: list[str], ids: list[str]) -> None:
  made = clip_ids.of_names(first, later)
  assert [made[name] for name in [*first, *later]] == ids


def test_a_film_that_is_not_cut_has_no_id_of_a_clip() -> None:
  films = {'a', 'a#0001', 'a#0002~', 'b#1', 'c#0001'}
  assert clip_ids.of_failed('a#0001', films) == 'a#0001~'
  assert clip_ids.of_failed('a#0002', films) == 'a#0002~~'
  # Where nothing else may be called so, ids are what they were.
  for film in ('a', 'b#1', 'c#0001'):
    assert clip_ids.of_failed(film, films) == film
