"""Asks a language model about every caption and keeps what it was told.

One call is one clip, kind and draw; a rejected completion is asked for again
with other examples. All that was paid for is in `records.jsonl` before the
next result is looked at, so a run that was killed goes on where it was, and
one that is through costs nothing to run again.
"""

import collections
import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import filelock
from absl import logging

from vidlm.core import files
from vidlm.instruct import calls, client, prompts, records, summary

MAX_FAILURES = 20  # In a row: the endpoint is gone, not one prompt bad.
_REPORT_SECONDS = 10.0


@dataclasses.dataclass
class _Progress:
  """Logs calls, rate and time left now and then."""

  total: int
  done: int = 0
  kept: int = 0
  accepted: int = 0
  started: float = dataclasses.field(default_factory=time.monotonic)
  reported: float = dataclasses.field(default_factory=time.monotonic)

  def keep(self) -> None:
    """Counts a draw that an earlier run settled."""
    self.kept += 1
    self._report(1)

  def update(self, accepted: bool, final: bool) -> None:
    """Counts one completion; `final` ones settle their draw."""
    self.done += final
    self.accepted += accepted
    self._report(final)

  def _report(self, settled: int) -> None:
    now = time.monotonic()
    left = self.total - self.done - self.kept
    if now - self.reported < _REPORT_SECONDS and not (settled and left == 0):
      return
    self.reported = now
    rate = self.done / max(now - self.started, 1e-9)
    logging.info(
      'instruct: %d of %d draws (%d from before), %d accepted now, '
      '%.2f draws/s, %s s left',
      self.done + self.kept,
      self.total,
      self.kept,
      self.accepted,
      rate,
      f'{left / rate:.0f}' if rate else '?' if left else '0',
    )


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


def _next_job(
  run: calls.Run, job: calls.Job, outcomes: dict[records.Key, summary.Outcome]
) -> calls.Job | None:
  """Returns the first attempt of a draw that is still to be paid for."""
  while True:
    outcome = outcomes.get(run.key(job))
    if outcome is None:
      return job
    if outcome.status == records.ACCEPTED or job.attempt >= run.retries:
      return None
    job = run.job(job.caption, job.prompt.kind, job.draw, job.attempt + 1)


def _first_jobs(
  run: calls.Run, captions: Sequence[records.Caption], kinds: Sequence[str]
) -> Iterator[calls.Job]:
  for caption in captions:
    for kind in kinds:
      for draw in range(run.draws_per_clip):
        yield run.job(caption, kind, draw, 0)


def ask_all(
  run: calls.Run,
  jobs: Iterator[calls.Job],
  outcomes: dict[records.Key, summary.Outcome],
  log: records.RecordLog,
  *,
  total: int,
  concurrency: int,
) -> None:
  """Works off the jobs and fills `outcomes`.

  Args:
    run: Makes, asks and reads calls.
    jobs: In order.
    outcomes: What earlier calls gave, by key; they are not asked again.
    log: Takes each record.
    total: Number of jobs.
    concurrency: Calls at a time.

  Raises:
    EndpointError: As for `generate`.
  """
  progress = _Progress(total)
  again: collections.deque[calls.Job] = collections.deque()
  running: set[concurrent.futures.Future] = set()
  sources: dict[concurrent.futures.Future, calls.Job] = {}
  failures, last_words = 0, ''
  pool = concurrent.futures.ThreadPoolExecutor(concurrency, 'instruct')

  def upcoming() -> calls.Job | None:
    if again:
      return again.popleft()
    for job in jobs:
      following = _next_job(run, job, outcomes)
      if following is not None:
        return following
      progress.keep()
    return None

  try:
    while True:
      while len(running) < concurrency and (job := upcoming()):
        future = pool.submit(run.ask, job)
        running.add(future)
        sources[future] = job
      if not running:
        return
      done, running = concurrent.futures.wait(
        running, return_when=concurrent.futures.FIRST_COMPLETED
      )
      for future in done:
        record, fatal = future.result()
        log.append(record)
        failed = record.status == records.FAILED
        failures = failures + 1 if failed else 0
        if fatal or failures >= MAX_FAILURES:
          last_words = record.raw
        following = None
        if not failed:
          outcomes[record.key] = summary.Outcome.of(record)
          following = _next_job(run, sources[future], outcomes)
        del sources[future]
        if following:
          again.append(following)
        progress.update(record.status == records.ACCEPTED, following is None)
      if last_words:
        raise client.EndpointError(
          f'instruct stopped: {last_words}. What was answered is kept; run '
          'again to go on.',
          fatal=True,
        )
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
    for future in running:  # Answers that came while stopping are paid too.
      if not future.cancelled() and future.exception() is None:
        log.append(future.result()[0])


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

  Returns:
    The summary: draws, calls, accepted, quarantined and why, failed; also by
    kind. Failed draws were not answered and are asked again by the next run.

  Raises:
    ValueError: If there is nothing to ask.
    EndpointError: If the endpoint refused for good, or 20 calls failed in a
      row.
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
      outcomes = {
        record.key: summary.Outcome.of(record)
        for record in log.read()
        if record.status != records.FAILED
      }
      with log:
        ask_all(
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
        'llm': completer.model,
        'endpoint': client.endpoint_name(completer),
        'seed': draws.seed,
        'templates_sha': _templates_sha(kinds),
      }
      records.write_instructions(accepted, folder / 'instructions.parquet')
      records.write_summary(report, folder / 'summary.json')
  except filelock.Timeout as error:
    raise ValueError(
      f'{folder}: another `vidlm instruct` is writing there'
    ) from error
  return report


def _templates_sha(kinds: Sequence[str]) -> str:
  parts = [
    prompts.template(kind) + repr(prompts.few_shots(kind)) for kind in kinds
  ]
  return hashlib.sha256('\0'.join(parts).encode()).hexdigest()
