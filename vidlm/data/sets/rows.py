"""What an annotation file says of a clip, before its video is looked for."""

import dataclasses
import os
import re

# YouTube's ids: eleven characters, `-` and `_` among them, case matters.
_YOUTUBE_ID = r'[A-Za-z0-9_-]{11}'
_SPAN = re.compile(rf'({_YOUTUBE_ID})_(\d+)_(\d+)')
# v_ID, ID_000010_000020, ID_1.500_4.500, and Panda-70M's ID.7
_NUMBER = r'\d+(?:\.\d+)?'
_CUT = re.compile(rf'(?:v_)?({_YOUTUBE_ID})(?:_{_NUMBER}_{_NUMBER}|\.\d+)?')
_URL = re.compile(rf'(?:v=|youtu\.be/|/embed/|/shorts/)({_YOUTUBE_ID})')


@dataclasses.dataclass(frozen=True)
class VideoName:
  """A name the video may have on disk, and the clip in a file of that name.

  Attributes:
    name: Relative to the folder of videos; suffix and subfolders may be
      missing.
    start: Seconds in that file; None for its start.
    end: Seconds in that file; None for its end.
    seconds: What a file that holds the clip alone should have; 0 if unknown.
    archive: The tar or Parquet file the row is from, if its video is in there.
  """

  name: str
  start: float | None = None
  end: float | None = None
  seconds: float = 0.0
  archive: str = ''


@dataclasses.dataclass(frozen=True)
class Question:
  """A question on a clip.

  Attributes:
    question: As the set has it.
    answer: The right answer.
    question_id: Unique within the clip, or ''.
    kind: The set's own type of question, or ''.
    more_answers: Further answers that count as right.
  """

  question: str
  answer: str
  question_id: str = ''
  kind: str = ''
  more_answers: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Row:
  """A clip of a set.

  Attributes:
    clip_id: Unique in its split.
    names: Names its video may have, the likeliest first.
    texts: Captions.
    questions: Questions with answers.
    label: Class name.
    split: 'train', 'val', 'test' ...
    source: What the video is called where it comes from (a YouTube id), for
      finding it in other sets; '' where nobody knows.
    reason: Why there can't be a video, one of `decoding.REASONS`; mostly ''.
    message: The same in one line.
  """

  clip_id: str
  names: tuple[VideoName, ...]
  texts: tuple[str, ...] = ()
  questions: tuple[Question, ...] = ()
  label: str = ''
  split: str = 'train'
  source: str = ''
  reason: str = ''
  message: str = ''


def cut_from_youtube(
  video_id: str, start: float, end: float
) -> tuple[VideoName, ...]:
  """Returns names for a clip of a YouTube video.

  Kinetics' and VATEX's downloaders write one file a clip, ID_000010_000020 or
  ID_10_20; others keep the whole video as ID or v_ID, to be cut.

  Args:
    video_id: YouTube's id.
    start: Seconds.
    end: Seconds.
  """
  names = []
  length = max(end - start, 0.0)
  if float(start).is_integer() and float(end).is_integer():
    first, last = int(start), int(end)
    names = [
      VideoName(f'{video_id}_{first:06d}_{last:06d}', seconds=length),
      VideoName(f'{video_id}_{first}_{last}', seconds=length),
    ]
  else:
    names = [VideoName(f'{video_id}_{start:.3f}_{end:.3f}', seconds=length)]
  whole = [VideoName(n, start, end) for n in (video_id, f'v_{video_id}')]
  return (*names, *whole)


def split_span(name: str) -> tuple[str, float, float] | None:
  """Splits a name such as 5-xGskbsBgI_000055_000065 into id, start and end.

  The id may hold `_` and `-` itself.
  """
  match = _SPAN.fullmatch(name)
  return (match[1], float(match[2]), float(match[3])) if match else None


def bare_id(name: str) -> str:
  """Returns ActivityNet's name of a video without its `v_`.

  One YouTube id in 4,096 begins with `v_` itself, and keeps it.
  """
  if re.fullmatch(_YOUTUBE_ID, name):
    return name
  return name.removeprefix('v_')


def youtube_id(url: str) -> str:
  """Returns the video's id in a YouTube address; '' if there is none."""
  match = _URL.search(url)
  return match[1] if match else ''


def source_id(name: str) -> str:
  """Returns what a file is likely called where it comes from.

  Args:
    name: Name of a video file, such as val/v_1QIUV7WYKXg.mp4 or
      5-xGskbsBgI_000055_000065.mp4.

  Returns:
    The YouTube id where the name holds one in a known form, else the file's
    name without folder and suffix.
  """
  stem = os.path.splitext(os.path.basename(name))[0]
  match = _CUT.fullmatch(stem)
  return match[1] if match else stem


def split_name(text: str, default: str = 'train') -> str:
  """Returns 'train', 'val' or 'test' for what sets call their parts.

  Args:
    text: A split's name (`validate`, `public_test`) or that of a file.
    default: For a text that names none of them.
  """
  words = re.split(r'[^a-z]+', text.lower())
  for word in words:
    if word.startswith('val'):
      return 'val'
    if word in ('test', 'testing'):
      return 'test'
    if word.startswith('train'):
      return 'train'
  return default
