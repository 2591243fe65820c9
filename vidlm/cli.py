"""`vidlm prepare|instruct|train|caption|eval|plan|convert`.

Only argparse is imported here; every command imports what it needs when it
runs, so that `--help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from vidlm import convert_run, eval_run, prepare_run
from vidlm.core import commands, huge_pages


def main(argv: Sequence[str] | None = None) -> None:
  """Entry point of the `vidlm` command."""
  if argv is None:
    huge_pages.restart()
    argv = sys.argv[1:]
  sys.exit(
    commands.run(
      'vidlm',
      'Adapt an image vision-language model to video, and caption with it.',
      COMMANDS,
      argv,
    )
  )


def _instruct_flags(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument
  add(
    'what',
    nargs='?',
    choices=['questions', 'summarize'],
    default='questions',
    help='questions and answers of captions (default), or one caption out of '
    "a clip's several, such as those of its frames",
  )
  add(
    '--captions',
    required=True,
    metavar='FILE',
    help='.jsonl, .csv, .tsv or .parquet; for summarize the folder of a '
    'caption set',
  )
  add('--id_column', metavar='NAME', help='clip ids (clip_id)')
  add('--caption_column', metavar='NAME', help='texts (caption)')
  add('--source_column', metavar='NAME', help='data set (source, if there)')
  add('--output', required=True, metavar='DIR')
  add('--base_url', metavar='URL', help='any OpenAI-compatible endpoint')
  add('--model', help='the name the endpoint knows it by')
  add('--mode', choices=['chat', 'completion'])
  add('--temperature', type=float, help='of the answers (0.7)')
  add('--top_p', type=float, help='nucleus of the answers (0.95)')
  add('--max_tokens', type=int, help='of an answer (256)')
  add('--timeout', type=float, help='seconds for a request (60)')
  add(
    '--max_attempts',
    type=int,
    help='requests for an answer if the endpoint fails (6)',
  )
  add('--kinds', help='of temporal,causal,short (all)')
  add('--draws_per_clip', type=int, help='questions of each kind (1)')
  add('--retries', type=int, help='further draws for a rejected answer (1)')
  add('--concurrency', type=int, help='requests at a time (8)')
  add('--limit', type=int, help='only the first captions')
  add('--seed', type=int, help='of the examples shown (0)')


def _instruct(args: argparse.Namespace) -> int | None:
  from vidlm import instruct_run

  return instruct_run.run(args)


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
  parser.add_argument(
    '--framewise',
    action='store_true',
    help='caption each of the frames (8) by itself, with an image model',
  )
  parser.add_argument('--workers', type=int, help='decoding processes')
  parser.add_argument('--seed', type=int)
  parser.add_argument('--overwrite', action='store_true')
  parser.add_argument(
    '--retry_failed',
    action='store_true',
    help='do files again in which a clip has failed',
  )
  checks = parser.add_mutually_exclusive_group()
  checks.add_argument(
    '--verify',
    action='store_true',
    help='only check the finished set in --output',
  )
  checks.add_argument(
    '--repair',
    action='store_true',
    help='do damaged files again; without a checkpoint only remove them',
  )


def _caption(args: argparse.Namespace) -> int | None:
  if args.verify:
    from vidlm.captions import verify

    report = verify.verify(args.output)
    print(report)
    return 0 if report.ok else 1
  from vidlm import caption_run

  if args.repair:
    return caption_run.repair(args)
  return caption_run.run(args)


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
    notes=commands.EXIT_STATUS,
  ),
  commands.Command(
    'caption',
    'clips or your own videos -> pseudo-captions',
    _caption_flags,
    _caption,
  ),
  commands.Command(
    'eval',
    'score a model, or a file of predictions, by a published protocol',
    eval_run.add_flags,
    eval_run.run,
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
