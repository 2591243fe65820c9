"""One call to a language model: its prompt, its key, its record."""

import dataclasses
import time
from collections.abc import Sequence

from vidlm.instruct import client, parse, prompts, records


@dataclasses.dataclass(frozen=True)
class Draws:
  """What is asked about each caption.

  Attributes:
    kinds: Some of 'temporal', 'causal', 'short'.
    draws_per_clip: Calls for each caption and kind.
    retries: Further calls for a draw whose completion was rejected.
    seed: Decides which two examples each prompt has.
  """

  kinds: Sequence[str] = prompts.KINDS
  draws_per_clip: int = 1
  retries: int = 1
  seed: int = 0

  def __post_init__(self) -> None:
    if self.draws_per_clip < 1:
      raise ValueError(f'draws_per_clip={self.draws_per_clip}: need at least 1')
    for kind in self.kinds:
      if self.draws_per_clip * (1 + self.retries) > prompts.num_orders(kind):
        raise ValueError(
          f'draws_per_clip={self.draws_per_clip} with retries={self.retries} '
          f'needs more than the {prompts.num_orders(kind)} ways to draw two '
          'examples; lower either'
        )


@dataclasses.dataclass(frozen=True)
class Job:
  """One call: a caption, its prompt, which draw, which attempt at it."""

  caption: records.Caption
  prompt: prompts.Prompt
  draw: int
  attempt: int


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
  """What became of one call.

  Attributes:
    job: The call.
    record: Of its completion, or of its failure.
    error: Why there is no completion.
    began: When, in seconds of `time.monotonic`.
    ended: When.
  """

  job: Job
  record: records.Record
  error: client.EndpointError | None
  began: float
  ended: float

  def refused(self) -> records.Record:
    """Returns the record of a failure that is this prompt's alone.

    What may pass at another time stays failed; what the endpoint refuses is
    quarantined.
    """
    if self.error is None or not self.error.fault:
      return self.record
    return dataclasses.replace(
      self.record, status=records.QUARANTINED, reject_reason=self.error.fault
    )


@dataclasses.dataclass(frozen=True)
class Run:
  """What all calls of a run share.

  Attributes:
    completer: Who answers.
    seed: Seed of the few-shot draws.
    draws_per_clip: Calls for a caption and kind, if none is rejected.
    retries: Further attempts at a rejected draw.
  """

  completer: client.Completer
  seed: int
  draws_per_clip: int
  retries: int

  def job(
    self, caption: records.Caption, kind: str, draw: int, attempt: int
  ) -> Job:
    """Returns a call with its prompt built."""
    prompt = prompts.build_prompt(
      kind,
      caption.caption,
      clip_id=caption.clip_id,
      # An attempt takes the pair of examples after those of all draws.
      draw=draw + attempt * self.draws_per_clip,
      seed=self.seed,
    )
    return Job(caption, prompt, draw, attempt)

  def key(self, job: Job) -> records.Key:
    """Returns what identifies the call's record."""
    return (
      job.caption.clip_id,
      job.prompt.kind,
      job.draw,
      job.attempt,
      job.prompt.sha,
      self.completer.model,
    )

  def example(self) -> str:
    """Returns a prompt that every endpoint should answer."""
    shot = prompts.few_shots('short')[0]
    return prompts.build_prompt('short', shot.caption).text

  def ask(self, job: Job) -> Told:
    """Returns what one call gave."""
    began = time.monotonic()
    try:
      completion = self.completer.complete(job.prompt.text)
    except client.EndpointError as error:
      failed = client.Completion(str(error), None, '')
      record = self._record(job, failed, None)
      return Told(job, record, error, began, time.monotonic())
    record = self._record(job, completion, self.read(job, completion))
    return Told(job, record, None, began, time.monotonic())

  def read(self, job: Job, completion: client.Completion) -> parse.Parsed:
    """Returns what a completion says, or why it is rejected."""
    return parse.parse(
      completion.text,
      kind=job.prompt.kind,
      caption=job.caption.caption,
      finish_reason=completion.finish_reason,
    )

  def _record(
    self, job: Job, completion: client.Completion, parsed: parse.Parsed | None
  ) -> records.Record:
    status = records.FAILED
    reason: str | None = 'endpoint_error'
    if parsed:
      reason = parsed.reject_reason and str(parsed.reject_reason)
      status = records.QUARANTINED if reason else records.ACCEPTED
    return records.Record(
      clip_id=job.caption.clip_id,
      source=job.caption.source,
      kind=job.prompt.kind,
      draw=job.draw,
      attempt=job.attempt,
      caption=job.caption.caption,
      fewshot_ids=job.prompt.fewshot_ids,
      prompt_sha=job.prompt.sha,
      llm=self.completer.model,
      llm_reported=completion.model,
      endpoint=client.endpoint_name(self.completer),
      raw=completion.text,
      finish_reason=completion.finish_reason,
      tokens=completion.tokens,
      question=parsed.question if parsed else '',
      answer=parsed.answer if parsed else '',
      flags=parsed.flags if parsed else (),
      status=status,
      reject_reason=reason,
      seed=self.seed,
      left_out=completion.left_out,
    )
