"""Works off calls: several at a time, each written down as it comes.

A call that the endpoint refuses is in doubt: the prompt may be at fault, or the
endpoint may be gone. A call that begins later and is answered, or else a prompt
that is known to be good, tells which. Only if that one is refused, too, the run
stops; otherwise the fault is the prompt's, and the run goes on.
"""

import collections
import concurrent.futures
import dataclasses
import time
from collections.abc import Iterator

from absl import logging

from vidlm.instruct import calls, client, records, summary

MAX_DOUBTS = 8  # Refused calls that wait for the judgement of a good one.
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


class _Work:
  """What is asked, what is in doubt, what came of it."""

  def __init__(
    self,
    run: calls.Run,
    jobs: Iterator[calls.Job],
    outcomes: dict[records.Key, summary.Outcome],
    log: records.RecordLog,
    progress: _Progress,
  ):
    self.run = run
    self.jobs = jobs
    self.outcomes = outcomes
    self.log = log
    self.progress = progress
    self.again: collections.deque[calls.Job] = collections.deque()
    self.doubts: list[calls.Told] = []
    self.known_good = run.example()

  def upcoming(self) -> calls.Job | None:
    """Returns the next call, None if all are made."""
    if self.again:
      return self.again.popleft()
    for job in self.jobs:
      following = _next_job(self.run, job, self.outcomes)
      if following is not None:
        return following
      self.progress.keep()
    return None

  def take(self, told: calls.Told) -> None:
    """Takes what a call gave.

    Raises:
      EndpointError: If no other call will fare better.
    """
    if told.error is None:
      self._settle(told.job, told.record)
      self.known_good = told.job.prompt.text
      self._clear([doubt for doubt in self.doubts if doubt.ended < told.began])
    elif told.error.fatal:
      self.log.append(told.record)
      raise _stopped(told.error)
    else:
      self.doubts.append(told)

  def judge(self) -> None:
    """Finds out whether what is in doubt is the prompts' fault.

    Raises:
      EndpointError: If a prompt that is known to be good is refused, too.
    """
    try:
      # Others have failed before: a completer may take less trouble for this.
      completer = self.run.completer
      getattr(completer, 'probe', completer.complete)(self.known_good)
    except client.EndpointError as error:
      raise _stopped(error) from error
    logging.info(
      'instruct: the endpoint answers another prompt: %d calls failed by '
      'themselves',
      len(self.doubts),
    )
    self._clear(list(self.doubts))

  def keep(self) -> None:
    """Writes down what is still in doubt, to be asked again by the next run."""
    for doubt in self.doubts:
      self.log.append(doubt.record)
    self.doubts.clear()

  def _clear(self, doubts: list[calls.Told]) -> None:
    for doubt in doubts:
      self.doubts.remove(doubt)
      self._settle(doubt.job, doubt.refused())

  def _settle(self, job: calls.Job, record: records.Record) -> None:
    self.log.append(record)
    following = None
    if record.status != records.FAILED:
      self.outcomes[record.key] = summary.Outcome.of(record)
      following = _next_job(self.run, job, self.outcomes)
    if following:
      self.again.append(following)
    self.progress.update(record.status == records.ACCEPTED, following is None)


def _stopped(error: client.EndpointError) -> client.EndpointError:
  return client.EndpointError(
    f'instruct stopped: {error}. What was answered is kept; run again to go '
    'on.',
    fatal=True,
  )


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
  work = _Work(run, jobs, outcomes, log, _Progress(total))
  running: set[concurrent.futures.Future[calls.Told]] = set()
  done: set[concurrent.futures.Future[calls.Told]] = set()
  pool = concurrent.futures.ThreadPoolExecutor(concurrency, 'instruct')
  try:
    while True:
      if len(work.doubts) >= MAX_DOUBTS:
        work.judge()
      while len(running) < concurrency and (job := work.upcoming()):
        running.add(pool.submit(run.ask, job))
      if not running and not work.doubts:
        return
      if not running:
        work.judge()
        continue
      done, running = concurrent.futures.wait(
        running, return_when=concurrent.futures.FIRST_COMPLETED
      )
      while done:
        work.take(done.pop().result())
  finally:
    pool.shutdown(wait=True, cancel_futures=True)
    # Answers that came while stopping are paid too.
    for future in (*done, *running):
      if not future.cancelled() and future.exception() is None:
        log.append(future.result().record)
    work.keep()
