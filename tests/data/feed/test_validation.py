"""What is scored while a run trains: which task, and each example once."""

import dataclasses

import numpy as np
import pytest

from vidlm.data.feed import batches, examples, tasks, validation

TASK = tasks.ClipTask('short', None, clips='smit', texts='pseudo', limit=9)
OTHER = tasks.ClipTask('qa', None, clips='smit', kind='question')
TEXT = tasks.ClipTask('text', None, kind='text', texts='text.jsonl')
MIXTURE = tasks.ClipMixture('both', [(TASK, 1), (OTHER, 2), (TEXT, 1)])


def find(value, training=TASK):
  return validation.find_tasks(value, training, 'TRAIN_EVAL')


def test_a_split_of_what_trains_with_its_own_texts():
  (found,) = find('val')
  assert (found.name, found.clips, found.split) == ('short', 'smit', 'val')
  assert (found.texts, found.limit) == ('', None)
  (found,) = find('gs://sets/msrvtt:val')
  assert (found.clips, found.split) == ('gs://sets/msrvtt', 'val')
  assert [task.name for task in find('val', MIXTURE)] == ['short', 'qa']


def test_tasks_stand_for_themselves():
  assert find(None) == []
  assert find(TASK) == [TASK]
  assert find([TASK, MIXTURE]) == [TASK, TASK, OTHER, TEXT]


@pytest.mark.parametrize(
  ('value', 'training'),
  [
    ('val', 'registered'),
    ('smit:val', MIXTURE),
    ('val', TEXT),
    ('smit:', TASK),
  ],
)
def test_a_split_of_what_has_none_is_refused(value, training):
  with pytest.raises(ValueError, match='no task of which this could be'):
    find(value, training)


@pytest.mark.parametrize('value', [3, (), True])
def test_what_is_no_task_is_refused(value):
  with pytest.raises(ValueError, match='need a split such as'):
    find(value)


@dataclasses.dataclass(frozen=True)
class Task:
  name: str
  count: int

  def examples(self):
    ids = [f'clip{i}' for i in range(self.count)]
    rows = np.arange(self.count)
    return examples.ExampleTable(None, rows, ids, [[i] for i in ids], ids)


@pytest.fixture
def read(monkeypatch):
  """`evaluation_batches` as it is said to be: rows p, p + n, ... of n."""

  def batches_of(config, index, count):
    ids = config.mixture_or_task.examples().ids[index::count]
    for first in range(0, len(ids), config.batch_size):
      own = list(ids[first : first + config.batch_size])
      x = np.zeros(config.batch_size, np.int32)
      x[: len(own)] = [int(name[4:]) for name in own]
      yield own, {'x': x}

  monkeypatch.setattr(batches, 'evaluation_batches', batches_of)

  def make(count, size, processes):
    config = batches.DatasetConfig(Task('t', count), {}, size)
    return [
      validation.Examples(config, index, processes)
      for index in range(processes)
    ]

  return make


@pytest.mark.parametrize('processes', [1, 2, 3])
@pytest.mark.parametrize('count', [3, 6, 7, 12, 13])
def test_every_example_once_in_as_many_batches_everywhere(
  read, count, processes
):
  of_all = read(count, 6, processes)
  found = [list(own.batches()) for own in of_all]
  assert len({len(own) for own in found}) == 1
  rows = [row for own in found for row in own]
  for numbers, batch in rows:
    assert numbers.shape == (6 // processes,)
    np.testing.assert_array_equal(
      batch['x'][numbers >= 0], numbers[numbers >= 0]
    )
  seen = np.concatenate([numbers for numbers, _ in rows])
  assert sorted(seen[seen >= 0]) == list(range(count))
  x = np.arange(100, 100 + count)
  arrays = [list(own.batches_of({'x': x})) for own in of_all]
  assert len({len(own) for own in arrays}) == 1
  seen = []
  for numbers, batch in (row for own in arrays for row in own):
    real = numbers >= 0
    np.testing.assert_array_equal(batch['x'][real], x[numbers[real]])
    seen += numbers[real].tolist()
  assert sorted(seen) == list(range(count))


def test_so_many_batches_and_too_few_examples(read):
  (own,) = read(13, 6, 1)
  assert len(list(own.batches(2))) == 2 and len(list(own.batches(9))) == 3
  with pytest.raises(ValueError, match='t: 1 examples for 2 processes'):
    read(1, 6, 2)
