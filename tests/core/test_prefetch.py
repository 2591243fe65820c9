"""Batches made ahead, and the end of their thread."""

import threading
import time

import pytest

from vidlm.core import prefetch


def test_batches_come_placed_and_in_order():
  assert list(prefetch.prefetch(iter(range(5)), lambda x: 10 * x)) == [
    0,
    10,
    20,
    30,
    40,
  ]


def test_an_error_is_raised_where_its_batch_is_asked_for():
  def source():
    yield 1
    raise OSError('disk gone')

  batches = prefetch.prefetch(source(), lambda x: x)
  assert next(batches) == 1
  with pytest.raises(OSError, match='disk gone'):
    next(batches)


def test_no_thread_is_left_inside_a_placement():
  """At exit such a thread would abort the process: no exit status of ours."""
  before = threading.active_count()
  placing = threading.Event()
  closed = []

  def source():
    try:
      yield from range(100)
    finally:
      closed.append(True)

  def place(number):
    if number == 3:
      placing.set()
      time.sleep(0.3)
    return number

  batches = prefetch.prefetch(source(), place, size=2)
  assert next(batches) == 0
  assert placing.wait(10)
  batches.close()
  assert threading.active_count() == before
  assert closed == [True]


def test_a_source_that_hangs_does_not_hold_up_the_end(monkeypatch):
  monkeypatch.setattr(prefetch, '_PATIENCE', 0.1)
  release = threading.Event()

  def source():
    yield 0
    release.wait(60)

  batches = prefetch.prefetch(source(), lambda x: x)
  assert next(batches) == 0
  start = time.monotonic()
  batches.close()
  assert time.monotonic() - start < 30
  release.set()
