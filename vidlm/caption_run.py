"""`vidlm caption`: a restored model, and what it should describe."""

import argparse
from typing import Any

from vidlm import restored, samplers
from vidlm.captions import caption as caption_lib
from vidlm.captions import captioner as captioner_lib
from vidlm.captions import framewise
from vidlm.captions import vlm as vlm_lib
from vidlm.core import commands, launch


def run(args: argparse.Namespace) -> int:
  """Captions as the flags of `vidlm caption` say.

  Returns:
    0, or 1 if no clip could be captioned.

  Raises:
    ValueError: For flags that don't go together.
  """
  if not args.checkpoint:
    raise ValueError('caption: give --checkpoint=MODEL_DIR of a trained model')
  vlm = restored.load_vlm(args.checkpoint)
  commands.parse_gin(args, required=False)
  options = commands.given(
    args,
    'prompt',
    'num_samples',
    'max_length',
    'clips_per_device',
    'num_frames',
    'seed',
  )
  nucleus = commands.given(args, 'top_p', 'temperature')
  if args.greedy:
    if nucleus:
      raise ValueError('caption: --greedy has no --top_p or --temperature')
    options['sampler'] = samplers.Greedy()
  elif nucleus:
    options['sampler'] = samplers.Nucleus(**nucleus)
  inputs = commands.given(
    args, 'videos', 'clip_dataset', 'split', 'clips', 'workers'
  )
  summary = launch.bound(caption_lib.caption)(
    captioner=_captioner(vlm, args.framewise, options),
    output=args.output,
    overwrite=args.overwrite,
    retry_failed=args.retry_failed,
    **inputs,
  )
  print(summary)
  return 1 if summary.finished and summary.ok == 0 else 0


def repair(args: argparse.Namespace) -> int:
  """Removes the damaged files of a finished set, and makes them again.

  Without a checkpoint it only removes them: the command that made the set then
  does the rest.

  Returns:
    As `run`; without a checkpoint 0 if the set is whole, or else 1.
  """
  from vidlm.captions import verify

  bad = verify.repair(args.output)
  for name in bad:
    print(f'{args.output}: {name} was damaged and is removed')
  if args.checkpoint:
    return run(args)
  report = verify.verify(args.output)
  print(report)
  return 0 if report.ok else 1


def _captioner(
  vlm: restored.RestoredVLM, by_frame: bool, options: dict[str, Any]
) -> captioner_lib.Captioner:
  if not by_frame:
    return captioner(vlm, **options)
  shown = {'num_frames': options.pop('num_frames', None)}
  # One caption a frame unless told otherwise.
  image = captioner(vlm, **{'num_samples': 1, **options, 'num_frames': 1})
  return framewise.FramewiseCaptioner(
    image, **{k: v for k, v in shown.items() if v is not None}
  )


def captioner(
  vlm: restored.RestoredVLM, **options: Any
) -> vlm_lib.VLMCaptioner:
  """A captioner of a restored model; options as of `VLMCaptioner`."""
  return launch.bound(vlm_lib.VLMCaptioner)(
    model=vlm.objective.model,
    params=vlm.params,
    vocabulary=vlm.vocabulary,
    **{'num_frames': vlm.num_frames, 'image_size': vlm.image_size, **options},
  )
