"""A score that could be no other says so; and what is blank is not scored."""

import json
import math

import numpy as np
import pytest

from dualenc.evals import classification, ranking, retrieval
from vidlm.evals import (
  captioning,
  densevid,
  file_scores,
  protocols,
  references,
)

NO_INTERVALS = ranking.Bootstrap(samples=0)


@pytest.mark.parametrize(
  ('texts', 'constant'),
  [
    ({'a': ['a dog runs home']}, {'cider'}),
    ({'a': ['a dog runs home', 'the dog']}, {'cider'}),
    ({'a': ['a dog runs home'], 'b': ['a dog runs home']}, {'cider'}),
    ({'a': ['a dog runs home'], 'b': ['a cat runs home']}, set()),
    ({'a': ['dog'], 'b': ['cat']}, {'bleu4'}),
    ({'a': ['dog']}, {'cider', 'bleu4'}),
  ],
)
def test_captions_whose_score_is_a_constant(texts, constant):
  said = [
    {key: own[0] for key, own in texts.items()},
    dict.fromkeys(texts, 'something else is said here'),
    dict.fromkeys(texts, 'dog'),
  ]
  found = [captioning.evaluate_captions(own, texts) for own in said]
  for scores in found:
    assert set(scores['protocol'].get('meaningless', {})) == constant
  for name in ('cider', 'bleu4'):
    same = len({round(scores[name], 2) for scores in found}) == 1
    assert same == (name in constant)


def test_videos_of_one_segment_score_nothing():
  one = densevid.Segment(0, 1, 'a dog runs home')
  videos = {'v': [one], 'w': [one]}
  found = densevid.evaluate_densevid(videos, videos)
  assert found['cider'] == 0 and 'cider' in found['protocol']['meaningless']
  videos = {'v': [one, densevid.Segment(5, 9, 'it sleeps')], 'w': [one]}
  found = densevid.evaluate_densevid(videos, videos)
  assert found['cider'] > 0 and 'meaningless' not in found['protocol']


@pytest.mark.parametrize('videos', [1, 2, 4, 5, 9, 10, 11])
@pytest.mark.parametrize('each', [1, 2])
def test_recalls_that_nobody_can_miss(videos, each):
  names = [f'v{i}' for i in range(videos)]
  texts = [name for name in names for _ in range(each)]
  right = np.array([[a == b for b in names] for a in texts], float)
  found = [
    retrieval.evaluate(x, texts, names, split='t', bootstrap=NO_INTERVALS)
    for x in (right, -right)  # the best, and the worst that can be
  ]
  for scores in found:
    told = scores['protocol'].get('meaningless', {})
    assert set(told) == {
      f'{way}/R@{k}'
      for way in ('t2v', 'v2t')
      for k in retrieval.RECALLS
      if found[1][way][f'R@{k}'] == 1
    }


@pytest.mark.parametrize('classes', [1, 2, 5, 6])
def test_classes_that_nobody_can_miss(classes):
  labels = np.arange(classes)
  found = [
    classification.evaluate(
      x,
      labels,
      [f'c{i}' for i in labels],
      split='t',
      templates='plain',
      bootstrap=NO_INTERVALS,
    )
    for x in (np.eye(classes), -np.eye(classes))
  ]
  told = found[0]['protocol'].get('meaningless', {})
  assert set(told) == {n for n in ('top1', 'top5') if found[1][n] == 1}


def test_it_is_warned_of_and_written(tmp_path, caplog):
  truths, said = tmp_path / 'truths.json', tmp_path / 'said.json'
  truths.write_text(json.dumps({'a': ['a dog runs home']}))
  said.write_text(json.dumps({'a': 'a dog runs away'}))
  output = tmp_path / 'scores.json'
  scores = file_scores.evaluate_file(
    predictions=str(said),
    task='captions',
    annotations=[str(truths)],
    output=str(output),
  )
  assert json.loads(output.read_text()) == scores
  assert 'WARNING: captions: cider is always 0' in caplog.text
  protocol = scores['protocol']
  # Of a file nobody knows how it was made.
  for name in ('checkpoint', 'prompt', 'num_frames', 'max_length'):
    assert protocol[name] is None
  assert protocol['processes'] == 1


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  monkeypatch.setattr(file_scores.processes, 'is_first', lambda: False)
  output = tmp_path / 'scores.json'
  scores = {'cider': math.nan, 'protocol': {'task': 't'}}
  assert file_scores.finish(scores, str(output)) is scores
  assert not output.exists()


@pytest.mark.parametrize(
  ('task', 'truths'),
  [
    ('captions', {'a': ['a dog', ' '], 'b': [' ', ''], 'c': ['a cat']}),
    ('answers', {'a': ['dog'], 'b': [' '], 'c': ['cat']}),
  ],
)
def test_annotations_that_say_nothing_are_not_scored(task, truths):
  refs = references.References('test', truths)
  kept = references.References('test', {'a': truths['a'][:1], 'c': truths['c']})
  said = {'a': 'a dog', 'b': '', 'c': 'two cats'}
  scores = protocols.score(task, list(said.items()), refs)
  assert scores['protocol'].pop('blank_ids') == ['b']
  assert scores['n'] == 2
  del said['b']
  assert scores == protocols.score(task, list(said.items()), kept)
