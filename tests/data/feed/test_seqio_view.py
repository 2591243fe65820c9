"""Our tasks in seqio: the feed's examples, in the feed's order."""

import dataclasses
import itertools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from vidlm.data.feed import batches, seqio_import, tasks
from vidlm.data.feed.vocabulary import TokenizerFile, Vocabulary

seqio = pytest.importorskip('seqio')

FOLDER = pathlib.Path(__file__).parents[2] / 'testdata' / 'feed'
LENGTHS = {'inputs': 9, 'targets': 6}  # some texts are cut
FRAMES = tasks.FrameOptions(3, 16, augment=True)
VOCABULARIES = [
  Vocabulary(str(FOLDER / 'words.model'), 100),
  TokenizerFile(str(FOLDER / 'words.json'), 'paligemma'),
]


def described(name, vocabulary=VOCABULARIES[0]):
  def task(suffix, **more):
    return tasks.ClipTask(
      f'{name}_{suffix}', vocabulary, str(FOLDER), 'clips', **more
    )

  return tasks.ClipMixture(
    name,
    [
      (task('captions'), 2),
      (task('answers', kind='question'), 1.0),
      (task('alone', kind='text', texts='text.jsonl'), 1),
    ],
  )


def config(task, **more):
  return batches.DatasetConfig(task, LENGTHS, 5, seed=3, frames=FRAMES, **more)


def check_same(batch, examples) -> None:
  """A batch of the feed is made of these examples of seqio's."""
  columns = {
    'inputs': 'encoder_input_tokens',
    'targets': 'decoder_target_tokens',
  }
  for row, example in enumerate(examples):
    for name in ('frames', 'frame_mask'):
      np.testing.assert_array_equal(batch[name][row], example[name])
    for name, column in columns.items():
      ids = example[name].tolist()
      padded = ids + [0] * (LENGTHS[name] - len(ids))
      assert batch[column][row].tolist() == padded


@pytest.mark.parametrize('vocabulary', VOCABULARIES)
@pytest.mark.parametrize('kind', ['mixture', 'task'])
def test_order_and_examples_are_the_feeds(kind, vocabulary) -> None:
  task = described(f'view_{kind}', vocabulary)
  if kind == 'task':
    task = task.tasks[0][0]
  name = tasks.register(task, FRAMES)
  steps = 8  # three epochs of the captions
  dataset = seqio.get_mixture_or_task(name).get_dataset(
    LENGTHS, shuffle=True, seed=3, num_epochs=None
  )
  examples = list(dataset.take(5 * steps).as_numpy_iterator())
  made = batches.take(batches.make_feed(config(task), steps), steps)
  for step, batch in enumerate(made):
    check_same(batch, examples[5 * step : 5 * step + 5])


def test_shards_are_every_other_example() -> None:
  name = tasks.register(described('shards'), FRAMES)
  mixture = seqio.get_mixture_or_task(name)
  whole = mixture.get_dataset(LENGTHS, seed=1).take(12).as_numpy_iterator()
  half = mixture.get_dataset(
    LENGTHS, seed=1, shard_info=seqio.ShardInfo(1, 2)
  ).take(6)
  for one, two in zip(
    itertools.islice(whole, 1, None, 2), half.as_numpy_iterator(), strict=True
  ):
    np.testing.assert_array_equal(one['frames'], two['frames'])
    np.testing.assert_array_equal(one['targets'], two['targets'])


@pytest.mark.parametrize('vocabulary', VOCABULARIES)
def test_in_order_it_is_evaluations(vocabulary) -> None:
  task = described('order', vocabulary).tasks[1][0]
  whole = dataclasses.replace(config(task), seed=0)
  name = tasks.register(task, FRAMES)
  examples = seqio.get_mixture_or_task(name).get_dataset(LENGTHS, shuffle=False)
  examples = list(examples.as_numpy_iterator())
  assert len(examples) == 12
  for number, (ids, batch) in enumerate(batches.evaluation_batches(whole)):
    check_same(batch, examples[5 * number : 5 * number + len(ids)])
  assert examples[0]['inputs_pretokenized'] == b'Answer in en: what falls'
  assert examples[0]['targets_pretokenized'] == b'the square'
  uncut = seqio.get_mixture_or_task(name).get_dataset(None, shuffle=False)
  ids = next(uncut.as_numpy_iterator())['targets'].tolist()
  assert ids == [*vocabulary.encode('the square'), 1]


def test_seqios_own_pipeline_takes_them() -> None:
  name = tasks.register(described('converted'), FRAMES)

  class Converter(seqio.EncDecFeatureConverter):
    def __call__(self, ds, task_feature_lengths):
      keep = lambda x: {k: x[k] for k in ('inputs', 'targets')}
      return super().__call__(ds.map(keep), task_feature_lengths)

  dataset = seqio.get_dataset(
    name, LENGTHS, Converter(pack=False), shuffle=True, num_epochs=None, seed=3
  )
  (batch,) = batches.take(
    batches.make_feed(config(described('converted')), 1), 1
  )
  for row, example in enumerate(dataset.take(5).as_numpy_iterator()):
    for feature in ('encoder_input_tokens', 'decoder_target_tokens'):
      np.testing.assert_array_equal(batch[feature][row], example[feature])


def test_a_name_of_seqios_that_is_ours_keeps_its_order() -> None:
  mixture = described('named')
  tasks.register(mixture, FRAMES)
  seqio.MixtureRegistry.remove('of_two')
  seqio.MixtureRegistry.add(
    'of_two', [('named_captions', 1.0), ('named_answers', 3.0)]
  )
  (captions, _), (answers, _), _ = mixture.tasks
  same = tasks.ClipMixture('same', [(captions, 1.0), (answers, 3.0)])
  for one, two in zip(
    batches.make_feed(config('of_two'), 3)(0),
    batches.make_feed(config(same), 3)(0),
    strict=True,
  ):
    assert one.keys() == two.keys()
    for name, value in one.items():
      np.testing.assert_array_equal(value, two[name])


def test_tasks_that_differ_in_frames_are_refused() -> None:
  mixture = described('sizes')
  tasks.register(mixture, FRAMES)
  tasks.register(mixture.tasks[2][0], tasks.FrameOptions(2, 16))
  seqio.MixtureRegistry.remove('odd_frames')
  seqio.MixtureRegistry.add(
    'odd_frames', [('sizes_alone', 1.0), ('sizes_captions', 1.0)]
  )
  with pytest.raises(ValueError, match='differ in frames or vocabulary'):
    batches.make_feed(config('odd_frames'), 1)


@pytest.mark.parametrize('extra_ids', [0, 100])
def test_sentencepiece_ids_are_seqios(tmp_path, extra_ids) -> None:
  import tensorflow as tf

  from vidlm.data.feed import vocabulary as vocabulary_lib

  texts = [
    'a red bar moves left',
    'Two dogs chase a <extra_id_0> and <extra_id_99>, barking <extra_id_3>',
    'jel<extra_id_1>ly </s> <pad> <unk>',
    '',
    '   spaces   inside\tand\naround ',
    '\uff46ull \uff57idth ① ﬁ Ⅳ é e\u0301 \u200d \ufeff ☃ 漢字 🤖',
    'x\x00y',
    'a' * 3000,
  ]
  path = str(tmp_path / 'v.model')  # with SentencePiece's own normalizer
  vocabulary_lib.train_sentencepiece(texts[:2], path, 90)
  ours = Vocabulary(path, extra_ids)
  theirs = seqio.SentencePieceVocabulary(path, extra_ids)
  assert (ours.size, ours.eos_id) == (theirs.vocab_size, theirs.eos_id)
  got = theirs.encode_tf(tf.constant(texts)).to_list()
  assert [ours.encode(text) for text in texts] == got
  if extra_ids:
    assert ours.size - 1 in ours.encode(texts[1])  # <extra_id_0>


def test_a_missing_file_is_said_by_seqios_vocabulary_too(tmp_path) -> None:
  path = str(tmp_path / 'gone.model')
  with pytest.raises(FileNotFoundError, match='set VOCABULARY_PATH'):
    _ = Vocabulary(path).seqio.vocab_size


def test_what_others_say_comes_through(capfd) -> None:
  with seqio_import._stderr_filtered():
    os.write(2, b'I0000 00:00:1.5   7 port.cc:1] TensorFlow\nours\n')
    os.write(2, b'ours, too')
  assert capfd.readouterr().err == 'ours\nours, too'


def test_tensorflow_says_nothing_of_itself(tmp_path) -> None:
  code = f"""
from vidlm.data.feed import tasks, vocabulary
words = vocabulary.Vocabulary({str(FOLDER / 'words.model')!r})
task = tasks.ClipTask('quiet', words, {str(FOLDER)!r}, 'clips')
tasks.register(task, tasks.FrameOptions(2, 16))
import seqio, tensorflow as tf
next(iter(seqio.get_mixture_or_task('quiet').get_dataset()))
assert not tf.config.get_visible_devices('GPU')
"""
  done = subprocess.run(
    [sys.executable, '-c', code],
    capture_output=True,
    text=True,
    check=True,
    env={'PATH': '/usr/bin', 'PYTHONPATH': ':'.join(sys.path)},
  )
  assert done.stderr == ''
