"""`vidlm instruct`: captions, an endpoint, and what came of it."""

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from vidlm.core import command_line, launch, unread

# What gin may bind here.
_BOUND = (
  'vidlm.instruct.calls.Draws',
  'vidlm.instruct.client.OpenAICompleter',
  'vidlm.instruct.generate.generate',
  'vidlm.instruct.summarize.summarize',
)

_WIDTH = 120  # Of an example.


def add_flags(parser: argparse.ArgumentParser) -> None:
  """Flags of `vidlm instruct`."""
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
  _add_endpoint_flags(parser)
  add('--kinds', help='of temporal,causal,short (all)')
  add('--draws_per_clip', type=int, help='questions of each kind (1)')
  add('--retries', type=int, help='further draws for a rejected answer (1)')
  add('--concurrency', type=int, help='requests at a time (8)')
  add(
    '--retry_quarantined',
    action='store_true',
    help='ask again for what earlier runs quarantined (they are gone past)',
  )
  add('--limit', type=int, help='only the first captions')
  add('--seed', type=int, help='of the examples shown (0)')


def _add_endpoint_flags(parser: argparse.ArgumentParser) -> None:
  add = parser.add_argument
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


def run(args: argparse.Namespace) -> int:
  """Asks as the flags of `vidlm instruct` say, and prints the counts.

  Returns:
    0, or 1 if a call was not answered (the same command asks again) or no
    answer was accepted.

  Raises:
    ValueError: For flags that make no sense, or an endpoint that refuses.
  """
  unread.check(command_line.parse_gin(args, required=False), _BOUND)
  if not args.base_url or not args.model:
    raise ValueError(
      'instruct: give --base_url=http://HOST:PORT/v1 and --model=NAME of an '
      'OpenAI-compatible endpoint; the key is read from OPENAI_API_KEY'
    )
  from vidlm.instruct import client

  command_line.check_positive(limit=args.limit)
  completer = launch.bound(client.OpenAICompleter)(
    base_url=args.base_url,
    model=args.model,
    **command_line.given(
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
  from vidlm.instruct import calls, generate, records

  draws = command_line.given(args, 'draws_per_clip', 'retries', 'seed')
  if args.kinds:
    draws['kinds'] = tuple(args.kinds.split(','))
  report = launch.bound(generate.generate)(
    captions=records.read_captions(args.captions, **_columns(args)),
    output=args.output,
    completer=completer,
    retry_quarantined=args.retry_quarantined,
    draws=launch.bound(calls.Draws)(**draws),
    **command_line.given(args, 'concurrency', 'limit'),
  )
  print(_line(args.output, report))
  if report['quarantined']:
    print('\n'.join(_shown(args.output, report)))
  return 1 if report['failed'] or not report['accepted'] else 0


def _summarize(args: argparse.Namespace, completer: Any) -> int:
  from vidlm.instruct import summarize

  report = launch.bound(summarize.summarize)(
    captions=args.captions,
    output=args.output,
    completer=completer,
    retry_quarantined=args.retry_quarantined,
    **command_line.given(args, 'concurrency', 'limit', 'seed'),
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
  if report.get('left_out'):
    text += (
      f', asked without {", ".join(report["left_out"])}, which the endpoint '
      'refuses'
    )
  if report['failed']:
    text += (
      f', {report["failed"]} not answered: see records.jsonl; run again to '
      'ask for them'
    )
  return text


def _shown(output: str, report: Mapping[str, Any]) -> Iterator[str]:
  """Yields examples of what was accepted and of what wasn't, by reason."""
  counts = {'accepted': report['accepted'], **report['reasons']}
  for end, examples in report['examples'].items():
    known = 'accepted' if end == 'accepted' else f'quarantined, {end}'
    yield f'{known}, {len(examples)} of {counts[end]}:'
    for example in examples:
      told = ' -> '.join(
        example[name] for name in ('question', 'answer') if example[name]
      )
      if example.get('raw') or not told:
        told = repr(example['raw'])
      told = told if len(told) <= _WIDTH else told[: _WIDTH - 3] + '...'
      yield f'  {example["clip_id"]} {example["kind"]}: {told}'
  yield f'the same in {output}/summary.json, every answer in records.jsonl'


COMMAND = command_line.Command(
  'instruct',
  'captions and an LLM -> questions and answers',
  add_flags,
  run,
  uses_jax=False,
)
