"""`vidlm prepare`: its flags, and what they start.

Reading videos is imported when a command runs, so that `--help` answers at
once.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from vidlm.commands import decoding_flags
from vidlm.core import command_line, launch, unread
from vidlm.data.sets import registry

COLUMNS = (
  'id',
  'video',
  'caption',
  'start',
  'end',
  'question',
  'answer',
  'label',
  'split',
)
# What gin may bind here.
_BOUND = (
  'vidlm.data.prepare.pipeline.Layout',
  'vidlm.data.prepare.pipeline.Work',
  'vidlm.data.prepare.pipeline.prepare_folder',
  'vidlm.data.sets.build.Selection',
  'vidlm.data.sets.build.prepare_set',
  'vidlm.data.video.sampling.Sampling',
  'vidlm.miniature.world.prepare.prepare_miniature',
)
_SAMPLING = ('fps', 'min_frames', 'max_frames', 'size')


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of `vidlm prepare`."""
  parser.formatter_class = argparse.RawDescriptionHelpFormatter
  parser.epilog = 'data sets, and what to give as --annotations:\n' + ''.join(
    f'  {name:16} {reader.help}\n' for name, reader in registry.SETS.items()
  )
  parser.add_argument(
    'source',
    nargs='?',
    metavar='SOURCE',
    choices=['folder', 'miniature', *registry.SETS],
    help='folder: your videos and a captions file; miniature: a drawn world; '
    'or a data set named below',
  )
  parser.add_argument('--videos', metavar='DIR', help='folder of videos')
  parser.add_argument(
    '--follow_links',
    action='store_true',
    help='also take what links in --videos lead to outside of it',
  )
  parser.add_argument(
    '--annotations',
    action='append',
    default=[],
    metavar='FILE',
    help='captions: .jsonl, .csv, .tsv or .parquet; of a data set its own '
    'files, repeated, or the folder they are in',
  )
  parser.add_argument('--output', required=True, metavar='DIR')
  for column in COLUMNS:
    parser.add_argument(f'--{column}_column', metavar='NAME')
  parser.add_argument(
    '--clips',
    metavar='HOW',
    help='without annotations: whole, fixed:4s or scenes',
  )
  parser.add_argument(
    '--val_fraction', type=float, help='share of the videos kept for validation'
  )
  parser.add_argument('--fps', type=float, help='frames a second (2)')
  parser.add_argument(
    '--min_frames',
    type=int,
    help='a clip too short for so many is sampled denser',
  )
  parser.add_argument('--max_frames', type=int, help='frames kept of a clip')
  parser.add_argument(
    '--size', type=int, help='shorter side in pixels (256); 0 keeps it'
  )
  parser.add_argument('--workers', type=int, help='decoding processes')
  parser.add_argument('--num_shards', type=int)
  parser.add_argument(
    '--beam_pipeline_options',
    metavar='OPTIONS',
    help='decode on Apache Beam, as in "runner=FlinkRunner,parallelism=64"; '
    'without a runner, or with "", in this process',
  )
  parser.add_argument('--overwrite', action='store_true')
  parser.add_argument('--seed', type=int, default=0, help='miniature only')
  decoding_flags.add(parser)
  _set_flags(parser.add_argument_group('data sets'))


def _set_flags(group: argparse._ArgumentGroup) -> None:
  group.add_argument(
    '--ids', metavar='FILE', help='keep the clips or videos of this list'
  )
  group.add_argument('--split', metavar='NAME', help='what to call the split')
  group.add_argument('--limit', type=int, help='first clips of each split')
  group.add_argument(
    '--frame_rate', type=float, help='of folders of frames (30)'
  )
  group.add_argument(
    '--min_seconds', type=float, help='shorter clips are left out'
  )
  group.add_argument(
    '--check_overlap',
    action='append',
    default=[],
    metavar='DIR[:SPLIT]',
    help='also report the training clips of --output that are in this '
    'evaluation set, by source or by near-identical frames; without SOURCE '
    'nothing else is done',
  )
  for flag, text in registry.FLAGS.items():
    group.add_argument(f'--{flag}', metavar='FILE', help=text)


def run(args: argparse.Namespace) -> None:
  """Prepares what the flags say and prints the counts.

  Raises:
    ValueError: For flags that don't go together.
  """
  unread.check(command_line.parse_gin(args, required=False), _BOUND)
  if args.source is not None:
    _prepare(args)
  elif not args.check_overlap:
    raise ValueError(
      'prepare: say what: folder, miniature or a data set (see --help)'
    )
  if args.check_overlap:
    from vidlm.data.sets import overlap

    print(overlap.check(args.output, args.check_overlap))


def _prepare(args: argparse.Namespace) -> None:
  if args.source == 'miniature':
    from vidlm.miniature.world import prepare as miniature

    launch.bound(miniature.prepare_miniature)(
      args.output,
      seed=args.seed,
      overwrite=args.overwrite,
      **command_line.given(args, 'workers'),
    )
    return
  if not args.videos:
    raise ValueError(f'prepare {args.source}: give --videos=DIR')
  make = _prepare_folder if args.source == 'folder' else _prepare_set
  print(make(args))


def _prepare_folder(args: argparse.Namespace) -> object:
  from vidlm.data.prepare import pipeline

  if len(args.annotations) > 1:
    raise ValueError('prepare folder: give one file of --annotations')
  columns = {
    column: getattr(args, f'{column}_column')
    for column in COLUMNS
    if getattr(args, f'{column}_column') is not None
  }
  return launch.bound(pipeline.prepare_folder)(
    videos=_videos(args),
    output=args.output,
    annotations=next(iter(args.annotations), None),
    columns=columns,
    **command_line.given(args, 'clips'),
    **_how(args, _SAMPLING, ('num_shards', 'val_fraction')),
  )


def _prepare_set(args: argparse.Namespace) -> object:
  from vidlm.data.sets import build

  selection = launch.bound(build.Selection)(
    flags=command_line.given(args, *registry.FLAGS),
    **command_line.given(args, 'ids', 'split', 'limit'),
  )
  sampling = (*_SAMPLING, 'frame_rate', 'min_seconds')
  return launch.bound(build.prepare_set)(
    name=args.source,
    videos=_videos(args),
    output=args.output,
    annotations=args.annotations,
    selection=selection,
    **_how(args, sampling, ('num_shards',)),
  )


def _videos(args: argparse.Namespace) -> Any:
  from vidlm.data.video import scanner

  return scanner.Folder(args.videos, args.follow_links)


def _how(
  args: argparse.Namespace, sampling: Sequence[str], layout: Sequence[str]
) -> dict[str, Any]:
  """How frames are sampled, where they go and who does it, as flags say.

  Args:
    args: The flags.
    sampling: Those of `Sampling` that count here.
    layout: Likewise of `Layout`.
  """
  from vidlm.data.prepare import pipeline
  from vidlm.data.video import sampling as sampling_lib

  given = command_line.given
  return {
    'sampling': launch.bound(sampling_lib.Sampling)(
      **given(args, *sampling), **decoding_flags.sampling(args)
    ),
    'layout': launch.bound(pipeline.Layout)(**given(args, *layout)),
    'work': launch.bound(pipeline.Work)(
      overwrite=args.overwrite,
      **given(args, 'workers', 'beam_pipeline_options'),
    ),
  }


COMMAND = command_line.Command(
  'prepare',
  'videos and annotations -> clip sets',
  add_flags,
  run,
  uses_jax=False,
)
