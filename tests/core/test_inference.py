"""One program of one shape on all devices: order, padding, reading ahead."""

import threading
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidlm.core import inference, prefetch, processes


def test_rows_come_back_in_order_and_padding_does_not():
  mesh = inference.local_mesh()
  shapes = []

  def double(params, rows):
    shapes.append(rows['x'].shape)
    return params['by'] * rows['x'].sum(axis=1)

  program = inference.compile_rows(double, mesh)
  params = inference.place_params({'by': np.float32(2)}, mesh)

  def submit(batch):
    made = program(params, inference.place_rows(batch, mesh))
    return lambda: np.asarray(made)

  rows = ({'x': np.full(3, i, np.float32)} for i in range(20))
  found = list(inference.run(rows, 2 * mesh.size, submit))
  assert found == [6.0 * i for i in range(20)]
  # Eight devices of two rows: each saw one shape, traced once.
  assert shapes == [(2, 3)] and mesh.size == 8


def test_a_short_batch_is_padded_with_its_first_row():
  made = list(inference.batches(iter([(1, [2]), (3, [4]), (5, [6])]), 2))
  assert [count for count, _ in made] == [2, 1]
  np.testing.assert_array_equal(made[1][1][0], [5, 5])
  assert list(inference.batches(iter(()), 2)) == []


def test_params_split_over_devices_are_made_whole():
  mesh = inference.local_mesh()
  spec = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec('data'))
  split = jax.device_put(jnp.arange(16.0), spec)
  whole = inference.place_params([split], mesh)[0]
  assert whole.is_fully_replicated
  np.testing.assert_array_equal(whole, np.arange(16.0))


def test_the_devices_start_before_the_last_results_are_taken():
  order = []

  def submit(batch):
    order.append(f'start {batch[0]}')

    def wait():
      order.append(f'take {batch[0]}')
      return batch

    return wait

  assert list(inference.run(range(3), 1, submit)) == [0, 1, 2]
  assert order == [
    'start 0', 'start 1', 'take 0', 'start 2', 'take 1', 'take 2'
  ]  # fmt: skip


def test_an_error_of_a_row_is_raised_and_reading_stops():
  taken = []

  def rows():
    for i in range(1000):
      taken.append(i)
      if i == 5:
        raise ValueError('row 5 is bad')
      yield i

  with pytest.raises(ValueError, match='row 5 is bad'):
    list(inference.run(rows(), 2, lambda batch: lambda: batch))
  assert len(taken) == 6


def test_threads_work_in_order_and_not_far_ahead():
  begun = []
  lock = threading.Lock()

  def slow(i):
    with lock:
      begun.append(i)
    time.sleep(0.01 * (i % 3))
    return i

  found = prefetch.map_threads(slow, iter(range(500)))
  assert [next(found) for _ in range(5)] == [0, 1, 2, 3, 4]
  assert len(begun) <= 5 + 4 * processes.cpus()
  found.close()
  after = len(begun)
  time.sleep(0.05)
  assert len(begun) == after < 500


def test_a_process_alone_does_all():
  assert list(processes.part(5)) == [0, 1, 2, 3, 4]
  assert processes.gather(lambda: b'all', 'here') == [b'all']
  assert processes.is_first()


def test_a_mistake_of_one_process_is_raised_by_all(monkeypatch):
  sent = []

  def exchange(own):
    sent.append(own)
    return [b'+fine', own]

  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  monkeypatch.setattr(processes, 'wait_for_all', lambda place, seconds: None)
  monkeypatch.setattr(processes, '_exchange', exchange)
  assert processes.gather(lambda: b'too', 'here') == [b'fine', b'too']

  def broken():
    raise ValueError('clip 7 is broken')

  with pytest.raises(ValueError, match='clip 7 is broken'):
    processes.gather(broken, 'here')
  # It was sent all the same, or the others would have waited.
  assert sent[1] == b'-clip 7 is broken'


@pytest.mark.parametrize(('count', 'total'), [(10, 3), (2, 4), (0, 2)])
def test_parts_cover_everything_once(monkeypatch, count, total):
  parts = []
  for index in range(total):
    monkeypatch.setattr(jax, 'process_index', lambda i=index: i)
    monkeypatch.setattr(jax, 'process_count', lambda: total)
    parts.append(processes.part(count))
  assert [i for part in parts for i in part] == list(range(count))
  assert max(map(len, parts)) - min(map(len, parts)) <= 1
