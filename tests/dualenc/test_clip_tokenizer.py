"""CLIP's BPE against open_clip's and OpenAI's."""

import csv
import html
import json
import pathlib
import random
import unicodedata

import numpy as np
import pytest

from dualenc import tokenizer as tokenizer_lib

SHARED = pathlib.Path(__file__).resolve().parents[3] / 'shared'

NASTY = [
  '',
  ' ',
  'a',
  "It's a dog's life; they'll've gone, I'd say I'M sure we're",
  'UPPER lower MiXeD',
  'tabs\tand\nnew lines\r\n and   spaces ',
  '&amp;amp; &lt;b&gt; &quot;twice&quot; &amp;lt;',
  'cafe\u0301 vs caf\u00e9',
  'schÃ¶n mojibake â€œquotesâ€\x9d',
  '\u201ccurly\u201d \u2018quotes\u2019 \u2014 dash\u2026',
  'emoji \U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467',
  'flag \U0001f1e9\U0001f1ea',
  '日本語のテキスト и русский, العربية',
  '1234567890 3.14 1,000 2nd ½ ² Ⅷ',
  '!!!??? ... --- ### @user #tag http://x.y/z?a=b&c=d',
  'x' * 300,
  'ﬁne ligature ﬀ',
  'zero\u200bwidth \ufeffbom nbsp\u00a0here',
  'combining z\u0351\u0310\u0318a\u030al\u0321g\u0334o',
  '\u017fs \u017f K Å İstanbul ß',
  'word ' * 100,
  "don''t ''' \"\"\" ` \u00b4",
  'under_score snake_case_2 a-b a/b a\\b',
]


@pytest.fixture(scope='module')
def ours():
  return tokenizer_lib.CLIPTokenizer()


@pytest.fixture(scope='module')
def theirs(open_clip):
  from open_clip.tokenizer import SimpleTokenizer

  return SimpleTokenizer()


def assert_equal(ours, theirs, texts):
  for length in (77, 16, 2):
    expected = theirs(texts, length).numpy()
    np.testing.assert_array_equal(ours(texts, length), expected)
  for text in texts:
    assert ours.encode(text) == theirs.encode(text)


def test_nasty_strings(ours, theirs):
  assert_equal(ours, theirs, NASTY)


def test_random_strings(ours, theirs):
  rng = random.Random(0)
  alphabet = "abcdeE ABC'.,!-&;12\u00e9\u00df\u4e2d\U0001f600\u0301\n\t<>#"
  texts = [
    ''.join(rng.choices(alphabet, k=rng.randrange(60))) for _ in range(300)
  ]
  assert_equal(ours, theirs, texts)


def strings_of(value):
  """All texts of a JSON value that have several words."""
  if isinstance(value, dict):
    value = list(value.values())
  if isinstance(value, list):
    for item in value:
      yield from strings_of(item)
  elif isinstance(value, str) and ' ' in value:
    yield value


def real_captions():
  """Captions, narratives, questions and answers of the sets at hand."""
  for path in sorted(SHARED.glob('annotations/*/*')) + [
    SHARED / 'clips' / 'captions.jsonl'
  ]:
    if path.suffix == '.csv':
      with path.open(newline='') as file:
        rows = list(csv.DictReader(file))
    elif path.suffix == '.json':
      rows = json.loads(path.read_text())
    elif path.suffix == '.jsonl' and path.exists():
      rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
      continue
    yield from strings_of(rows)


def made_nasty(text, rng):
  """A caption as careless hands leave it."""
  changes = (
    str.upper,
    str.title,
    lambda t: html.escape(html.escape(t)),
    lambda t: t.encode().decode('cp1252', 'replace'),  # mojibake
    lambda t: t.replace(' ', rng.choice(['  ', '\t', '\u00a0', '\n', '_'])),
    lambda t: t + rng.choice(['...', '!!!', ' <|>', '\U0001f600', '&']),
    lambda t: unicodedata.normalize('NFD', t),
    lambda t: t.replace('e', 'é').replace("'", '\u2019'),
    lambda t: t[::-1],
    lambda t: ' '.join([t] * 9),  # past the context
    lambda t: t.replace(
      'a', rng.choice('0\uff19\u00bd\u00df\u4e2d\u0418\u04e8\ufb01')
    ),
  )
  for change in rng.sample(changes, rng.randint(1, 3)):
    text = change(text)
  return text


def test_ten_thousand_captions(ours, theirs):
  rng = random.Random(0)
  real = sorted(set(real_captions()))
  seeds = [*real, *NASTY[2:]]
  nasty = {made_nasty(rng.choice(seeds), rng) for _ in range(4000)}
  while len(real) + len(nasty) < 10_000:
    pair = f'{rng.choice(seeds)} {rng.choice(seeds)}'
    nasty.add(made_nasty(pair[: rng.randint(5, 300)], rng))
  texts = [*real, *sorted(nasty)]
  assert len(texts) >= 10_000
  np.testing.assert_array_equal(ours(texts, 77), theirs(texts, 77).numpy())


def test_ids_of_a_known_sentence(ours):
  ids = ours('a photo of a cat', 8)
  assert ids.dtype == np.int32
  assert ids.tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407, 0]]
  assert (ours.sot_id, ours.eot_id, ours.vocab_size) == (49406, 49407, 49408)


def test_truncation_keeps_the_end(ours):
  ids = ours(['many words ' * 50, 'short'], 9)
  assert ids.shape == (2, 9)
  assert ids[0, 0] == ours.sot_id and ids[0, -1] == ours.eot_id
  assert ids[0].argmax() == 8 and ids[1].argmax() == 2


def test_special_tokens_in_a_text(ours):
  """As OpenAI's, whatever their case; open_clip calls them otherwise."""
  ids = ours.encode('end <|endoftext|> <|STARTOFTEXT|>')
  assert ids[-2:] == [ours.eot_id, ours.sot_id]


def test_decode(ours):
  text = 'a person is riding a bike , 日本 !'
  assert ours.decode(ours.encode(text)) == text + ' '


def test_missing_merges(tmp_path):
  with pytest.raises(FileNotFoundError):
    tokenizer_lib.CLIPTokenizer(str(tmp_path / 'none.gz'))
