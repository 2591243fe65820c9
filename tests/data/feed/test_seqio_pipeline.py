"""Tasks that other code registered with seqio train by their names."""

import functools
import pathlib

import numpy as np
import pytest

from vidlm.data.feed import batches, pixels, tasks

seqio = pytest.importorskip('seqio')
tf = pytest.importorskip('tensorflow')

FOLDER = pathlib.Path(__file__).parents[2] / 'testdata' / 'feed'
COUNT = 12
FRAMES = tasks.FrameOptions(2, 8)


def clip(number: int) -> np.ndarray:
  rng = np.random.default_rng(number)
  return rng.integers(0, 256, (3, 10, 12, 3), np.uint8)


def source(with_frames: bool, splits=('train',)):
  def read(split, shuffle_files, seed=None):
    del split, shuffle_files, seed
    columns = {
      'inputs': [f'say {n}' for n in range(COUNT)],
      'targets': [f'a red bar {n}' for n in range(COUNT)],
    }
    if with_frames:
      columns['frames'] = np.stack([clip(n) for n in range(COUNT)])
    return tf.data.Dataset.from_tensor_slices(columns)

  return seqio.FunctionDataSource(
    read, splits, num_input_examples=dict.fromkeys(splits, COUNT)
  )


UINT8 = seqio.ContinuousFeature(dtype=tf.uint8, rank=4)


def register(name: str, *, frames=None, splits=('train',), **features):
  vocabulary = seqio.SentencePieceVocabulary(str(FOLDER / 'words.model'))
  text = functools.partial(seqio.Feature, vocabulary=vocabulary)
  found = {'inputs': text(), 'targets': text()}
  if frames is not None:
    found['frames'] = frames
  seqio.TaskRegistry.remove(name)
  seqio.TaskRegistry.add(
    name,
    source=source(frames is not None, splits),
    preprocessors=[
      seqio.preprocessors.tokenize,
      seqio.preprocessors.append_eos_after_trim,
    ],
    output_features=found | features,
  )
  return name


def config(name, batch_size=4, **more):
  more = {'frames': FRAMES, 'seed': 1} | more
  lengths = {'inputs': 16, 'targets': 16}
  return batches.DatasetConfig(name, lengths, batch_size, **more)


def numbers(batch) -> list[int]:
  """Which examples they are, by the digits that end their texts."""
  words = seqio.SentencePieceVocabulary(str(FOLDER / 'words.model'))
  rows = batch['decoder_target_tokens']
  return [int(words.decode(row.tolist()).split()[-1]) for row in rows]


def test_text_trains(caplog) -> None:
  caplog.set_level('INFO')
  feed = batches.make_feed(config(register('foreign_text')), 6)
  made = list(feed(0))
  assert len(made) == 6
  assert "foreign_text: through seqio's own pipeline" in caplog.text
  drawn = [number for batch in made for number in numbers(batch)]
  assert set(drawn) <= set(range(COUNT)) and drawn != sorted(drawn)
  for batch in made:
    assert batch['frames'].shape == (4, 2, 8, 8, 3)
    assert not batch['frame_mask'].any()
    targets = batch['decoder_target_tokens']
    assert targets.dtype == np.int32 and targets.shape == (4, 16)
    assert ((targets == 1).sum(1) == 1).all()
    np.testing.assert_array_equal(
      batch['decoder_input_tokens'][:, 1:], targets[:, :-1]
    )
    assert (batch['encoder_input_tokens'] == 1).any()


def test_a_resumed_run_drops_what_it_has_seen(caplog) -> None:
  caplog.set_level('INFO')
  feed = batches.make_feed(config(register('foreign_resumed')), 5)
  whole = list(feed(0))
  for one, two in zip(whole[3:], feed(3), strict=True):
    for name, value in one.items():
      np.testing.assert_array_equal(value, two[name])
  assert '12 examples are read again and dropped' in caplog.text


def test_processes_share_the_examples() -> None:
  name = register('foreign_split')
  seen = []
  for process in range(2):
    feed = batches.make_feed(config(name), 3, process, 2)
    parts = list(feed(0))
    assert all(len(part['frames']) == 2 for part in parts)
    seen.append({number for part in parts for number in numbers(part)})
  assert not seen[0] & seen[1]


@pytest.mark.parametrize('converter', ['encoder_decoder', 'dual_encoder'])
def test_frames_are_sampled_and_cut_as_a_clips(converter) -> None:
  name = register('foreign_frames', frames=UINT8)
  chosen = config(name, converter=converter)
  (batch,) = batches.take(batches.make_feed(chosen, 1), 1)
  if converter == 'dual_encoder':
    assert batch.keys() == {'frames', 'text'}
    batch['decoder_target_tokens'] = batch['text']
  else:
    assert batch['frame_mask'].all()
  for row, number in enumerate(numbers(batch)):
    wanted, _ = pixels.eval_frames(clip(number), 2, 8)
    np.testing.assert_array_equal(batch['frames'][row], wanted)


def test_a_mixture_of_ours_and_theirs_trains() -> None:
  from vidlm.data.feed import vocabulary

  words = vocabulary.Vocabulary(str(FOLDER / 'words.model'))
  ours = tasks.ClipTask('ours_beside', words, str(FOLDER), 'clips')
  tasks.register(ours, FRAMES)
  mask = seqio.ContinuousFeature(dtype=tf.bool, rank=1, required=False)
  name = register('theirs_beside', frames=UINT8, frame_mask=mask)
  seqio.MixtureRegistry.remove('both')
  seqio.MixtureRegistry.add('both', [('ours_beside', 1.0), (name, 1.0)])
  with pytest.raises(ValueError):  # seqio mixes examples of one form alone
    batches.take(batches.make_feed(config('both'), 4), 4)


def test_what_cannot_be_trained_on_is_said() -> None:
  floats = seqio.ContinuousFeature(dtype=tf.float32, rank=4)
  bare = register('no_targets')
  del seqio.TaskRegistry.get(bare).output_features['targets']
  augment = {'frames': tasks.FrameOptions(2, 8, augment=True)}
  for name, more, said in (
    (register('no_train', splits=('test',)), {}, "no split 'train'"),
    (register('floats', frames=floats), {}, "'frames' is float32 of rank 4"),
    (bare, {}, "no feature 'targets', only"),
    (register('jittered', frames=UINT8), augment, 'AUGMENT'),
    ('not_there', {}, "name 'not_there'"),
  ):
    with pytest.raises(ValueError, match=said):
      batches.make_feed(config(name, **more), 1)
  with pytest.raises(ValueError, match='jittered: need a single task'):
    next(batches.evaluation_batches(config('jittered')))


def test_what_its_preprocessors_say_is_a_line() -> None:
  name = register('foreign_broken')
  feed = batches.make_feed(config(name), 2)
  seqio.TaskRegistry.get(name).preprocessors.append(
    lambda dataset: dataset.map(_fail)
  )
  with pytest.raises(
    ValueError, match=r'seqio task foreign_broken: .*it is broken'
  ):
    list(feed(0))


def _fail(example):
  with tf.control_dependencies([tf.debugging.Assert(False, ['it is broken'])]):
    return {name: tf.identity(value) for name, value in example.items()}


def test_a_task_that_ends_is_said() -> None:
  name = register('ends')
  seqio.TaskRegistry.get(name).preprocessors.append(lambda data: data.take(9))
  with pytest.raises(ValueError, match='ends: no examples left for step 2'):
    list(batches.make_feed(config(name), 9)(0))
