"""What is cut, unknown or twice in a batch is said before the first step."""

import dataclasses
import json

import numpy as np
import pytest

from dualenc import data as dualenc_data
from vidlm.data.feed import (
  batches,
  coverage,
  examples,
  first_look,
  order,
  tasks,
  tokens,
  vocabulary,
)

PROMPT = 'Generate the alt-text:'  # 16 tokens, with its end
LONG = 'two dogs chase a frisbee across the lawn'


def config(task, inputs=40, targets=40, size=2, **options):
  return batches.DatasetConfig(
    task,
    {'inputs': inputs, 'targets': targets},
    size,
    frames=tasks.FrameOptions(1, 8),
    **options,
  )


def warned(logged, *args, **options):
  """The warnings of a start."""
  logged()
  batches.make_feed(config(*args, **options), 5)
  return [line for line in logged() if line.startswith('WARNING: ')]


@pytest.mark.parametrize('long', [0, 2, 3, 200])
def test_cut_targets_are_said_above_one_in_a_hundred(sets, words, logged, long):
  rows = [{'texts': (LONG,)}] * long + [{'texts': ('a bar',)}] * (200 - long)
  task = tasks.ClipTask('t', words, '', sets.clips(rows))
  size = len(tokens.target_ids(words, LONG))
  assert warned(logged, task, targets=size) == []
  lines = warned(logged, task, targets=size - 1)
  assert len(lines) == (long > 2)
  if lines:
    said = f'task t: {long / 2:g} % of targets are cut: '
    assert lines[0].startswith(f'WARNING: {said}')
    assert f"['targets'] is {size - 1}, the longest of 200" in lines[0]
    assert f'has {size} tokens' in lines[0]


def test_cut_questions_are_said(sets, words, logged):
  rows = [{'questions': (LONG, 'what'), 'answers': ('a', 'b')}] * 5
  task = tasks.ClipTask('t', words, '', sets.clips(rows), kind='question')
  (line,) = warned(logged, task, inputs=20)
  assert line.startswith('WARNING: task t: 50 % of inputs are cut: ')
  # Two towers are shown no question.
  assert warned(logged, task, inputs=20, converter='dual_encoder') == []


@pytest.mark.parametrize('kind', ['caption', 'label', 'question'])
def test_a_prompt_that_does_not_fit_is_refused(sets, words, logged, kind):
  row = {
    'texts': ('a bar',),
    'questions': ('what',),
    'answers': ('a',),
    'label': 'a bar',
  }
  task = tasks.ClipTask('t', words, '', sets.clips([row]), kind=kind)
  asks = kind == 'question'
  prompt = 'Answer in en: ' if asks else PROMPT
  taken = len(words.prompt(prompt))
  batches.make_feed(config(task, inputs=taken, is_new=True), 1)
  short = config(task, inputs=taken - 1, is_new=True)
  with pytest.raises(ValueError, match=f'takes {taken} tokens, but TASK') as e:
    batches.make_feed(short, 1)
  assert f'task t: the prompt {prompt!r}' in str(e.value)
  with pytest.raises(ValueError, match=f'takes {taken} tokens'):
    next(batches.evaluation_batches(short))
  # A run that began so goes on, and is told.
  (line,) = warned(logged, task, inputs=taken - 1)
  assert line.startswith('WARNING: task t: 100 % of inputs are cut')
  lacking = config(task)
  lacking = dataclasses.replace(lacking, task_feature_lengths={'inputs': 40})
  with pytest.raises(ValueError, match="needs tokens of 'targets'"):
    batches.make_feed(lacking, 1)


@pytest.mark.parametrize('path', ['words.model', 'words.json'])
def test_pieces_that_the_vocabulary_lacks_are_said(sets, words, logged, path):
  folder = words.path.removesuffix('words.model')
  kinds = {'model': vocabulary.Vocabulary, 'json': vocabulary.TokenizerFile}
  known = kinds[path.split('.')[1]](folder + path)
  clips = sets.clips([{'texts': ('a bar',)}] * 9)
  task = tasks.ClipTask('t', known, '', clips, prompt='PZX the alt-text:')
  (line,) = warned(logged, task)
  assert 'of the pieces of inputs are not in the vocabulary' in line
  assert "'PZX the alt-text:' is read as" in line
  assert known.unk_id in known.encode('PZX')
  assert known.unk_id not in known.encode('a bar')
  # Bytes stand for what CLIP's has no piece for.
  assert dualenc_data.ClipVocabulary().unk_id == -1


@pytest.mark.parametrize('size', [2, 4, 5, 8, 32])
def test_clips_twice_in_a_contrastive_batch_are_said(sets, words, logged, size):
  clips = sets.clips([{'texts': ('a bar',), 'label': 'run'}] * 5)
  task = tasks.ClipTask('t', words, '', clips)
  indices = order.shuffled(np.arange(5 * size), 5, 0).reshape(5, size)
  twice = sum(
    int((np.bincount(row, minlength=5)[row] > 1).sum()) for row in indices
  )
  lines = warned(logged, task, size=size, converter='dual_encoder')
  assert len(lines) == (twice / indices.size > 0.01)
  if lines:
    assert (
      f'{coverage.percent(twice / indices.size)} of the examples are in'
      in lines[0]
    )
    assert f'BATCH_SIZE is {size}, there are 5 examples' in lines[0]
  # A model that writes may see a clip twice.
  assert warned(logged, task, size=size) == []


def test_two_tasks_of_the_same_clips_contrast_them_with_themselves(
  sets, words, logged
):
  clips = sets.clips([{'texts': ('a bar',), 'label': 'run'}] * 40)
  task = tasks.ClipTask('a', words, '', clips)
  labels = dataclasses.replace(task, name='b', kind='label')
  both = tasks.ClipMixture('same_clips', [(task, 1), (labels, 1)])
  lines = warned(logged, both, size=40, converter='dual_encoder')
  assert any('in a batch with another one of their clip' in x for x in lines)


def test_text_without_clips_is_not_contrasted(sets, words):
  path = sets.folder / 'text.jsonl'
  path.write_text(json.dumps({'inputs': 'say', 'targets': 'a bar'}))
  text = tasks.ClipTask('words', words, kind='text', texts=str(path))
  clips = sets.clips([{'texts': ('a bar',)}] * 3)
  both = tasks.ClipMixture(
    'clips_and_words',
    [(text, 1), (tasks.ClipTask('clips', words, '', clips), 1)],
  )
  for task in (text, both):
    batches.make_feed(config(task), 1)
    contrasted = config(task, converter='dual_encoder')
    with pytest.raises(
      ValueError, match='task words: 1 of 1 examples are text'
    ):
      batches.make_feed(contrasted, 1)
  with pytest.raises(ValueError, match='black picture'):
    next(batches.evaluation_batches(config(text, converter='dual_encoder')))


def test_a_sample_is_of_the_whole_table(sets, words):
  rows = [{'texts': (f't{i}', f'u{i}')} for i in range(2000)]
  table = tasks.ClipTask('t', words, '', sets.clips(rows)).examples()
  prompts, texts = first_look.sample(table)
  assert len(prompts) == len(texts) == len(set(texts)) == 512
  assert texts[0] == 't0' and texts[-1] == 'u1999'


def test_what_is_scored_while_training_is_looked_at_too(sets, words, logged):
  clips = sets.clips([{'texts': (LONG,)}] + [{}] * 19)
  task = tasks.ClipTask('t', words, '', clips)
  asked = config(task, targets=8, is_new=True)
  for name, cut in (('train_eval/t', True), ('infer_eval', False)):
    part = examples.Component(name, task.examples(), words)
    with pytest.raises(ValueError, match=f'{name}: only 5 % was taken'):
      first_look.look_at_scored(part, asked, says=True)
    allowed = dataclasses.replace(asked, allow_missing=True)
    logged()
    first_look.look_at_scored(part, allowed, says=True)
    lines = logged()
    assert any(f'{name}: only 5 % was taken' in line for line in lines)
    assert any('of targets are cut' in line for line in lines) == cut
    logged()
    first_look.look_at_scored(part, allowed, says=False)
    assert logged() == []
  # A model's own output is scored with room for every prompt.
  short = dataclasses.replace(
    asked,
    allow_missing=True,
    task_feature_lengths={'inputs': 3, 'targets': 60},
  )
  first_look.look_at_scored(part, short, says=True)
  part = dataclasses.replace(part, name='train_eval')
  with pytest.raises(ValueError, match='it would be cut'):
    first_look.look_at_scored(part, short, says=True)
