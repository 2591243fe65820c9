"""Vocabularies trained on little text."""

import pytest

from vidlm.data.feed import vocabulary

TEXTS = [
  'A person is kneading dough on a wooden table.',
  'Two dogs chase a frisbee across the lawn, barking.',
]


@pytest.mark.parametrize('model_type', ['unigram', 'bpe'])
def test_what_was_trained_on_comes_back(tmp_path, model_type):
  made = vocabulary.train_sentencepiece(
    TEXTS, str(tmp_path / 'v.model'), 512, model_type
  )
  assert made.size <= 512
  for text in TEXTS:
    ids = made.encode(text)
    assert 1 not in ids and 2 not in ids  # neither an end nor unknown
    assert made.decode([*ids, 1, 5]) == text


def test_bpe_keeps_words_that_occur_once(tmp_path):
  path = str(tmp_path / 'v.model')
  words = sum(len(text.split()) for text in TEXTS)
  unigram = vocabulary.train_sentencepiece(TEXTS, path, 512)
  many = sum(len(unigram.encode(text)) for text in TEXTS)
  bpe = vocabulary.train_sentencepiece(TEXTS, path, 512, 'bpe')
  few = sum(len(bpe.encode(text)) for text in TEXTS)
  assert few <= 1.2 * words < many
