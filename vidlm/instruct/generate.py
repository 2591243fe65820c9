"""Asks a language model about every caption and keeps what it was told.

One call is one clip, kind and draw; a rejected completion is asked for again
with other examples. All that was paid for is in `records.jsonl` before the
next result is looked at, so a run that was killed goes on where it was, and
one that is through costs nothing to run again.
"""

import hashlib
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import filelock

from vidlm.core import files
from vidlm.instruct import asking, calls, client, prompts, records, summary

MAX_FAILURES = asking.MAX_DOUBTS


def _distinct(
  captions: Iterable[records.Caption | Sequence[str]], limit: int | None
) -> list[records.Caption]:
  """Returns the first `limit` captions; a repeated one is asked about once."""
  seen: dict[records.Caption, None] = {}
  for caption in captions:
    if not isinstance(caption, records.Caption):
      caption = records.Caption(*caption)
    if limit is not None and len(seen) >= limit:
      break
    seen.setdefault(caption)
  if not seen:
    raise ValueError('instruct: there are no captions to ask about')
  return list(seen)


def _first_jobs(
  run: calls.Run, captions: Sequence[records.Caption], kinds: Sequence[str]
) -> Iterator[calls.Job]:
  for caption in captions:
    for kind in kinds:
      for draw in range(run.draws_per_clip):
        yield run.job(caption, kind, draw, 0)


def _attempts(
  run: calls.Run,
  jobs: Iterator[calls.Job],
  outcomes: dict[records.Key, summary.Outcome],
) -> Iterator[tuple[str, list[summary.Outcome]]]:
  """Yields kind and outcomes of each draw, up to the accepted one."""
  for job in jobs:
    found: list[summary.Outcome] = []
    for attempt in range(run.retries + 1):
      if attempt:
        job = run.job(job.caption, job.prompt.kind, job.draw, attempt)
      outcome = outcomes.get(run.key(job))
      if outcome is None:
        break
      found.append(outcome)
      if outcome.status == records.ACCEPTED:
        break
    yield job.prompt.kind, found


def generate(
  *,
  captions: Iterable[records.Caption | Sequence[str]],
  output: str | os.PathLike[str],
  completer: client.Completer,
  draws: calls.Draws = calls.Draws(),
  concurrency: int = 8,
  limit: int | None = None,
  retry_quarantined: bool = False,
) -> dict[str, Any]:
  """Makes questions and answers of captions (paper section 4.2, Appendix A).

  Writes to `output`: `records.jsonl`, `instructions.parquet` (clip_id,
  question, answer, kind, in the order of captions, kinds and draws) and
  `summary.json`. With a completer that answers a prompt always alike, the
  last two are the same files whatever the concurrency and the interruptions.

  Args:
    captions: (clip_id, caption, source) each, as `records.read_captions`.
    output: A folder; finished calls in it are not repeated.
    completer: Who answers.
    draws: What is asked about each.
    concurrency: Calls at a time.
    limit: Only so many captions.
    retry_quarantined: Whether draws that earlier runs quarantined are asked
      for again; by default a run goes past them.

  Returns:
    The summary: draws, calls, accepted, quarantined and why, failed; also by
    kind; three examples of each. Failed draws were not answered and are asked
    again by the next run. A prompt that the endpoint refuses is quarantined.

  Raises:
    ValueError: If there is nothing to ask.
    EndpointError: If the endpoint refused for good, or refuses what it should
      answer as well.
  """
  if concurrency < 1:
    raise ValueError(f'concurrency={concurrency}: need at least 1')
  captions = _distinct(captions, limit)
  kinds = draws.kinds
  run = calls.Run(completer, draws.seed, draws.draws_per_clip, draws.retries)
  folder = pathlib.Path(output)
  files.make_folder(folder, '--output')
  total = len(captions) * len(kinds) * draws.draws_per_clip
  try:
    with filelock.FileLock(folder / '.lock', timeout=0):
      log = records.RecordLog(folder / 'records.jsonl')
      outcomes = summary.settled(log.read(), retry_quarantined)
      with log:
        asking.ask_all(
          run,
          _first_jobs(run, captions, kinds),
          outcomes,
          log,
          total=total,
          concurrency=concurrency,
        )
      counts, accepted = summary.summarize(
        summary.settle(
          _attempts(run, _first_jobs(run, captions, kinds), outcomes)
        )
      )
      report = {
        'captions': len(captions),
        'draws_per_clip': draws.draws_per_clip,
        'retries': draws.retries,
        **counts,
        **_origin(run, kinds),
      }
      records.write_instructions(accepted, folder / 'instructions.parquet')
      records.write_summary(report, folder / 'summary.json')
  except filelock.Timeout as error:
    raise ValueError(
      f'{folder}: another `vidlm instruct` is writing there'
    ) from error
  return report


def _origin(run: calls.Run, kinds: Sequence[str]) -> dict[str, Any]:
  """Returns what the answers are from."""
  return {
    'llm': run.completer.model,
    'endpoint': client.endpoint_name(run.completer),
    'seed': run.seed,
    'templates_sha': _templates_sha(kinds),
  }


def _templates_sha(kinds: Sequence[str]) -> str:
  parts = [
    prompts.template(kind) + repr(prompts.few_shots(kind)) for kind in kinds
  ]
  return hashlib.sha256('\0'.join(parts).encode()).hexdigest()
