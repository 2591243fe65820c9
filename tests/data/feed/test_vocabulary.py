"""A tokenizer.json against transformers, and how prompts are framed."""

import numpy as np
import pytest
import tokenizers
import transformers

from vidlm.data.feed import batches, tasks
from vidlm.data.feed import vocabulary as vocabulary_lib

TEXTS = [
  'Generate the alt-text: a red ball falls onto the floor',
  'Answer in en: what does the man do after he sits down?',
  'a dog runs home, then sleeps\n',
]
NASTY = [
  '',
  ' ',
  '   leading and   inner   spaces ',
  'line\nbreaks\n\nand\ttabs',
  'unseen: ☃ 漢字 Ω 🤖 a\u0301 \u200d \ufeff',
  '\x00control\x7f',
  'a' * 3000,
  '▁looks like a space piece',
]


def train(path, newline=True) -> None:
  """A small BPE with Gemma's special ids, normaliser and byte fallback."""
  model = tokenizers.models.BPE(unk_token='<unk>', byte_fallback=True)
  tokenizer = tokenizers.Tokenizer(model)
  tokenizer.normalizer = tokenizers.normalizers.Replace(' ', '▁')
  tokenizer.decoder = tokenizers.decoders.Sequence(
    [
      tokenizers.decoders.Replace('▁', ' '),
      tokenizers.decoders.ByteFallback(),
      tokenizers.decoders.Fuse(),
    ]
  )
  trainer = tokenizers.trainers.BpeTrainer(
    vocab_size=500,
    special_tokens=[
      *('<pad>', '<eos>', '<bos>', '<unk>'),
      *(f'<0x{byte:02X}>' for byte in range(256)),
    ],
    initial_alphabet=['<', '>'],
    show_progress=False,
  )
  tokenizer.train_from_iterator(TEXTS, trainer)
  plain = ['<loc0001>', *(['\n', '\n\n'] if newline else [])]
  tokenizer.add_tokens(plain)
  # Files on the hub carry settings that must not leak into the feed.
  tokenizer.enable_truncation(4)
  tokenizer.enable_padding(length=16)
  tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
    single='<bos> $A', special_tokens=[('<bos>', 2)]
  )
  tokenizer.save(str(path))


@pytest.fixture(scope='module')
def path(tmp_path_factory) -> str:
  path = tmp_path_factory.mktemp('tokenizer') / 'tokenizer.json'
  train(path)
  return str(path)


@pytest.fixture(scope='module')
def ours(path) -> vocabulary_lib.TokenizerFile:
  return vocabulary_lib.TokenizerFile(path, 'paligemma')


@pytest.fixture(scope='module')
def theirs(path) -> 'transformers.PreTrainedTokenizerFast':
  return transformers.PreTrainedTokenizerFast(
    tokenizer_file=path, pad_token='<pad>', eos_token='<eos>', bos_token='<bos>'
  )


@pytest.mark.parametrize('text', TEXTS + NASTY)
def test_equals_transformers(ours, theirs, text) -> None:
  want = theirs(text, add_special_tokens=False, truncation=False)['input_ids']
  assert ours.encode(text) == want
  decoded = theirs.decode(
    want, skip_special_tokens=True, clean_up_tokenization_spaces=False
  )
  assert ours.decode([*want, 1, 7, 8]) == decoded
  assert ours.decode([0, *want, 0, ours.size + 3]) == decoded


def test_text_never_ends_itself(ours, theirs) -> None:
  """A caption that spells '<eos>' is spelled, not obeyed."""
  text = 'a red <eos> ball <bos><pad> <loc0001>'
  ids = ours.encode(text)
  assert not {0, 1, 2} & set(ids)
  assert ours.tokenizer.token_to_id('<loc0001>') in ids  # No special one.
  want = theirs(text, add_special_tokens=False, split_special_tokens=True)
  assert ids == want['input_ids']
  assert ours.decode(ids) == text


def test_prompts_are_framed_as_the_model_was_trained(ours, path) -> None:
  newline = ours.tokenizer.token_to_id('\n')
  ids = ours.encode('what is it?')
  assert ours.prompt('what is it?') == [2, *ids, newline]
  plain = vocabulary_lib.TokenizerFile(path)
  assert plain.prompt('what is it?') == [*ids, 1]


def test_size_counts_added_tokens(ours) -> None:
  assert ours.size == max(ours.tokenizer.get_vocab().values()) + 1
  assert ours.extra_ids == 0


def test_seqio_agrees_in_and_out_of_a_graph(ours) -> None:
  seqio = pytest.importorskip('seqio')
  import tensorflow as tf

  vocabulary = ours.seqio
  assert isinstance(vocabulary, seqio.Vocabulary)
  assert (vocabulary.pad_id, vocabulary.eos_id, vocabulary.bos_id) == (0, 1, 2)
  assert vocabulary.unk_id == 3 and vocabulary.vocab_size == ours.size
  assert (
    vocabulary == vocabulary_lib.TokenizerFile(ours.path, 'paligemma').seqio
  )
  for text in TEXTS + NASTY[:5]:
    ids = ours.encode(text)
    assert vocabulary.encode(text) == ids
    np.testing.assert_array_equal(vocabulary.encode_tf(tf.constant(text)), ids)
    if ids:
      assert vocabulary.decode(ids) == ours.decode(ids)
      got = vocabulary.decode_tf(tf.constant(ids)).numpy().decode()
      assert got == ours.decode(ids)


def text_task(vocabulary, folder, prompt) -> tasks.ClipTask:
  (folder / 'text.jsonl').write_text(
    f'{{"inputs": "{prompt}", "targets": "a red ball"}}\n'
  )
  return tasks.ClipTask(
    'framed', vocabulary, str(folder), kind='text', texts='text.jsonl'
  )


@pytest.mark.parametrize('length', [24, 6])
def test_the_feed_frames_and_cuts_prompts(ours, tmp_path, length) -> None:
  prompt = 'does a red man sit on a floor'
  ids = ours.encode(prompt)
  assert 6 < len(ids) + 2 <= 24
  config = batches.DatasetConfig(
    text_task(ours, tmp_path, prompt),
    {'inputs': length, 'targets': 12},
    1,
    frames=tasks.FrameOptions(1, 16),
  )
  (batch,) = batches.take(batches.make_feed(config, 1), 1)
  framed = [2, *ids[: length - 2], ours.encode('\n')[0]]
  want = framed + [0] * (length - len(framed))
  np.testing.assert_array_equal(batch['encoder_input_tokens'][0], want)
  if length == 24:
    assert framed == ours.prompt(prompt)
  targets = [*ours.encode('a red ball'), 1]
  got = batch['decoder_target_tokens'][0]
  np.testing.assert_array_equal(got[: len(targets)], targets)
  assert not got[len(targets) :].any()


def test_a_sentencepiece_file_ends_prompts_as_before(tmp_path) -> None:
  words = vocabulary_lib.train_sentencepiece(TEXTS, str(tmp_path / 'v.model'))
  assert words.prompt('a red ball') == [*words.encode('a red ball'), 1]
  config = batches.DatasetConfig(
    text_task(words, tmp_path, 'a red ball'),
    {'inputs': 12, 'targets': 12},
    1,
    frames=tasks.FrameOptions(1, 16),
  )
  (batch,) = batches.take(batches.make_feed(config, 1), 1)
  ids = words.prompt('a red ball')
  np.testing.assert_array_equal(
    batch['encoder_input_tokens'][0], ids + [0] * (12 - len(ids))
  )
  framed = vocabulary_lib.Vocabulary(words.path, prompt_format='paligemma')
  with pytest.raises(ValueError, match='newline'):
    framed.prompt('a')


def test_mistakes_are_named(tmp_path, path) -> None:
  missing = vocabulary_lib.TokenizerFile(str(tmp_path / 'none.json'))
  with pytest.raises(FileNotFoundError, match='VOCABULARY_PATH'):
    missing.encode('a')
  (tmp_path / 'broken.json').write_text('{')
  with pytest.raises(ValueError, match='no tokenizer'):
    vocabulary_lib.TokenizerFile(str(tmp_path / 'broken.json')).encode('a')
  other = tokenizers.Tokenizer(tokenizers.models.BPE({'a': 0, 'b': 1}, []))
  other.save(str(tmp_path / 'other.json'))
  with pytest.raises(ValueError, match='ids 0 and 1'):
    vocabulary_lib.TokenizerFile(str(tmp_path / 'other.json')).encode('a')
  with pytest.raises(ValueError, match='prompt_format'):
    vocabulary_lib.TokenizerFile(path, 'chat').prompt('a')
