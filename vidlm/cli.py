"""`vidlm prepare|instruct|train|caption|eval|plan`.

Only argparse is imported here; every command imports what it needs when it
runs, so that `--help` answers at once.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from vidlm import prepare_run
from vidlm.core import commands, launch


def main(argv: Sequence[str] | None = None) -> None:
  """Entry point of the `vidlm` command."""
  argv = sys.argv[1:] if argv is None else list(argv)
  sys.exit(
    commands.run(
      'vidlm',
      'Adapt an image vision-language model to video, and caption with it.',
      COMMANDS,
      argv,
    )
  )


def _instruct_flags(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--captions',
    required=True,
    metavar='FILE',
    help='.jsonl, .csv or .parquet with clip_id and caption',
  )
  parser.add_argument('--output', required=True, metavar='DIR')
  parser.add_argument(
    '--base_url', metavar='URL', help='any OpenAI-compatible endpoint'
  )
  parser.add_argument('--model', help='the name the endpoint knows it by')
  parser.add_argument('--kinds', help='of temporal,causal,short (all)')
  parser.add_argument('--draws_per_clip', type=int)
  parser.add_argument('--concurrency', type=int)
  parser.add_argument('--limit', type=int, help='only the first captions')
  parser.add_argument('--mode', choices=['chat', 'completion'])
  parser.add_argument('--seed', type=int)


def _instruct(args: argparse.Namespace) -> None:
  commands.parse_gin(args, required=False)
  from vidlm.instruct import client, generate, records

  if not args.base_url or not args.model:
    raise ValueError(
      'instruct: give --base_url=http://HOST:PORT/v1 and --model=NAME of an '
      'OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY'
    )
  completer = launch.bound(client.OpenAICompleter)(
    base_url=args.base_url, model=args.model, **commands.given(args, 'mode')
  )
  options = commands.given(
    args, 'draws_per_clip', 'concurrency', 'limit', 'seed'
  )
  if args.kinds:
    options['kinds'] = tuple(args.kinds.split(','))
  launch.bound(generate.generate)(
    captions=records.read_captions(args.captions),
    output=args.output,
    completer=completer,
    **options,
  )


def _train(args: argparse.Namespace) -> int | None:
  commands.parse_gin(args)
  from vidlm import train

  return train.run()


def _caption_flags(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    '--checkpoint',
    metavar='DIR',
    help='MODEL_DIR of a run, or a checkpoint in it',
  )
  parser.add_argument('--videos', metavar='DIR', help='a folder of videos')
  parser.add_argument(
    '--clip_dataset', metavar='DIR', help='a clip set made by `vidlm prepare`'
  )
  parser.add_argument('--split', help='of the clip set (train)')
  parser.add_argument('--output', required=True, metavar='DIR')
  parser.add_argument(
    '--clips',
    metavar='HOW',
    help='whole, fixed:4s or scenes: how films are cut',
  )
  parser.add_argument('--prompt', help='your own question')
  parser.add_argument('--num_samples', type=int, help='captions a clip (4)')
  parser.add_argument('--max_length', type=int, help='tokens a caption (64)')
  parser.add_argument(
    '--greedy',
    action='store_true',
    help='the likeliest caption instead of samples',
  )
  parser.add_argument('--top_p', type=float)
  parser.add_argument('--temperature', type=float)
  parser.add_argument('--clips_per_device', type=int)
  parser.add_argument('--num_frames', type=int, help='as in training')
  parser.add_argument('--workers', type=int, help='decoding processes')
  parser.add_argument('--seed', type=int)
  parser.add_argument('--overwrite', action='store_true')
  parser.add_argument(
    '--verify',
    action='store_true',
    help='only check the finished set in --output',
  )


def _caption(args: argparse.Namespace) -> int | None:
  if args.verify:
    from vidlm.captions import verify

    report = verify.verify(args.output)
    print(report)
    return 0 if report.ok else 1
  from vidlm import caption_run

  return caption_run.run(args)


def _eval_flags(parser: argparse.ArgumentParser) -> None:
  parser.add_argument('--checkpoint', required=True, metavar='DIR')
  parser.add_argument('--clip_dataset', required=True, metavar='DIR')
  parser.add_argument('--split', default='test')
  parser.add_argument(
    '--kind', choices=['caption', 'question'], default='caption'
  )
  parser.add_argument('--prompt')
  parser.add_argument('--num_frames', type=int)
  parser.add_argument('--batch_size', type=int)
  parser.add_argument('--max_length', type=int)
  parser.add_argument(
    '--output', metavar='FILE', help='scores and predictions as JSON'
  )


def _eval(args: argparse.Namespace) -> None:
  from vidlm import eval as eval_lib

  scores = eval_lib.evaluate(
    checkpoint=args.checkpoint,
    clip_dataset=args.clip_dataset,
    split=args.split,
    kind=args.kind,
    **commands.given(
      args, 'prompt', 'num_frames', 'batch_size', 'max_length', 'output'
    ),
  )
  shown = {k: v for k, v in scores.items() if k != 'predictions'}
  print(json.dumps(shown, indent=2))


def _plan(args: argparse.Namespace) -> None:
  # Counting needs no accelerator, and must not take one from a running job.
  os.environ.setdefault('JAX_PLATFORMS', 'cpu')
  from vidlm import plan_run

  plan_run.run('vidlm', args)


COMMANDS = (
  commands.Command(
    'prepare',
    'videos and annotations -> clip sets',
    prepare_run.add_flags,
    prepare_run.run,
    uses_jax=False,
  ),
  commands.Command(
    'instruct',
    'captions and an LLM -> questions and answers',
    _instruct_flags,
    _instruct,
    uses_jax=False,
  ),
  commands.Command(
    'train',
    'train a stage, as its gin recipe says',
    lambda parser: None,
    _train,
  ),
  commands.Command(
    'caption',
    'clips or your own videos -> pseudo-captions',
    _caption_flags,
    _caption,
  ),
  commands.Command(
    'eval', 'score captions (CIDEr-D) or answers (accuracy)', _eval_flags, _eval
  ),
  commands.Command(
    'plan',
    'parameters, FLOPs, bytes and hours of a recipe',
    commands.add_plan_flags,
    _plan,
    uses_jax=False,
  ),
)

if __name__ == '__main__':
  main()
