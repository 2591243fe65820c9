"""What caption sets are like: lengths, vocabularies, duplicates, n-grams.

Tables come from `table.read`, and `select` if only some captions count.
"""

import collections
import re
from collections.abc import Iterable

import pandas as pd

from vidlm.data.store import caption_sets as captions_lib

# N-grams made of these alone say nothing.
FUNCTION_WORDS = (
  *('a', 'an', 'the', 'this', 'that', 'it', 'its', 'there', 'is', 'are'),
  *('of', 'in', 'on', 'at', 'to', 'by', 'from', 'with', 'as'),
  *('and', 'or', 'then'),
)
_WORD = re.compile(r"\w+(?:['-]\w+)*")


def overview(captions: pd.DataFrame) -> pd.DataFrame:
  """Returns what each set is like, a row a set.

  Returns:
    Columns `clips` and of them `failed`; `captions`; means of `words`,
    `logprob` and `token_logprob`; `vocabulary` (different words); `duplicates`
    (share of captions that repeat an earlier one of their set); `unanimous`
    (share of clips whose captions are all the same, of those with several).
  """
  rows = {}
  for model, group in captions.groupby('model', sort=False):
    ok = group[group['status'] == captions_lib.OK]
    samples = ok.groupby('clip_id')['caption'].agg(['size', 'nunique'])
    several = samples[samples['size'] > 1]
    rows[model] = {
      'clips': group['clip_id'].nunique(),
      'failed': int((group['status'] != captions_lib.OK).sum()),
      'captions': len(ok),
      **ok[['words', 'logprob', 'token_logprob']].mean().to_dict(),
      'vocabulary': len({w for text in ok['caption'] for w in tokens(text)}),
      'duplicates': ok['caption'].duplicated().mean(),
      'unanimous': (several['nunique'] == 1).mean(),
    }
  return pd.DataFrame.from_dict(rows, orient='index')


def repeated(captions: pd.DataFrame, top: int = 10) -> pd.DataFrame:
  """Returns the captions given most often.

  Returns:
    A row a text, a column a set: how often.
  """
  ok = captions[captions['status'] == captions_lib.OK]
  counts = pd.crosstab(ok['caption'], ok['model'])
  counts = counts[list(dict.fromkeys(ok['model']))]
  order = counts.sum(axis=1).sort_values(ascending=False, kind='stable').index
  return counts.loc[order[:top]]


def tokens(text: str) -> list[str]:
  """Splits a text into words in lower case, without punctuation."""
  return _WORD.findall(text.lower())


def frequent(
  captions: pd.DataFrame,
  n: int = 1,
  top: int = 20,
  skip: Iterable[str] = FUNCTION_WORDS,
) -> pd.DataFrame:
  """Returns the n-grams in most captions, sets weighing the same.

  Args:
    captions: As `read` gives them.
    n: Words of an n-gram.
    top: How many.
    skip: N-grams of these words alone are left out.

  Returns:
    A row an n-gram, a column a set: the share of its captions that contain it.

  Raises:
    ValueError: For n < 1.
  """
  if n < 1:
    raise ValueError(f'n={n}: an n-gram has one word or more')
  skip = set(skip)
  ok = captions[captions['status'] == captions_lib.OK]
  shares = {
    model: _shares(group['caption'], n, skip)
    for model, group in ok.groupby('model', sort=False)
  }
  table = pd.DataFrame(shares).fillna(0.0)
  order = table.mean(axis=1).sort_values(ascending=False, kind='stable').index
  return table.loc[order[:top]]


def _shares(texts: pd.Series, n: int, skip: set[str]) -> dict[str, float]:
  counts: collections.Counter[str] = collections.Counter()
  for text in texts:
    words = tokens(text)
    grams = set(zip(*(words[i:] for i in range(n)), strict=False))
    counts.update(' '.join(gram) for gram in grams if not skip.issuperset(gram))
  # Sorted, so that ties come in an order that sets of words don't decide.
  return {gram: counts[gram] / len(texts) for gram in sorted(counts)}
