"""Metrics files and progress lines."""

import io
import json

import pytest
from absl import logging as absl_logging

from vidlm.training import metrics


def rows(path):
  text = (path / 'metrics.jsonl').read_text()
  return [json.loads(line) for line in text.splitlines()]


def test_later_steps_are_dropped_on_resume(tmp_path):
  writer = metrics.MetricsWriter(str(tmp_path))
  for step in (1, 2, 3, 4):
    writer.write(step, {'loss': 1.0 / step})
  writer.close()
  with (tmp_path / 'metrics.jsonl').open('a') as file:
    file.write('{"step": 2, "lo')  # cut short by a kill
  writer = metrics.MetricsWriter(str(tmp_path), 2)
  writer.write(3, {'loss': 9.0})
  writer.close()
  assert [(r['step'], r['loss']) for r in rows(tmp_path)] == [
    (1, 1.0),
    (2, 0.5),
    (3, 9.0),
  ]
  assert not list(tmp_path.glob('*.partial'))
  assert list(tmp_path.glob('events.out.tfevents.*'))


def test_an_object_store_has_no_metrics_and_that_is_said(caplog, monkeypatch):
  monkeypatch.setattr(absl_logging.get_absl_logger(), 'propagate', True)
  writer = metrics.MetricsWriter('gs://bucket/run')
  writer.write(1, {'loss': 1.0})
  writer.close()
  assert 'gs://bucket/run: no metrics.jsonl' in caplog.text


def test_lines_stay_json_when_a_value_is_not_finite(tmp_path):
  writer = metrics.MetricsWriter(str(tmp_path))
  writer.write(1, {'loss': float('nan'), 'lr': 0.1})
  writer.close()
  assert rows(tmp_path) == [{'step': 1, 'loss': None, 'lr': 0.1}]


class Terminal(io.StringIO):
  """A stream that says it is a terminal."""

  def isatty(self):
    return True


@pytest.mark.parametrize('stream', [io.StringIO(), Terminal()])
def test_progress(stream):
  progress = metrics.Progress('visual', 0, 20, stream)
  progress.show(10, {'loss': 2.5, 'examples_per_second': 100.0})
  progress.show(20, {'loss': 1.5, 'examples_per_second': 100.0})
  text = stream.getvalue()
  assert 'visual: step 10/20  loss 2.5000  100.0 examples/s' in text
  assert '0:00:00 left' in text
  assert text.count('\n') == (1 if stream.isatty() else 2)
  assert ('\r' in text) == stream.isatty()
