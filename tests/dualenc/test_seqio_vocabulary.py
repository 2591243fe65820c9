"""CLIP's BPE inside tf.data gives the ids of the tokenizer itself."""

import numpy as np
import pytest

from dualenc import data

tf = pytest.importorskip('tensorflow')

TEXTS = ['a red bar moves left', "It's a caf\u00e9!", 'so ' * 100]


def test_tf_data_equals_the_tokenizer():
  from dualenc import seqio_vocabulary

  clip = data.ClipVocabulary()
  vocabulary = clip.seqio
  assert vocabulary == seqio_vocabulary.ClipBpe(clip.tokenizer)
  dataset = tf.data.Dataset.from_tensor_slices(TEXTS).map(vocabulary.encode_tf)
  expected = data.tokenize(clip, TEXTS, 77)
  batch = vocabulary.encode_tf(tf.constant(TEXTS)).to_list()
  assert batch == [ids.tolist() for ids in dataset.as_numpy_iterator()]
  for ids, row in zip(dataset.as_numpy_iterator(), expected, strict=True):
    # seqio trims and appends the end token afterwards.
    ours = np.append(ids[:76], vocabulary.eos_id)
    np.testing.assert_array_equal(ours, row[row > 0])


def test_eager_ids_decode_to_the_text():
  vocabulary = data.ClipVocabulary().seqio
  ids = vocabulary.encode_tf(tf.constant(TEXTS[0]))
  assert TEXTS[0] in vocabulary.decode_tf(ids).numpy().decode()
