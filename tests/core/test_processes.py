"""How many CPUs there are for this process."""

import os

import pytest

from vidlm.core import processes


@pytest.mark.skipif(
  not hasattr(os, 'sched_setaffinity'), reason='no affinity to set'
)
def test_only_the_cpus_left_to_the_process_count():
  before = os.sched_getaffinity(0)
  try:
    os.sched_setaffinity(0, {min(before)})
    assert processes.cpus() == 1
  finally:
    os.sched_setaffinity(0, before)
  assert processes.cpus() == len(before)


@pytest.mark.parametrize(('count', 'expected'), [(6, 6), (None, 1)])
def test_without_affinity_all_that_there_are_count(
  count, expected, monkeypatch
):
  monkeypatch.delattr(os, 'sched_getaffinity', raising=False)
  monkeypatch.setattr(os, 'cpu_count', lambda: count)
  assert processes.cpus() == expected
