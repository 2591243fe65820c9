"""Caption sets as one pandas table: to filter, search, count and compare.

A row is a caption. The columns:

  model          as the caller calls the set
  clip_id video start end
  sample         0 ... R - 1; a clip that failed has one row, an empty caption
  caption
  words          of the caption
  tokens         of the caption, end of sentence included
  logprob        sum over its tokens
  token_logprob  mean over its tokens, which doesn't grow with length
  status error
"""

import collections
import dataclasses
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
import pyarrow as pa

from vidlm.captions import gallery
from vidlm.data.store import caption_sets as captions_lib
from vidlm.data.store import frame_lookup

OK = captions_lib.OK


def read(
  sets: Mapping[str, str | os.PathLike], allow_unfinished: bool = False
) -> pd.DataFrame:
  """Reads caption sets into one table.

  Args:
    sets: {what to call it: folder of the set}.
    allow_unfinished: Also read sets that are still being written.

  Returns:
    The table, sets in the order given, clips in the order of their set.

  Raises:
    FileNotFoundError: If a set isn't there, or isn't finished.
    ValueError: If no set is given, or a file is damaged.
  """
  if not sets:
    raise ValueError('captions: no caption set is given')
  tables = [
    _long(model, captions_lib.read_captions(folder, allow_unfinished))
    for model, folder in sets.items()
  ]
  return pd.concat(tables, ignore_index=True)


def read_captions(
  folder: str | os.PathLike, allow_unfinished: bool = False
) -> pd.DataFrame:
  """Reads one caption set, a row a caption, by clip id.

  Args:
    folder: Folder of the set, as `vidlm caption --output` made it.
    allow_unfinished: Also read a set that is still being written.

  Returns:
    The columns of `read` but `model`, indexed by `clip_id`. `caption` is the
    first: whatever else a terminal has no room for, it is printed.

  Raises:
    FileNotFoundError: If the set isn't there, or isn't finished.
    ValueError: If a file is damaged.
  """
  captions = read({'': folder}, allow_unfinished).set_index('clip_id')
  others = captions.columns.drop(['model', 'caption'])
  return captions[['caption', *others]]


def _long(model: str, table: pa.Table) -> pd.DataFrame:
  """Turns one row a clip into one row a caption."""
  texts = ['captions', 'logprobs', 'lengths']
  clips = table.drop_columns(['model', 'config_hash']).to_pandas()
  rows = clips.explode(texts).reset_index(drop=True)
  rows = rows.rename(
    columns={'captions': 'caption', 'logprobs': 'logprob', 'lengths': 'tokens'}
  )
  rows['model'] = model
  rows['caption'] = rows['caption'].fillna('').astype(str)
  rows['tokens'] = rows['tokens'].fillna(0).astype(int)
  rows['logprob'] = rows['logprob'].astype(float)
  rows['words'] = rows['caption'].str.split().str.len().astype(int)
  rows['token_logprob'] = rows['logprob'] / rows['tokens'].where(
    rows['tokens'] > 0
  )
  rows['sample'] = rows.groupby('clip_id', sort=False).cumcount()
  return rows[
    [
      'model', 'clip_id', 'video', 'start', 'end', 'sample', 'caption',
      'words', 'tokens', 'logprob', 'token_logprob', 'status', 'error',
    ]
  ]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Filter:
  """Which captions to look at: those that meet all conditions.

  Attributes:
    words: Each of them is in the caption, as a whole word; a string is split
      at spaces. Upper and lower case are alike, here and in `pattern`.
    pattern: A regular expression the caption contains.
    min_words: Fewest words of a caption.
    max_words: Most words of a caption.
    min_logprob: Lowest sum of its tokens' log-probabilities.
    max_logprob: Highest.
    models: Names of the sets to look at.
    status: 'ok' or 'failed'; None for both.
  """

  words: str | Sequence[str] = ()
  pattern: str = ''
  min_words: int | None = None
  max_words: int | None = None
  min_logprob: float | None = None
  max_logprob: float | None = None
  models: Sequence[str] | None = None
  status: str | None = OK


def select(
  captions: pd.DataFrame, conditions: Filter = Filter()
) -> pd.DataFrame:
  """Returns the captions that meet all conditions.

  Args:
    captions: As `read` gives them.
    conditions: By default all captions of clips that have some.

  Returns:
    The rows, in their order.

  Raises:
    ValueError: If the pattern is no regular expression.
  """
  keep = pd.Series(True, index=captions.index)
  bounds = (
    ('words', conditions.min_words, conditions.max_words),
    ('logprob', conditions.min_logprob, conditions.max_logprob),
  )
  for column, low, high in bounds:
    if low is not None:
      keep &= captions[column] >= low
    if high is not None:
      keep &= captions[column] <= high
  if conditions.models is not None:
    keep &= captions['model'].isin(list(conditions.models))
  if conditions.status is not None:
    keep &= captions['status'] == conditions.status
  words, pattern = conditions.words, conditions.pattern
  wanted = words.split() if isinstance(words, str) else words
  for regex in [*map(whole_word, wanted), *([pattern] if pattern else [])]:
    keep &= _contains(captions['caption'], regex)
  return captions[keep]


def whole_word(word: str) -> str:
  """Returns a regular expression for a word that isn't part of another."""
  return rf'(?<!\w){re.escape(word)}(?!\w)'


def _contains(texts: pd.Series, pattern: str) -> pd.Series:
  # Python's own engine: not every backend of pandas knows lookbehind.
  try:
    regex = re.compile(pattern, re.IGNORECASE)
  except re.error as error:
    raise ValueError(f'{pattern!r} is no regular expression: {error}') from None
  found = [regex.search(text) is not None for text in texts]
  return pd.Series(found, index=texts.index, dtype=bool)


def open_frames(
  captions: pd.DataFrame, source: str, split: str = 'train'
) -> frame_lookup.ClipFrames:
  """Opens the clips that were captioned.

  Args:
    captions: As `read` gives them.
    source: The clip set or the folder of videos that was captioned.
    split: Split of the clip set.

  Raises:
    FileNotFoundError: If there is no such folder.
    ValueError: If the set has no such split.
  """
  clips = captions.drop_duplicates('clip_id')
  # As objects: a column of floats turns None, which is unknown, into NaN.
  clips = clips[['clip_id', 'video', 'start', 'end']].astype(object)
  rows = clips.where(clips.notna(), None).to_dict('records')
  entries = frame_lookup.entries_of(rows, source)
  return frame_lookup.open_frames(source, split, entries=entries)


def gallery_rows(
  captions: pd.DataFrame,
  frames: frame_lookup.ClipFrames,
  clip_ids: Iterable[str],
) -> list[gallery.Row]:
  """Returns clips with what every set says of them.

  Args:
    captions: As `read` gives them.
    frames: Where the clips' frames are.
    clip_ids: Ids in the order wanted; each clip is shown once.

  Returns:
    A row a clip, a column a set: its captions, a repeated one once with its
    count; or why the clip failed.
  """
  wanted = list(dict.fromkeys(clip_ids))
  models = list(dict.fromkeys(captions['model']))
  there = captions[captions['clip_id'].isin(wanted)]
  groups = {
    key: _lines(group) for key, group in there.groupby(['clip_id', 'model'])
  }
  return [
    gallery.Row(
      clip_id,
      clip,
      {model: groups.get((clip_id, model), ()) for model in models},
    )
    for clip_id, clip in zip(wanted, frames.read(wanted), strict=True)
  ]


def _lines(group: pd.DataFrame) -> list[str]:
  failed = group[group['status'] != OK]
  if len(failed):
    return [f'({error})' for error in failed['error']]
  counts = collections.Counter(group['caption'])
  return [
    t if count == 1 else f'{t} (x {count})' for t, count in counts.items()
  ]
