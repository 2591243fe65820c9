"""`dualenc eval`: its flags, and what they ask for."""

import argparse
import json

from vidlm.core import command_line, processes


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of `dualenc eval`."""
  add = parser.add_argument
  add('--checkpoint', required=True, metavar='DIR')
  add('--clip_dataset', required=True, metavar='DIR')
  add(
    '--task',
    metavar='NAME',
    default='retrieval',
    help='retrieval, classification (your own clips); msrvtt_1ka, vatex_1.5k, '
    'kinetics400, kinetics600, kinetics700',
  )
  add('--split', help="of the clip set; by default the task's")
  add('--templates', help='kinetics_openai, kinetics_viclip, plain or a file')
  add('--classes', metavar='FILE', help='class names that compete, a line each')
  add(
    '--dual_softmax',
    type=float,
    metavar='SCALE',
    help='a second figure, re-weighted over all queries, such as 100',
  )
  add(
    '--allow',
    choices=['unavailable'],
    help='score without the annotated clips that are gone',
  )
  add('--views', type=int, default=1, help='parts of a clip, averaged (1)')
  add(
    '--framewise',
    action='store_true',
    help='each frame by itself, averaged: the image CLIP as a baseline',
  )
  add('--num_frames', type=int, help='frames of a view; as in training')
  add(
    '--clips_per_device',
    '--batch_size',
    type=int,
    help='clips a device takes at once (32)',
  )
  add('--output', metavar='FILE', help='scores as JSON')


def run(args: argparse.Namespace) -> None:
  """Scores as the flags say, and prints the scores.

  Raises:
    ValueError: For flags that don't go together.
  """
  from dualenc import eval as eval_lib
  from dualenc import views
  from dualenc.evals import protocols

  kind = protocols.get(args.task).kind
  others = {
    protocols.RETRIEVAL: ('templates', 'classes'),
    protocols.CLASSIFICATION: ('dual_softmax',),
  }
  for name in command_line.given(args, *others[kind]):
    raise ValueError(f'eval {args.task}: takes no --{name}, it is {kind}')
  config = eval_lib.EvalConfig(
    args.clip_dataset,
    dual_softmax_scale=args.dual_softmax,
    allow_unavailable=args.allow == 'unavailable',
    views=views.Views(args.views, args.framewise, args.num_frames),
    **command_line.given(
      args, 'task', 'split', 'templates', 'classes', 'clips_per_device'
    ),
  )
  scores = eval_lib.evaluate(args.checkpoint, config, args.output)
  if processes.is_first():
    print(json.dumps(scores, indent=2))


COMMAND = command_line.Command(
  'eval', 'zero-shot retrieval or classification', add_flags, run
)
