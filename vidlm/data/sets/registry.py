"""The data sets `vidlm prepare` knows, without importing what reads them."""

import dataclasses
import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class SetReader:
  """A data set.

  Attributes:
    module: In `vidlm.data.sets`.
    help: One line: what to give as annotations.
    function: Name in the module: (annotations, **flags) -> rows.
    flags: Further flags of `vidlm prepare` the function takes.
    needs_annotations: False where the videos bring their texts along.
  """

  module: str
  help: str
  function: str = 'read'
  flags: tuple[str, ...] = ()
  needs_annotations: bool = True


SETS: Mapping[str, SetReader] = {
  'msrvtt': SetReader(
    'msrvtt', 'captions JSON; 1k-A CSV; 9k, 7k and other lists of ids'
  ),
  'msrvtt_qa': SetReader(
    'msrvtt', 'train_qa.json, val_qa.json, test_qa.json', 'read_questions'
  ),
  'activitynet': SetReader(
    'activitynet', 'train.json, val_1.json, val_2.json: a clip a segment'
  ),
  'activitynet_qa': SetReader(
    'activitynet', '*_q.json and *_a.json', 'read_questions'
  ),
  'next_oe': SetReader(
    'next_oe',
    'train.csv, val.csv, test.csv',
    flags=('references', 'video_map'),
  ),
  'vidln': SetReader(
    'vidln', '*.jsonl of OVIS, UVO, Oops, Kinetics: a clip a video'
  ),
  'oops_qa': SetReader('vidln', 'qa_text_output.json', 'read_questions'),
  'vatex': SetReader(
    'vatex', 'vatex_*.json; the 1.5K test: validation, --ids, --split=test'
  ),
  'kinetics400': SetReader('kinetics', 'train.csv, val.csv ...'),
  'kinetics600': SetReader('kinetics', 'train.csv, val.csv ...'),
  'kinetics700': SetReader('kinetics', 'train.csv, validate.csv ...'),
  'smit': SetReader('smit', 'a table of your own: video, caption[, split]'),
  'videocc': SetReader('web_clips', 'video_cc_public.csv', 'read_videocc'),
  'internvid': SetReader(
    'web_clips', 'InternVid-10M-FLT, .jsonl or .parquet', 'read_internvid'
  ),
  'llava': SetReader(
    'conversations', 'llava_instruct_150k.json; --videos: images', 'read_llava'
  ),
  'video_chatgpt': SetReader(
    'conversations', 'VideoInstruct100K.json', 'read_video_chatgpt'
  ),
  'webdataset': SetReader(
    'packs',
    'nothing: --videos=DIR with tars of .mp4, .txt, .json',
    'read_tars',
    needs_annotations=False,
  ),
  'parquet': SetReader(
    'packs',
    'nothing: --videos=DIR with Parquet files that hold videos',
    'read_parquet',
    needs_annotations=False,
  ),
}

# Flag -> help; those of one set only say whose they are.
FLAGS: Mapping[str, str] = {
  'references': 'next_oe: add_reference_answer_test.json',
  'video_map': 'next_oe: map_vid_vidorID.json, where VidOR keeps the videos',
}


def read(
  name: str,
  annotations: Sequence[str],
  flags: Mapping[str, Any],
  videos: Any = '',
) -> Iterator[Any]:
  """Reads the rows of a set.

  Args:
    name: One of SETS.
    annotations: Files or folders of them.
    flags: Those that were given.
    videos: Folder of videos, for sets that bring their texts along.

  Raises:
    ValueError: For an unknown set, a flag it has no use for, or a missing
      --annotations.
  """
  from vidlm.data.sets import files

  if name not in SETS:
    raise ValueError(f'{name}: unknown; there are {", ".join(SETS)}')
  chosen = SETS[name]
  for flag in flags:
    if flag not in chosen.flags:
      owners = [n for n, s in SETS.items() if flag in s.flags]
      raise ValueError(
        f'prepare {name}: no use for --{flag}; it is for {", ".join(owners)}'
      )
  if not annotations and chosen.needs_annotations:
    raise ValueError(f'prepare {name}: give --annotations ({chosen.help})')
  paths = files.expand(annotations) if annotations else files.archives(videos)
  module = importlib.import_module(f'vidlm.data.sets.{chosen.module}')
  yield from getattr(module, chosen.function)(paths, **flags)
