"""Batches from a real clip set: resumable, the same on any number of hosts."""

import dataclasses
import io
import json

import numpy as np
import PIL.Image
import pytest

from vidlm.data.feed import batches as feed
from vidlm.data.feed import examples as source
from vidlm.data.feed import tasks
from vidlm.data.feed.vocabulary import Vocabulary, train_sentencepiece
from vidlm.data.store import clip_schema, clip_writer

WORDS = ['a red bar moves left', 'a blue ring grows', 'the square falls down']


def jpeg(value: int) -> bytes:
  buffer = io.BytesIO()
  image = np.full((24, 24, 3), value, np.uint8)
  PIL.Image.fromarray(image).save(buffer, 'JPEG', quality=95)
  return buffer.getvalue()


def row(i: int) -> clip_schema.ClipRow:
  frames = 1 if i == 0 else 4  # clip 0 is an image
  return clip_schema.ClipRow(
    f'clip{i}',
    'drawn',
    0.0,
    2.0,
    tuple(jpeg(10 * i + f) for f in range(frames)),
    tuple(f / 2 for f in range(frames)),
    texts=tuple(f'{word} {i}' for word in WORDS[: 1 + i % 3]),
    questions=('what falls', 'what grows') if i % 2 else (),
    answers=('square', 'ring') if i % 2 else (),
  )


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('feed')
  clip_writer.write_clips([row(i) for i in range(11)], str(folder / 'clips'))
  lines = [{'inputs': f'say {w}', 'targets': w} for w in WORDS]
  (folder / 'text.jsonl').write_text(
    ''.join(json.dumps(x) + '\n' for x in lines)
  )
  train_sentencepiece(
    [
      f'{w} {i} what say Generate the alt-text: Answer in en:'
      for w in WORDS
      for i in range(11)
    ],
    str(folder / 'v.model'),
    64,
  )
  return folder


def config(folder, name, batch_size=4, augment=False, **options):
  vocabulary = Vocabulary(str(folder / 'v.model'))

  def task(suffix, **kwargs):
    return tasks.ClipTask(f'{name}_{suffix}', vocabulary, str(folder), **kwargs)

  mixture = tasks.ClipMixture(
    name,
    [
      (task('captions', clips='clips'), 2.0),
      (task('questions', clips='clips', kind='question'), 1.0),
      (task('text', kind='text', texts='text.jsonl'), 1.0),
    ],
  )
  return feed.DatasetConfig(
    options.pop('task', mixture),
    {'inputs': 24, 'targets': 24},
    batch_size,
    seed=3,
    frames=tasks.FrameOptions(4, 16, augment),
    **options,
  )


def equal(a, b):
  return all(np.array_equal(a[k], b[k]) for k in a) and a.keys() == b.keys()


@pytest.mark.parametrize('augment', [False, True])
def test_a_resumed_feed_goes_on_where_it_was(folder, augment):
  make = feed.make_feed(config(folder, 'resume', augment=augment), 12)
  whole = list(make(0))
  assert len(whole) == 12
  for start in (1, 7):
    assert all(map(equal, whole[start:], make(start)))


@pytest.mark.parametrize(('processes', 'augment'), [(2, True), (4, False)])
def test_processes_make_the_same_global_batches(folder, processes, augment):
  split = config(folder, 'split', augment=augment)
  whole = feed.take(feed.make_feed(split, 6), 6)
  parts = [
    feed.take(feed.make_feed(split, 6, p, processes), 6)
    for p in range(processes)
  ]
  for step, batch in enumerate(whole):
    for name, value in batch.items():
      joined = np.concatenate([part[step][name] for part in parts])
      np.testing.assert_array_equal(joined, value)


def test_features_are_the_encoder_decoders(folder):
  batch = feed.take(feed.make_feed(config(folder, 'features'), 50), 50)
  for b in batch:
    assert b['frames'].shape == (4, 4, 16, 16, 3)
    targets, inputs = b['decoder_target_tokens'], b['decoder_input_tokens']
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
    assert (inputs[:, 0] == 0).all()
    np.testing.assert_array_equal(b['decoder_loss_weights'], targets > 0)
  masks = {tuple(m) for b in batch for m in b['frame_mask'].tolist()}
  assert masks == {
    (True,) * 4,
    (False,) * 4,
    (True, False, False, False),
  }


def test_every_caption_of_a_clip_is_drawn(folder):
  task = tasks.ClipTask(
    'one',
    config(folder, 'x').mixture_or_task.tasks[0][0].vocabulary,
    str(folder),
    clips='clips',
  )
  seen = {
    task.vocabulary.decode(row)
    for b in feed.make_feed(config(folder, 'x', task=task), 60)(0)
    for row in b['decoder_target_tokens']
  }
  assert {f'{w} 2' for w in WORDS} <= seen


def test_evaluation_sees_each_example_once_and_pads(folder):
  task = tasks.ClipTask(
    'ordered',
    config(folder, 'y').mixture_or_task.tasks[0][0].vocabulary,
    str(folder),
    clips='clips',
    kind='question',
  )
  ids = []
  for batch_ids, batch in feed.evaluation_batches(
    config(folder, 'y', task=task)
  ):
    assert len(batch['frames']) == 4
    ids += batch_ids
  assert len(ids) == len(set(ids)) == 10
  assert {'clip1', 'clip1#1'} <= set(ids)


def test_a_broken_frame_is_said_in_a_line(folder, tmp_path):
  cut = jpeg(3)[:-20]
  broken = dataclasses.replace(row(3), frames=(cut,) * 4)
  clip_writer.write_clips([row(1), broken], str(tmp_path / 'clips'))
  vocabulary = config(folder, 'x').mixture_or_task.tasks[0][0].vocabulary
  task = tasks.ClipTask('broken', vocabulary, str(tmp_path), clips='clips')
  with pytest.raises(ValueError, match='clip3') as raised:
    feed.take(feed.make_feed(config(folder, 'x', task=task), 2), 2)
  said = f"clip 'clip3': a frame is no whole JPEG image ({len(cut)} bytes)"
  assert str(raised.value) == said


def test_mixtures_in_mixtures_keep_their_rates(folder):
  whole = config(folder, 'inner').mixture_or_task
  (captions, _), (questions, _), (text, _) = whole.tasks
  inner = tasks.ClipMixture('inner', [(captions, 2), (questions, 1.0)])
  outer = tasks.ClipMixture('outer', [(text, 1.0), (inner, 1), (captions, 0.5)])
  rates = {part.name: part.rate for part in tasks.components(outer)}
  assert list(rates) == sorted(rates)
  assert rates == {
    captions.name: 2 / 3 + 0.5,
    questions.name: 1 / 3,
    text.name: 1.0,
  }
  for part in (inner, text):
    assert tasks.described(tasks.describe(part)) == part


def test_mixtures_of_two_vocabularies_are_refused(folder):
  mixture = config(folder, 'odd').mixture_or_task
  captions, questions = (part for part, _ in mixture.tasks[:2])

  def mixed(vocabulary):
    odd = dataclasses.replace(questions, vocabulary=vocabulary)
    return config(
      folder,
      'odd',
      task=tasks.ClipMixture('odd', [(captions, 1.0), (odd, 1.0)]),
    )

  path = captions.vocabulary.path
  with pytest.raises(ValueError, match='differ in frames or vocabulary'):
    feed.make_feed(mixed(Vocabulary(path, extra_ids=8)), 1)
  twice = [(captions, 1), (dataclasses.replace(captions, limit=2), 1)]
  twice = config(folder, 'odd', task=tasks.ClipMixture('odd', twice))
  with pytest.raises(ValueError, match="two tasks are called 'odd_captions'"):
    feed.make_feed(twice, 1)
  with pytest.raises(ValueError, match='odd: need a single task'):
    next(feed.evaluation_batches(config(folder, 'odd')))


def test_mistakes_are_named(folder):
  with pytest.raises(ValueError, match='does not divide over 3'):
    feed.make_feed(config(folder, 'odd'), 1, 0, 3)
  with pytest.raises(ValueError, match='cache_mib=-1: need a whole'):
    tasks.FrameOptions(cache_mib=-1)
  with pytest.raises(ValueError, match='BATCH_SIZE=0: need'):
    feed.make_feed(config(folder, 'none', batch_size=0), 1)
  asks = dict(clips=str(folder / 'clips'), split='train')
  with pytest.raises(ValueError, match='only thing to fill in'):
    source.question_examples(**asks, prompt='Answer: {query}')
  with pytest.raises(ValueError, match=r'has no \{question\}'):
    source.question_examples(**asks, prompt='Answer:')
  for name, match in (('gone', 'no such'), ('text.jsonl', 'not a Sentence')):
    with pytest.raises((ValueError, FileNotFoundError), match=match):
      _ = Vocabulary(str(folder / name)).size
  with pytest.raises(ValueError, match='kind'):
    tasks.ClipTask('k', None, str(folder), 'clips', kind='poem').examples()
  with pytest.raises(ValueError, match='converter'):
    feed.make_feed(config(folder, 'c', converter='none'), 1)(0)
