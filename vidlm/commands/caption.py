"""`vidlm caption`: a restored model, and what it should describe."""

import argparse
from typing import Any

from vidlm.commands import decoding_flags
from vidlm.core import command_line, launch, unread

# What gin may bind here.
_BOUND = (
  'vidlm.captions.caption.Run',
  'vidlm.captions.caption.caption',
  'vidlm.captions.folder.Cutting',
  'vidlm.captions.vlm.VLMCaptioner',
  'vidlm.data.video.sampling.Sampling',
)


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of `vidlm caption`."""
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
  parser.add_argument(
    '--prompt', help='your own question; by default that of the training'
  )
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
  parser.add_argument(
    '--follow_links',
    action='store_true',
    help='also take what links in --videos lead to outside of it',
  )
  parser.add_argument('--workers', type=int, help='decoding processes')
  parser.add_argument('--seed', type=int)
  parser.add_argument('--overwrite', action='store_true')
  parser.add_argument(
    '--retry_failed',
    action='store_true',
    help='do files again in which a clip has failed',
  )
  decoding_flags.add(parser)
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


def run(args: argparse.Namespace) -> int:
  """Captions, checks a finished set or repairs it, as the flags say.

  Returns:
    The exit status: 0, or 1 if nothing could be captioned or the set is
    damaged.

  Raises:
    ValueError: For flags that don't go together.
  """
  if args.verify:
    from vidlm.captions import verify

    report = verify.verify(args.output)
    print(report)
    return 0 if report.ok else 1
  return _repair(args) if args.repair else _caption(args)


def _caption(args: argparse.Namespace) -> int:
  """Captions as the flags say.

  Returns:
    0, or 1 if no clip could be captioned.

  Raises:
    ValueError: For flags that don't go together.
  """
  from vidlm.captions import caption, folder
  from vidlm.data.video import sampling
  from vidlm.models import restored, samplers

  if not args.checkpoint:
    raise ValueError('caption: give --checkpoint=MODEL_DIR of a trained model')
  if args.follow_links and not args.videos:
    raise ValueError('caption: --follow_links goes with --videos=DIR')
  vlm = restored.load_vlm(args.checkpoint)
  unread.check(command_line.parse_gin(args, required=False), _BOUND)
  options = command_line.given(
    args,
    'prompt',
    'num_samples',
    'max_length',
    'clips_per_device',
    'num_frames',
    'seed',
  )
  nucleus = command_line.given(args, 'top_p', 'temperature')
  if args.greedy:
    if nucleus:
      raise ValueError('caption: --greedy has no --top_p or --temperature')
    options['sampler'] = samplers.Greedy()
  elif nucleus:
    options['sampler'] = samplers.Nucleus(**nucleus)
  inputs = command_line.given(
    args, 'videos', 'clip_dataset', 'split', 'workers'
  )
  cutting = launch.bound(folder.Cutting)(
    sampling=launch.bound(sampling.Sampling)(**decoding_flags.sampling(args)),
    follow_links=args.follow_links,
    **command_line.given(args, 'clips'),
  )
  summary = launch.bound(caption.caption)(
    captioner=_captioner(vlm, args.framewise, options),
    output=args.output,
    cutting=cutting,
    run=launch.bound(caption.Run)(
      overwrite=args.overwrite, retry_failed=args.retry_failed
    ),
    **inputs,
  )
  print(summary)
  return 1 if summary.finished and summary.ok == 0 else 0


def _repair(args: argparse.Namespace) -> int:
  """Removes the damaged files of a finished set, and makes them again.

  Without a checkpoint it only removes them: the command that made the set then
  does the rest.

  Returns:
    As `_caption`; without a checkpoint 0 if the set is whole, or else 1.
  """
  from vidlm.captions import verify

  bad = verify.repair(args.output)
  for name in bad:
    print(f'{args.output}: {name} was damaged and is removed')
  if args.checkpoint:
    return _caption(args)
  report = verify.verify(args.output)
  print(report)
  return 0 if report.ok else 1


def _captioner(vlm: Any, by_frame: bool, options: dict[str, Any]) -> Any:
  from vidlm.captions import framewise
  from vidlm.captions import vlm as vlm_lib

  if not by_frame:
    return vlm_lib.of_restored(vlm, **options)
  shown = {'num_frames': options.pop('num_frames', None)}
  # One caption a frame unless told otherwise.
  image = vlm_lib.of_restored(
    vlm, **{'num_samples': 1, **options, 'num_frames': 1}
  )
  return framewise.FramewiseCaptioner(
    image, **{k: v for k, v in shown.items() if v is not None}
  )


COMMAND = command_line.Command(
  'caption',
  'clips or your own videos -> pseudo-captions',
  add_flags,
  run,
)
