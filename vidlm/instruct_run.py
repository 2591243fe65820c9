"""`vidlm instruct`: captions, an endpoint, and what came of it."""

import argparse
import json
from collections.abc import Mapping
from typing import Any

from vidlm.core import commands, launch
from vidlm.instruct import client, generate, records, summarize


def run(args: argparse.Namespace) -> int:
  """Asks as the flags of `vidlm instruct` say, and prints the counts.

  Returns:
    0, or 1 if a call was not answered (the same command asks again) or no
    answer was accepted.

  Raises:
    ValueError: For flags that make no sense, or an endpoint that refuses.
  """
  commands.parse_gin(args, required=False)
  if not args.base_url or not args.model:
    raise ValueError(
      'instruct: give --base_url=http://HOST:PORT/v1 and --model=NAME of an '
      'OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY'
    )
  completer = launch.bound(client.OpenAICompleter)(
    base_url=args.base_url,
    model=args.model,
    **commands.given(
      args,
      'mode',
      'temperature',
      'top_p',
      'max_tokens',
      'timeout',
      'max_attempts',
    ),
  )
  ask = _summarize if args.what == 'summarize' else _questions
  try:
    return ask(args, completer)
  except client.EndpointError as error:
    raise ValueError(str(error)) from error


def _questions(args: argparse.Namespace, completer: Any) -> int:
  options = commands.given(
    args, 'draws_per_clip', 'retries', 'concurrency', 'limit', 'seed'
  )
  if args.kinds:
    options['kinds'] = tuple(args.kinds.split(','))
  report = launch.bound(generate.generate)(
    captions=records.read_captions(args.captions, **_columns(args)),
    output=args.output,
    completer=completer,
    **options,
  )
  print(_line(args.output, report))
  return 1 if report['failed'] or not report['accepted'] else 0


def _summarize(args: argparse.Namespace, completer: Any) -> int:
  report = launch.bound(summarize.summarize)(
    captions=args.captions,
    output=args.output,
    completer=completer,
    **commands.given(args, 'concurrency', 'limit', 'seed'),
  )
  print(json.dumps(report, indent=2))
  return 0


def _columns(args: argparse.Namespace) -> dict[str, str]:
  named = {
    'clip_id_column': args.id_column,
    'caption_column': args.caption_column,
    'source_column': args.source_column,
  }
  return {name: column for name, column in named.items() if column}


def _line(output: str, report: Mapping[str, Any]) -> str:
  text = (
    f'{output}: {report["accepted"]} of {report["draws"]} accepted, '
    f'{report["quarantined"]} quarantined'
  )
  if report['reasons']:
    reasons = ', '.join(f'{r} {n}' for r, n in report['reasons'].items())
    text += f' ({reasons})'
  if report['failed']:
    text += (
      f', {report["failed"]} not answered: see records.jsonl; run again to '
      'ask for them'
    )
  return text
