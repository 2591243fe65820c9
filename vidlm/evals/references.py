"""Annotations by id, as the scores want them: from clip sets, from files."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vidlm.core import ids
from vidlm.evals import densevid, prediction_files, text_rows

# How segments are called: v_<id>[<start>-<end>], a second alike one with ~2,
# one that another split has too with that split's name behind it.
_SEGMENT = re.compile(r'(.+)\[([\d.e+]+)-([\d.e+]+)\](?:~\w+)*')


@dataclasses.dataclass(frozen=True)
class References:
  """What is annotated.

  Attributes:
    split: Its name.
    texts: Captions, or answers that count as right, by id.
    types: Types of questions by id, where there are any.
    published: The id of each example of a clip set: a question's id is the
      one its set gives it, an example's is the clip's with a number.
    pooled: Whether these are several splits in one.
  """

  split: str
  texts: dict[str, list[str]]
  types: dict[str, str] = dataclasses.field(default_factory=dict)
  published: dict[str, str] = dataclasses.field(default_factory=dict)
  pooled: bool = False

  def segments(
    self, texts: Mapping[str, str] | None = None
  ) -> dict[str, list[densevid.Segment]]:
    """Returns the segments of each video, read off the ids.

    Args:
      texts: A text for each id, in place of the annotated ones.

    Raises:
      ValueError: If an id isn't that of a segment.
    """
    found: dict[str, list[densevid.Segment]] = {}
    for key in self.texts:
      said = self.texts[key][:1] if texts is None else [texts.get(key)]
      _add_segments(found, key, [text for text in said if text is not None])
    return found


def _add_segments(
  found: dict[str, list[densevid.Segment]], key: str, texts: Iterable[str]
) -> None:
  match = _SEGMENT.fullmatch(key)
  if not match:
    raise ValueError(f'{key!r} is no segment; they are called VIDEO[START-END]')
  start, end = float(match[2]), float(match[3])
  found.setdefault(match[1], []).extend(
    densevid.Segment(start, end, text) for text in texts
  )


def segments_of(texts: Mapping[str, str]) -> dict[str, list[densevid.Segment]]:
  """Returns the segments of each video by the ids of the texts themselves.

  Raises:
    ValueError: If an id isn't that of a segment.
  """
  found: dict[str, list[densevid.Segment]] = {}
  for key, text in texts.items():
    _add_segments(found, key, [text])
  return found


def segment_ids(
  submission: Mapping[str, Sequence[densevid.Segment]],
) -> list[tuple[str, str]]:
  """Returns id and sentence of each segment of a submission."""
  pairs = []
  for video, segments in submission.items():
    seen: dict[str, int] = {}
    for segment in segments:
      key = f'{video}[{segment.start:g}-{segment.end:g}]'
      seen[key] = seen.get(key, 0) + 1
      again = f'~{seen[key]}' if seen[key] > 1 else ''
      pairs.append((key + again, segment.sentence))
  return pairs


def _questions(
  row: Mapping[str, Any], per_video: bool
) -> Iterator[tuple[str, str, list, str]]:
  """Yields example id, published id, right answers and type."""
  clip = row['clip_id']
  answers = row['answers'] or ()  # a null is none
  count = len(answers)
  names = row.get('question_ids') or [''] * count
  kinds = row.get('kinds') or [''] * count
  more = row.get('more_answers') or [()] * count
  for n, answer in enumerate(answers):
    example = f'{clip}#{n}' if n else clip
    own = f'{clip}_{names[n]}' if names[n] and per_video else names[n]
    right = [text or '' for text in (answer, *(more[n] or ()))]
    yield example, own or example, right, kinds[n] or ''


def build(
  rows: Iterable[Mapping[str, Any]],
  kind: str,
  split: str,
  per_video: bool = False,
) -> References:
  """Gathers references from rows of clips.

  Args:
    rows: With `clip_id`, and `texts`, or `answers` and, where known,
      `question_ids`, `kinds` and `more_answers`, in the same order.
    kind: 'caption' or 'question'.
    split: Its name.
    per_video: Whether the ids of questions are those within their video; then
      a question is called VIDEO_ID.

  Raises:
    ValueError: If nothing is annotated, or an id is there twice.
  """
  refs = References(split, {})
  met: list[str] = []
  for row in rows:
    if kind == 'caption':
      texts = [text for text in row['texts'] or () if text and text.strip()]
      found = [(row['clip_id'], row['clip_id'], texts, '')] if texts else []
    else:
      found = list(_questions(row, per_video))
    for example, own, texts, type_ in found:
      met.append(own)
      refs.texts[own] = texts
      refs.published[example] = own
      if type_:
        refs.types[own] = type_
  ids.check_distinct(met, 'annotations')
  if not refs.texts:
    raise ValueError(f'annotations: no {kind} in the split {split!r}')
  return refs


def from_clip_set(
  data_dir: str, split: str, kind: str, per_video: bool = False
) -> References:
  """Reads a clip set's references, videos that could not be read included.

  Args:
    data_dir: Folder of the set.
    split: Its split.
    kind: 'caption' or 'question'.
    per_video: See `build`.

  Raises:
    FileNotFoundError: If there is no finished set.
    ValueError: If there is no such split, or nothing in it.
  """
  import pyarrow.parquet as pq

  from vidlm.data.store import clip_reader

  # Sets made of published annotations keep what was asked for beside the clips.
  annotated = pathlib.Path(data_dir, f'annotated-{split}.parquet')
  reader = clip_reader.open_clips(data_dir, split)
  table = pq.read_table(annotated) if annotated.exists() else reader.index()
  return build(table.to_pylist(), kind, split, per_video)


def from_file(file: prediction_files.File, kind: str, split: str) -> References:
  """Reads a file with one text, or a list of them, for each id.

  Args:
    file: See `prediction_files.read_texts`.
    kind: 'caption' or 'question'.
    split: What to call it.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind, or an id is there twice.
  """
  file = text_rows.of(file, role=text_rows.ANNOTATION, kind=kind)
  path = file.path
  texts: dict[str, list[str]] = {}
  read = ids.by_id(prediction_files.read_texts(file), f'texts of {path}')
  for key, value in read.items():
    texts[key] = [value] if isinstance(value, str) else value
    if not isinstance(texts[key], list) or not all(
      isinstance(text, str) for text in texts[key]
    ):
      raise ValueError(f'{path}: {key!r} has no text or texts: {value!r}')
  if not texts:
    raise ValueError(f'{path}: no {kind} in it')
  return References(split, texts, {}, {key: key for key in texts})


def from_dataset(
  name: str,
  paths: Sequence[str],
  kind: str,
  split: str | None,
  usual: str,
  per_video: bool = False,
) -> References:
  """Reads a published data set's own files.

  Args:
    name: As `vidlm prepare` knows it.
    paths: Its files, or folders of them.
    kind: 'caption' or 'question'.
    split: Only this split; by default `usual` if the files have it, or the
      only one they have. Several with commas are pooled.
    usual: The split papers report.
    per_video: See `build`.

  Raises:
    FileNotFoundError: If a file isn't there.
    ValueError: If a file is of another kind, or has no such split.
  """
  from vidlm.data.sets import registry

  by_split: dict[str, list[dict[str, Any]]] = {}
  for row in registry.read(name, paths, {}):
    by_split.setdefault(row.split, []).append(
      {
        'clip_id': row.clip_id,
        'texts': row.texts,
        'answers': [q.answer for q in row.questions],
        'question_ids': [q.question_id for q in row.questions],
        'kinds': [q.kind for q in row.questions],
        'more_answers': [q.more_answers for q in row.questions],
      }
    )
  if not by_split:
    raise ValueError(f'{name}: nothing is annotated in {", ".join(paths)}')
  if split is None:
    split = usual if usual in by_split else next(iter(by_split), usual)
    if len(by_split) > 1 and usual not in by_split:
      raise ValueError(
        f'{name}: the annotations have {", ".join(by_split)}, not {usual}; '
        'choose by --split'
      )
  parts = split.split(',')
  for part in parts:
    if part not in by_split:
      raise ValueError(
        f'{name}: no split {part!r} in the annotations, only '
        f'{", ".join(by_split)}'
      )
  found = [build(by_split[part], kind, part, per_video) for part in parts]
  return found[0] if len(found) == 1 else _pool(found)


def _pool(parts: Sequence[References]) -> References:
  """Pools splits; of segments, some may be those of another split."""
  pooled = References(','.join(part.split for part in parts), {}, pooled=True)
  for part in parts:
    for key, texts in part.texts.items():
      own = key
      if key in pooled.texts and _SEGMENT.fullmatch(key):
        own = f'{key}~{part.split}'
      if own in pooled.texts:
        raise ValueError(f'annotations: the id {own!r} is in two splits')
      pooled.texts[own] = texts
      pooled.published[own] = own
    pooled.types.update(part.types)
  return pooled
