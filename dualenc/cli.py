"""`dualenc train|eval|plan|convert`; see `vidlm.cli` for the manners."""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from vidlm import convert_run
from vidlm.core import commands, huge_pages


def main(argv: Sequence[str] | None = None) -> None:
  """Entry point of the `dualenc` command."""
  if argv is None:
    huge_pages.restart()
    argv = sys.argv[1:]
  sys.exit(
    commands.run(
      'dualenc',
      'Train a video-text dual encoder on captions, and score it zero-shot.',
      COMMANDS,
      argv,
    )
  )


def _train(args: argparse.Namespace) -> int | None:
  commands.parse_gin(args)
  from vidlm import train

  return train.run()


def _eval_flags(parser: argparse.ArgumentParser) -> None:
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
  add('--batch_size', type=int)
  add('--output', metavar='FILE', help='scores as JSON')


def _eval(args: argparse.Namespace) -> None:
  from dualenc import eval as eval_lib
  from dualenc import views
  from dualenc.evals import protocols

  kind = protocols.get(args.task).kind
  others = {
    protocols.RETRIEVAL: ('templates', 'classes'),
    protocols.CLASSIFICATION: ('dual_softmax',),
  }
  for name in commands.given(args, *others[kind]):
    raise ValueError(f'eval {args.task}: takes no --{name}, it is {kind}')
  scores = eval_lib.evaluate(
    checkpoint=args.checkpoint,
    clip_dataset=args.clip_dataset,
    dual_softmax_scale=args.dual_softmax,
    allow_unavailable=args.allow == 'unavailable',
    views=views.Views(args.views, args.framewise, args.num_frames),
    **commands.given(
      args, 'task', 'split', 'templates', 'classes', 'batch_size', 'output'
    ),
  )
  print(json.dumps(scores, indent=2))


def _plan(args: argparse.Namespace) -> None:
  # Counting needs no accelerator, and must not take one from a running job.
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  from vidlm import plan_run

  plan_run.run('dualenc', args)


COMMANDS = (
  commands.Command(
    'train',
    'train two towers, as the gin recipe says',
    lambda parser: None,
    _train,
    notes=commands.EXIT_STATUS,
  ),
  commands.Command(
    'eval', 'zero-shot retrieval or classification', _eval_flags, _eval
  ),
  commands.Command(
    'plan',
    'parameters, FLOPs, bytes and hours of a recipe',
    commands.add_plan_flags,
    _plan,
    uses_jax=False,
  ),
  convert_run.COMMAND,
)

if __name__ == '__main__':
  main()
