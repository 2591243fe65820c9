"""One description of a video out of captions of its frames (paper, table 4).

The baseline in the manner of InternVid: an image model describes frame after
frame, a language model makes one sentence of that. What comes out is a caption
set like those of `vidlm caption`. Neither paper prints its prompt: the one in
`prompts/summary.txt` is ours. Killed or failed, it goes on where it was, as
`generate` does.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import filelock
import regex

from vidlm.core import files
from vidlm.data.store import caption_sets as captions_lib
from vidlm.instruct import (
  asking,
  calls,
  client,
  judge,
  markdown,
  parse,
  prompts,
  records,
  tags,
  verdicts,
)
from vidlm.instruct import summary as summary_lib

KIND = 'summary'
# Speaks of what it was told, not of the video; a picture frame is no such case.
_FRAMES = regex.compile(
  r'(?i)\bframes\b|\b(?:first|second|third|next|last|final|each|every) frame\b'
)

_WRAPPED = regex.compile(
  r'(?is)<(?P<name>summary|description|caption|video)>(?P<body>.*)</(?P=name)>'
)


@dataclasses.dataclass(frozen=True)
class SummaryRun(calls.Run):
  """Calls that ask for a description in place of a question and answer."""

  def job(
    self, caption: records.Caption, kind: str, draw: int, attempt: int
  ) -> calls.Job:
    """Returns a call with its prompt built."""
    # The sampler's seed is the same in every call: a line more is another try.
    text = prompts.summary_template().replace('{}', caption.caption)
    text += '\n' * attempt
    sha = hashlib.sha256(text.encode()).hexdigest()
    return calls.Job(
      caption, prompts.Prompt(kind, text, (), sha), draw, attempt
    )

  def example(self) -> str:
    """Returns a prompt that every endpoint should answer."""
    told = numbered(['a man stands in a kitchen', 'a man cooks'])
    return prompts.summary_template().replace('{}', told)

  def read(self, job: calls.Job, completion: client.Completion) -> parse.Parsed:
    """Returns the description, or why the completion is none."""
    return parse_summary(completion.text, completion.finish_reason)


def numbered(texts: Sequence[str]) -> str:
  """Returns the captions of a video's frames as numbered lines."""
  lines = [' '.join(text.split()) for text in texts]
  return '\n'.join(f'({i}) {line}' for i, line in enumerate(lines, 1))


def summarize(
  *,
  captions: str,
  output: str | os.PathLike[str],
  completer: client.Completer,
  retries: int = 1,
  concurrency: int = 8,
  seed: int = 0,
  limit: int | None = None,
  retry_quarantined: bool = False,
) -> dict[str, Any]:
  """Makes one caption of each clip's captions.

  Args:
    captions: Folder of a finished caption set, such as `vidlm caption
      --framewise` writes: each clip with the captions of its frames.
    output: Folder of the new set; finished calls in it are not repeated.
    completer: Who answers.
    retries: Further calls where a completion was rejected.
    concurrency: Calls at a time.
    seed: Kept in the records.
    limit: Only so many clips.
    retry_quarantined: Whether clips whose completions earlier runs quarantined
      are asked about again.

  Returns:
    Counts of clips, ok, failed and why.

  Raises:
    FileNotFoundError: If the set isn't finished.
    ValueError: If there is nothing to summarize, or another run is writing
      there.
    EndpointError: If the endpoint refused for good, or refuses what it should
      answer as well.
  """
  source = captions_lib.read_manifest(captions)
  clips = captions_lib.read_captions(captions).to_pylist()[:limit]
  told = {
    row['clip_id']: records.Caption(row['clip_id'], numbered(row['captions']))
    for row in clips
    if row['status'] == captions_lib.OK
  }
  if not told:
    raise ValueError(f'{captions}: no clip in it has a caption')
  run = SummaryRun(completer, seed, 1, retries)
  folder = pathlib.Path(output)
  files.make_folder(folder, '--output')
  try:
    with filelock.FileLock(folder / '.lock', timeout=0):
      outcomes = _answers(
        run, list(told.values()), folder, concurrency, retry_quarantined
      )
      rows = [_row(run, clip, told, outcomes) for clip in clips]
      _write(folder, rows, _config(run, source, limit), source)
  except filelock.Timeout as error:
    raise ValueError(
      f'{folder}: another `vidlm instruct` is writing there'
    ) from error
  failed = [row.error for row in rows if row.status != captions_lib.OK]
  return {
    'clips': len(rows),
    'ok': len(rows) - len(failed),
    'failed': len(failed),
    'reasons': {reason: failed.count(reason) for reason in sorted(set(failed))},
    'llm': completer.model,
    'endpoint': client.endpoint_name(completer),
    'examples': _examples(rows),
  }


def _examples(
  rows: Sequence[captions_lib.CaptionRow],
) -> dict[str, list[dict[str, str]]]:
  """Returns three clips of each end, with what became of them."""
  found: dict[str, list[dict[str, str]]] = {}
  for row in rows:
    ok = row.status == captions_lib.OK
    shown = found.setdefault('ok' if ok else row.error, [])
    if len(shown) < 3:
      shown.append({'clip_id': row.clip_id, 'caption': ''.join(row.captions)})
  return dict(sorted(found.items()))


def _answers(
  run: SummaryRun,
  told: Sequence[records.Caption],
  folder: pathlib.Path,
  concurrency: int,
  retry_quarantined: bool,
) -> dict[records.Key, summary_lib.Outcome]:
  log = records.RecordLog(folder / 'records.jsonl')
  outcomes = summary_lib.settled(log.read(), retry_quarantined)
  jobs = (run.job(caption, KIND, 0, 0) for caption in told)
  with log:
    asking.ask_all(
      run, jobs, outcomes, log, total=len(told), concurrency=concurrency
    )
  return outcomes


def _row(
  run: SummaryRun,
  clip: dict[str, Any],
  told: dict[str, records.Caption],
  outcomes: dict[records.Key, summary_lib.Outcome],
) -> captions_lib.CaptionRow:
  where = {name: clip[name] for name in ('clip_id', 'video', 'start', 'end')}
  caption = told.get(clip['clip_id'])
  error = clip['error'] or 'its captions have failed'
  for attempt in range(run.retries + 1):
    if caption is None:
      break
    outcome = outcomes.get(run.key(run.job(caption, KIND, 0, attempt)))
    if outcome is None:
      error = 'not answered: run again'
      break
    if outcome.status == records.ACCEPTED:
      return captions_lib.CaptionRow(
        **where,
        captions=[outcome.answer],
        # The endpoint tells no probabilities, nor tokens of the text alone.
        logprobs=[0.0],
        lengths=[len(outcome.answer.split())],
      )
    error = f'rejected: {outcome.reason}'
  return captions_lib.CaptionRow(
    **where, status=captions_lib.FAILED, error=error
  )


def _config(
  run: SummaryRun, source: dict[str, Any], limit: int | None
) -> dict[str, Any]:
  return {
    'kind': KIND,
    'llm': run.completer.model,
    'endpoint': client.endpoint_name(run.completer),
    'template': prompts.summary_template(),
    'retries': run.retries,
    'num_samples': 1,
    'limit': limit,
    'captions': source['config_hash'],
  }


def _write(
  folder: pathlib.Path,
  rows: Sequence[captions_lib.CaptionRow],
  config: dict[str, Any],
  source: dict[str, Any],
) -> None:
  path = folder / captions_lib.file_name(0, 1)
  digests = json.dumps([entry['sha256'] for entry in source['files']])
  info = captions_lib.FileInfo(
    config_hash=captions_lib.config_hash(config),
    config=config,
    input_digest=hashlib.sha256(digests.encode()).hexdigest(),
    model=f'summary-{config["llm"]}',
  )
  (folder / captions_lib.MANIFEST).unlink(missing_ok=True)
  captions_lib.write_file(path, rows, info)
  files.write_bytes(
    folder / captions_lib.MANIFEST,
    captions_lib.manifest_bytes(config, [captions_lib.describe_file(path)]),
  )


def parse_summary(text: str, finish_reason: str | None = None) -> parse.Parsed:
  """Reads a description of a video, the first paragraph of a completion.

  Args:
    text: The completion as it came.
    finish_reason: 'length' if the limit of tokens ended it.

  Returns:
    The description as the answer, or the reason why there is none.
  """
  if parse.was_filtered(finish_reason):
    return parse.Parsed(reject_reason=parse.Reject.REFUSAL)
  cut = parse.was_cut(finish_reason)
  try:
    summary, rest = _first_paragraph(text)
  except verdicts.UnreadError as error:
    return parse.Parsed(
      reject_reason=parse.Reject.TRUNCATED if cut else error.reason
    )
  if not summary:
    return parse.Parsed(
      reject_reason=parse.Reject.TRUNCATED if cut else parse.Reject.EMPTY
    )
  if judge.refused(summary):
    return parse.Parsed(reject_reason=parse.Reject.REFUSAL)
  if cut and not rest and not markdown.complete(summary):
    return parse.Parsed(answer=summary, reject_reason=parse.Reject.TRUNCATED)
  if judge.leaks(summary) or _FRAMES.search(summary):
    return parse.Parsed(answer=summary, reject_reason=parse.Reject.LEAK)
  return parse.Parsed(answer=summary)


def _first_paragraph(text: str) -> tuple[str, bool]:
  """Returns the description, and whether anything stands behind it.

  Raises:
    UnreadError: If reasoning isn't closed, or what is left is no text.
  """
  text = tags.without_reasoning(text).strip()
  wrapped = _WRAPPED.fullmatch(text)
  text = tags.without_tags(wrapped['body'] if wrapped else text)
  text = regex.sub(f'[{tags.MARKS}]', '', text)
  text = markdown.FENCE.sub('', text).strip()
  first, *rest = regex.split(r'\n\s*\n', text) if text else ['']
  # 'Here is the description:' and a blank line come before some.
  if first.rstrip().endswith(':') and rest:
    first, *rest = rest
  first = regex.sub(
    r'(?i)^[*_# ]*(?:video|summary|description|caption)[*_ ]*:[*_ ]*', '', first
  )
  return markdown.clean(' '.join(first.split()).strip('"\u201c\u201d* ')), bool(
    rest
  )
