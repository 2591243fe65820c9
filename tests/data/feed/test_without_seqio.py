"""Where seqio isn't installed, what needs it says so in a line."""

import sys

import pytest

from vidlm.data.feed import batches, tasks, vocabulary

TASK = tasks.ClipTask('unseen', vocabulary.Vocabulary('words.model'))
SAID = r"tensorflow: not installed, .* install 'vidlm\[seqio\]'"


@pytest.fixture(autouse=True)
def absent(monkeypatch):
  for name in ('tensorflow', 'seqio'):
    monkeypatch.setitem(sys.modules, name, None)  # Python's word for absent
  for name in ('view', 'vocabulary', 'pipeline'):
    monkeypatch.delitem(
      sys.modules, f'vidlm.data.feed.seqio_{name}', raising=False
    )


def test_registering() -> None:
  with pytest.raises(ValueError, match=SAID):
    tasks.register(TASK, tasks.FrameOptions(), lazy=True)


def test_its_vocabulary() -> None:
  with pytest.raises(ValueError, match=SAID):
    _ = TASK.vocabulary.seqio


def test_a_name_that_only_it_may_know() -> None:
  tasks.describe(tasks.ClipTask('known', TASK.vocabulary))
  config = batches.DatasetConfig('elsewhere', {'inputs': 8, 'targets': 8}, 2)
  said = rf"MIXTURE_OR_TASK='elsewhere': .*\bknown\b.* are.*{SAID}"
  with pytest.raises(ValueError, match=said):
    batches.make_feed(config, 1)
