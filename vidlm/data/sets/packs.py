"""Sets that bring their texts along: WebDataset tars, Hugging Face Parquet.

00000.tar    KEY.mp4, KEY.txt (a caption), KEY.json ({caption or text, label,
             question, answer ...}), as video2dataset writes them
x.parquet    a column `video` with bytes, or {bytes, path}; caption, text,
             label, question, answer, id, split as far as there are; without
             a split, the file's name tells (test-00000-of-00001.parquet)
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vidlm.data.sets import files, rows, smit, tables
from vidlm.data.video import packed, scanner

_TEXT_LIMIT = 1 << 22


def read_tars(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads a row a video in a tar; what is damaged is a row with a reason.

  Args:
    annotations: The tars, by default all in the folder of videos.

  Raises:
    ValueError: If there is no tar among the files.
  """
  tars = [path for path in annotations if path.lower().endswith('.tar')]
  if not tars:
    raise ValueError(f'{annotations[0]}: no .tar here')
  seen: set[str] = set()
  for path in tars:
    found: dict[str, dict[str, Any]] = {}
    damage = ''
    try:
      for member in packed.members(path):
        _take(path, member, found)
    except packed.DamagedError as error:
      damage = str(error)
    for key, parts in found.items():
      if 'video' not in parts:
        continue
      clip_id = _distinct(key, path, f'/{key}', seen)
      yield _row(clip_id, path, parts['video'], parts.get('fields', {}))
    if damage:
      yield _damaged(path, damage, seen)


def _take(
  path: str, member: packed.Member, found: dict[str, dict[str, Any]]
) -> None:
  """Adds a member to the others with its key, the name up to a dot."""
  folder, slash, name = member.name.rpartition('/')
  # Ids hold dots (0WjR6.3.mp4): a video's suffix ends its key.
  stem, suffix = os.path.splitext(name)
  parts = found.setdefault(folder + slash + stem, {})
  suffix = suffix.lower()
  if scanner.is_kind(suffix, 'video', 'image'):
    parts['video'] = member.name
  elif suffix in ('.txt', '.json') and member.size <= _TEXT_LIMIT:
    with open(path, 'rb') as file:
      file.seek(int(member.packed.split(':')[1]))
      text = file.read(member.size).decode('utf-8', 'replace')
    fields = parts.setdefault('fields', {})
    if suffix == '.txt':
      fields['caption'] = text
      return
    try:
      content = json.loads(text)
    except json.JSONDecodeError:
      content = None
    if isinstance(content, Mapping):
      parts['fields'] = {**content, **fields}


def read_parquet(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads a row a row with a video.

  Args:
    annotations: The Parquet files, by default all in the folder of videos.

  Raises:
    ValueError: If there is none, or one has no column of videos.
  """
  import pyarrow as pa
  import pyarrow.parquet as pq

  tables_ = [path for path in annotations if path.lower().endswith('.parquet')]
  if not tables_:
    raise ValueError(f'{annotations[0]}: no .parquet here')
  seen: set[str] = set()
  for path in tables_:
    try:
      file = pq.ParquetFile(path)
      column = packed.video_column(file.schema_arrow)
      if column is None:
        raise ValueError(
          f'{path}: no column of videos (looked for '
          f'{", ".join(packed.VIDEO_COLUMNS)} with bytes)'
        )
      names = [n for n in file.schema_arrow.names if n != column]
      members = packed.members(path)
      for batch in file.iter_batches(batch_size=1024, columns=names):
        for item in batch.to_pylist() or [{}] * batch.num_rows:
          yield _parquet_row(path, next(members), item, seen)
    except (pa.ArrowException, OSError, packed.DamagedError) as error:
      yield _damaged(path, f'{path}: damaged: {error}', seen)


def _parquet_row(
  path: str, member: packed.Member, item: dict[str, Any], seen: set[str]
) -> rows.Row:
  number = member.packed.partition(':')[2]
  bare = member.name.removesuffix('.mp4') or f'{files.stem(path)}#{number}'
  clip_id = _distinct(bare, path, f'#{number}', seen)
  # Hugging Face says it in the name: test-00000-of-00001.parquet.
  by_file = rows.split_name(files.stem(path))
  return _row(clip_id, path, f'#{number}', item, by_file)


def _distinct(wanted: str, path: str, inner: str, seen: set[str]) -> str:
  """Returns an id that no other clip has, and adds it to those seen.

  Args:
    wanted: If nobody has it.
    path: Of the archive. Else its name tells, with as many folders before it
      as it takes: each folder of shards may begin with 00000.
    inner: What in the archive, after that.
    seen: The ids that were given.
  """
  clip_id, tail = wanted, files.stem(path)
  folders = os.path.dirname(path).split('/')
  while clip_id in seen:
    clip_id = f'{tail}{inner}'
    tail = f'{folders.pop()}/{tail}' if folders else f'{tail}~'
  seen.add(clip_id)
  return clip_id


def _row(
  clip_id: str,
  path: str,
  inner: str,
  fields: Mapping[str, Any],
  by_file: str = 'train',
) -> rows.Row:
  place = f'{os.path.basename(path)}/{inner}'
  texts = tables.pick(fields, (*smit.CAPTION, 'captions', 'texts', 'enCap'))
  questions = files.texts(tables.pick(fields, ('question', 'questions')))
  answers = files.texts(tables.pick(fields, ('answer', 'answers')))
  label = fields.get('label')
  pairs = zip(questions, answers, strict=False)
  return rows.Row(
    clip_id=clip_id,
    names=(rows.VideoName(place, archive=path),),
    texts=files.texts(texts),
    questions=tuple(rows.Question(q, a) for q, a in pairs),
    label=label if isinstance(label, str) else '',
    split=rows.split_name(str(fields.get('split') or ''), by_file),
    source=rows.youtube_id(str(fields.get('url') or ''))
    or rows.source_id(f'{clip_id}.mp4'),
  )


def _damaged(path: str, message: str, seen: set[str]) -> rows.Row:
  name = os.path.basename(path)
  return rows.Row(
    clip_id=_distinct(f'{name}/(damaged)', path, '/(damaged)', seen),
    names=(rows.VideoName(name),),
    reason='corrupt',
    message=' '.join(message.split()),
  )
