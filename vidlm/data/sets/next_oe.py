"""NExT-OE: open-ended questions of NExT-QA (doc-doc/NExT-OE).

  train.csv, val.csv, test.csv
      video,frame_count,width,height,question,answer,qid,type
  add_reference_answer_test.json   {video: {qid: answer}}: a second answer
  map_vid_vidorID.json             {"2909445186": "0101/2909445186"}, from
      doc-doc/NExT-QA: where VidOR keeps the video

A qid is unique in its video only. The multiple-choice NExT-QA has columns a0
to a4 and a number for an answer: it is refused.
"""

from collections.abc import Iterator, Sequence

from vidlm.data.sets import files, rows

_COLUMNS = ('video', 'question', 'answer', 'qid', 'type')


def read(
  annotations: Sequence[str],
  references: str | None = None,
  video_map: str | None = None,
) -> Iterator[rows.Row]:
  """Reads a row a video with all its questions.

  Args:
    annotations: The CSV files; an add_reference_answer_*.json or
      map_vid_vidorID.json among them is taken for what it is.
    references: A second answer to questions of the test split.
    video_map: Folder and name in VidOR of each video.

  Raises:
    ValueError: For another set's file, or a row that makes no sense.
  """
  tables = [p for p in annotations if not p.lower().endswith('.json')]
  for path in annotations:
    name = files.stem(path)
    if path not in tables and name.startswith('add_reference'):
      references = references or path
    elif path not in tables and name.startswith('map_'):
      video_map = video_map or path
    elif path not in tables:
      raise ValueError(f'{path}: not a CSV of NExT-OE')
  if not tables:
    raise ValueError(f'{annotations[0]}: give train.csv, val.csv or test.csv')
  places = files.read_json(video_map) if video_map else {}
  second = files.read_json(references) if references else {}
  for path in tables:
    split = rows.split_name(files.stem(path), 'test')
    yield from _table(path, split, places, second if split == 'test' else {})


def _table(
  path: str,
  split: str,
  places: dict[str, str],
  second: dict[str, dict[str, str]],
) -> Iterator[rows.Row]:
  found: dict[str, list[rows.Question]] = {}
  seen: set[tuple[str, str]] = set()
  for line, row in files.csv_rows(path, _COLUMNS):
    if 'a0' in row:
      raise ValueError(
        f'{path}: the multiple-choice NExT-QA; NExT-OE has answers as text'
      )
    video, qid = row['video'].strip(), row['qid'].strip()
    if not video or (video, qid) in seen:
      raise ValueError(f'{path}:{line}: video {video!r}, qid {qid!r} again')
    seen.add((video, qid))
    more = second.get(video, {}).get(qid)
    found.setdefault(video, []).append(
      rows.Question(
        question=files.clean(row['question']),
        answer=files.clean(row['answer']),
        question_id=qid,
        kind=row['type'].strip(),
        more_answers=files.texts(more),
      )
    )
  for video, questions in found.items():
    names = [rows.VideoName(places[video])] if video in places else []
    yield rows.Row(
      clip_id=video,
      names=(*names, rows.VideoName(video)),
      questions=tuple(questions),
      split=split,
      source=video,
    )
