"""The record a clip is stored as, and what a clip set says about itself."""

import dataclasses
import json
import pathlib
from typing import Any

from vidlm.data.store import tf_example


@dataclasses.dataclass(frozen=True)
class ClipRow:
  """A clip as it is stored.

  Attributes:
    clip_id: Unique in its set.
    video: Name of the source.
    start: Seconds in the source.
    end: Seconds in the source.
    frames: JPEG bytes, all of one size.
    times: Seconds in the source, one a frame.
    texts: Captions.
    questions: Questions.
    answers: One for each question.
    label: Class name, or ''.
  """

  clip_id: str
  video: str
  start: float
  end: float
  frames: tuple[bytes, ...]
  times: tuple[float, ...]
  texts: tuple[str, ...] = ()
  questions: tuple[str, ...] = ()
  answers: tuple[str, ...] = ()
  label: str = ''

  def __post_init__(self) -> None:
    if not self.clip_id or not self.frames:
      raise ValueError(f'clip {self.clip_id!r}: needs an id and a frame')
    if len(self.frames) != len(self.times):
      raise ValueError(
        f'clip {self.clip_id}: {len(self.frames)} frames, '
        f'{len(self.times)} times'
      )
    if len(self.questions) != len(self.answers):
      raise ValueError(
        f'clip {self.clip_id}: {len(self.questions)} questions, '
        f'{len(self.answers)} answers'
      )


def features() -> Any:
  """The TFDS FeaturesDict of a clip record."""
  import numpy as np
  import tensorflow_datasets as tfds

  f = tfds.features
  return f.FeaturesDict(
    {
      'clip_id': f.Text(),
      'video': f.Text(),
      'start': f.Scalar(np.float32),
      'end': f.Scalar(np.float32),
      'frames': f.Sequence(
        f.Image(shape=(None, None, 3), encoding_format='jpeg')
      ),
      'times': f.Sequence(np.float32),
      'texts': f.Sequence(f.Text()),
      'questions': f.Sequence(f.Text()),
      'answers': f.Sequence(f.Text()),
      'label': f.Text(),
    }
  )


def example(row: ClipRow) -> dict[str, Any]:
  """A clip as TFDS takes it."""
  # Not dataclasses.asdict, which would copy the frames.
  fields = {
    field.name: getattr(row, field.name) for field in dataclasses.fields(row)
  }
  for name in ('frames', 'times', 'texts', 'questions', 'answers'):
    fields[name] = list(fields[name])
  return fields


def serialize(row: ClipRow) -> bytes:
  """The record of a clip, as TFDS encodes `features`, in a form of its own.

  TFDS leaves the order of a record's fields to protobuf, which takes another
  one in every process: the same set would never have the same bytes.
  """
  encoded = lambda texts: [text.encode() for text in texts]
  return tf_example.serialize(
    {
      'clip_id': encoded([row.clip_id]),
      'video': encoded([row.video]),
      'frames': row.frames,
      'texts': encoded(row.texts),
      'questions': encoded(row.questions),
      'answers': encoded(row.answers),
      'label': encoded([row.label]),
    },
    {'start': [row.start], 'end': [row.end], 'times': row.times},
  )


def index_row(row: ClipRow) -> dict[str, Any]:
  """What of a clip goes into the index: everything but frames and times."""
  return {
    'clip_id': row.clip_id,
    'video': row.video,
    'start': row.start,
    'end': row.end,
    'num_frames': len(row.frames),
    'texts': list(row.texts),
    'questions': list(row.questions),
    'answers': list(row.answers),
    'label': row.label,
  }


def index_schema() -> Any:
  """Arrow schema of index-SPLIT.parquet."""
  import pyarrow as pa

  texts = pa.list_(pa.string())
  return pa.schema(
    {
      'clip_id': pa.string(),
      'video': pa.string(),
      'start': pa.float64(),
      'end': pa.float64(),
      'num_frames': pa.int32(),
      'texts': texts,
      'questions': texts,
      'answers': texts,
      'label': pa.string(),
    }
  )


def splits(data_dir: str) -> dict[str, dict[str, Any]]:
  """The finished splits of a set as dataset_info.json has them, by name."""
  path = pathlib.Path(data_dir, 'dataset_info.json')
  if not path.exists():
    return {}
  info = json.loads(path.read_text(encoding='utf-8'))
  return {split['name']: split for split in info.get('splits', [])}
