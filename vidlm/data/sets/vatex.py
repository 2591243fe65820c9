"""VATEX: ten English captions a clip of ten seconds.

  vatex_training_v1.0.json, vatex_validation_v1.0.json,
  vatex_public_test_english_v1.1.json,
  vatex_private_test_without_annotations.json
      [{"videoID": "<YouTube id>_<start:06d>_<end:06d>", "enCap": [...]}]

The 1.5K test set of the literature is half of the validation file, chosen by a
list of ids that its users pass around: give it as --ids, and --split=test.
"""

from collections.abc import Iterator, Sequence

from vidlm.data.sets import files, rows


def read(annotations: Sequence[str]) -> Iterator[rows.Row]:
  """Reads captions, a row a clip; the private test set has none.

  Args:
    annotations: Files; splits are called train, val, test and private_test.

  Raises:
    ValueError: For a file of another kind; says which and where.
  """
  for path in annotations:
    content = files.read_json(path)
    if not isinstance(content, list):
      raise ValueError(f'{path}: not the list of clips of VATEX')
    stem = files.stem(path).lower()
    split = 'private_test' if 'private' in stem else rows.split_name(stem)
    for number, item in enumerate(content):
      where = f'{path}: clip {number}'
      video = str(files.want(item, 'videoID', where)).strip()
      span = rows.split_span(video)
      if span is None:
        raise ValueError(f'{where}: {video!r} is not <id>_<start>_<end>')
      yield rows.Row(
        clip_id=video,
        names=(
          rows.VideoName(video, seconds=max(span[2] - span[1], 0.0)),
          *rows.cut_from_youtube(*span),
        ),
        texts=files.texts(item.get('enCap') or []),
        split=split,
        source=span[0],
      )
