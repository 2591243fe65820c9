"""`vidlm eval`: its flags, and what they ask for."""

import argparse
import json
from typing import Any

from vidlm.core import command_line, processes

_TASKS = (
  'captions, answers (of your own clips); msrvtt_captions, smit_captions, '
  'activitynet_captions_segments, activitynet_captions_densevid, msrvtt_qa, '
  'activitynet_qa, next_oe'
)


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Adds the flags of `vidlm eval`."""
  parser.add_argument('--task', metavar='NAME', help=_TASKS)
  parser.add_argument(
    '--checkpoint', metavar='DIR', help='MODEL_DIR of a run to be scored'
  )
  parser.add_argument('--clip_dataset', metavar='DIR', help='what it is shown')
  parser.add_argument(
    '--predictions',
    metavar='FILE',
    help='score this file in place of a model: {id: text}, a table, a '
    'submission, or the folder of a caption set',
  )
  _add_columns(parser)
  parser.add_argument(
    '--annotations',
    metavar='FILE',
    action='append',
    help="the data set's own files (repeatable); by default the clip set's",
  )
  parser.add_argument(
    '--split',
    help='by default the one papers report; val_1,val_2 pools both (densevid)',
  )
  parser.add_argument(
    '--allow',
    metavar='WHAT',
    help='ids that may differ: missing (as empty), unavailable (left out), '
    'extra, duplicates; and perfect: predictions that are the annotations; '
    'comma-separated',
  )
  parser.add_argument(
    '--meteor',
    action='store_true',
    help="also METEOR as NLTK computes it: not papers' METEOR 1.5",
  )
  parser.add_argument(
    '--kind', choices=['caption', 'question'], help='without --task'
  )
  parser.add_argument(
    '--prompt', help='your own instruction; by default that of the training'
  )
  parser.add_argument('--num_frames', type=int)
  parser.add_argument(
    '--clips_per_device',
    '--batch_size',
    type=int,
    help='examples a device takes at once (16)',
  )
  parser.add_argument('--max_length', type=int)
  parser.add_argument(
    '--output', metavar='FILE', help='scores and predictions as JSON'
  )


def _add_columns(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument
  add('--id_column', metavar='NAME', help='ids, in the table of predictions')
  add(
    '--prediction_column',
    metavar='NAME',
    help='what the model said, where several columns could be meant',
  )
  add(
    '--sample',
    type=int,
    metavar='N',
    help='which of several texts of a clip, from 0',
  )
  add('--annotation_id_column', metavar='NAME', help='ids, in --annotations')
  add('--annotation_column', metavar='NAME', help='what is right, in there')


def _files(args: argparse.Namespace, options: dict[str, Any]) -> Any:
  """Returns the predictions, and puts annotations with columns into options.

  Raises:
    ValueError: For columns of a file that isn't given.
  """
  from vidlm.evals import text_rows

  own = command_line.given(args, 'id_column', 'prediction_column', 'sample')
  theirs = command_line.given(args, 'annotation_id_column', 'annotation_column')
  if own and not args.predictions:
    raise ValueError(f'eval: --{min(own)} is of a file: give --predictions')
  if theirs and not args.annotations:
    raise ValueError(f'eval: --{min(theirs)} is of a file: give --annotations')
  if theirs:
    columns = args.annotation_id_column, args.annotation_column
    options['annotations'] = [
      text_rows.TextFile(path, *columns, role=text_rows.ANNOTATION)
      for path in args.annotations
    ]
  if not own:
    return args.predictions
  return text_rows.TextFile(
    args.predictions, args.id_column, args.prediction_column, args.sample
  )


def run(args: argparse.Namespace) -> None:
  """Scores as the flags say, and prints the scores.

  Raises:
    ValueError: For flags that don't go together.
  """
  if not args.predictions and not (args.checkpoint and args.clip_dataset):
    raise ValueError(
      'eval: give --checkpoint=DIR and --clip_dataset=DIR, or '
      '--predictions=FILE'
    )
  if args.predictions and args.checkpoint:
    raise ValueError('eval: --predictions needs no --checkpoint; choose one')
  options = {
    **command_line.given(args, 'task', 'clip_dataset', 'split', 'annotations'),
    'allow': tuple(filter(None, (args.allow or '').split(','))),
    'with_meteor': args.meteor,
  }
  from vidlm.core import ids
  from vidlm.evals import file_scores

  ids.check_allowed(options['allow'])
  predictions = _files(args, options)
  asked = command_line.given(
    args, 'kind', 'prompt', 'num_frames', 'clips_per_device', 'max_length'
  )
  if args.predictions:
    if asked:
      raise ValueError(
        f'eval: --predictions asks no model; leave out --{min(asked)}'
      )
    command_line.check_output(args.output)
    if not args.task:
      raise ValueError(f'eval: give --task=NAME for --predictions: {_TASKS}')
    scores = file_scores.evaluate_file(
      predictions=predictions, output=args.output, **options
    )
  else:
    from vidlm import eval as eval_lib

    config = eval_lib.EvalConfig(**options, **asked)
    scores = eval_lib.evaluate(args.checkpoint, config, args.output)
  hidden = ('predictions', 'cider_per_item')
  shown = {k: v for k, v in scores.items() if k not in hidden}
  if processes.is_first():
    print(json.dumps(shown, indent=2))


COMMAND = command_line.Command(
  'eval',
  'score a model, or a file of predictions, by a published protocol',
  add_flags,
  run,
)
