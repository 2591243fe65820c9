"""The tokenizer against pairs written by Java's, and against Java itself."""

import json
import pathlib
import random
import shutil
import string

import pytest

from vidlm.evals import ptb

_GOLDEN = [
  json.loads(line)
  for line in pathlib.Path(__file__)
  .with_name('golden_ptb.jsonl')
  .read_text('utf-8')
  .splitlines()
]
_SHARED = pathlib.Path(__file__).parents[3] / 'shared'
needs_java = pytest.mark.skipif(
  shutil.which('java') is None, reason='no java: golden pairs only'
)


def _java(captions: list[str]) -> list[str]:
  ptbtokenizer = pytest.importorskip('pycocoevalcap.tokenizer.ptbtokenizer')
  keyed = {str(i): [{'caption': text}] for i, text in enumerate(captions)}
  result = ptbtokenizer.PTBTokenizer().tokenize(keyed)
  return [result[str(i)][0] for i in range(len(captions))]


def test_golden_pairs():
  tokens = ptb.tokenize([pair['caption'] for pair in _GOLDEN])
  for pair, ours in zip(_GOLDEN, tokens, strict=True):
    assert ours == pair['tokens'], pair['caption']


@pytest.mark.parametrize(
  'caption, tokens',
  [
    ('', ''),
    ('   ', ''),
    ('A man, a dog.', 'a man a dog'),
    ("He can't; she cannot.", "he ca n't she can not"),
    ('the U.S. team (red)', 'the u.s. team -lrb- red -rrb-'),
    ('1,000.5 for $3.50', '1,000.5 for $ 3.50'),
    ('so \U0001f600 happy', 'so happy'),
    ('AT&T and R&amp;B', 'at&t and r&b'),
    ('write a@b.org\u2009', 'write a@b.org'),
  ],
)
def test_examples(caption: str, tokens: str):
  assert ptb.tokenize([caption]) == [tokens]


def test_no_captions():
  assert ptb.tokenize([]) == []


def test_line_breaks_inside_a_caption_shift_nothing():
  captions = ['a man\r\nruns', 'one\u2028two\x0bthree', 'a dog']
  assert ptb.tokenize(captions) == ['a man runs', 'one two three', 'a dog']


def test_long_hostile_text_is_quick():
  hostile = ['<' * 20000, 'a@' * 10000, '1.' * 10000, 'a-' * 10000, '(' * 20000]
  assert len(ptb.tokenize(hostile)) == len(hostile)


@needs_java
def test_java_agrees_on_mixed_up_sentences():
  rng = random.Random(0)
  words = [word for pair in _GOLDEN for word in pair['caption'].split()]
  glue = [' '] * 12 + [
    *string.punctuation,
    '',
    '  ',
    '. ',
    ', ',
    '\u2026',
    '\u2019',
    '\u201c',
  ]
  captions = [
    ''.join(
      rng.choice(words) + rng.choice(glue) for _ in range(rng.randint(1, 9))
    )
    for _ in range(6000)
  ]
  agreed = [
    ours == java
    for ours, java in zip(ptb.tokenize(captions), _java(captions), strict=True)
  ]
  assert sum(agreed) / len(agreed) >= 0.9995


@needs_java
@pytest.mark.skipif(not _SHARED.exists(), reason='no real captions here')
def test_java_agrees_on_real_captions():
  lines = (_SHARED / 'clips/captions.jsonl').read_text('utf-8').splitlines()
  captions = [json.loads(line)['caption'] for line in lines]
  for path in sorted((_SHARED / 'annotations/vidln').glob('*.jsonl')):
    for line in path.read_text('utf-8').splitlines():
      for actor in json.loads(line)['actor_narratives']:
        captions.append(actor['caption'].replace('\n', ' '))
  assert ptb.tokenize(captions) == _java(captions)
