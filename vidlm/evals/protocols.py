"""Evaluations by name: what is scored, by which rule, on which split.

`vidlm eval --task=NAME` looks here. Adding one is a line in `PROTOCOLS`.
"""

import dataclasses
import os
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from vidlm.core import names
from vidlm.evals import blank as blank_lib
from vidlm.evals import (
  captioning,
  densevid,
  prediction_files,
  references,
  text_rows,
  vqa,
)
from vidlm.evals import said as said_lib

Predictions = Iterable[tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Protocol:
  """One evaluation.

  Attributes:
    kind: What the model is asked for: 'caption' or 'question'.
    metric: 'captions', 'densevid', 'answers' or 'wups'.
    headline: The figure papers print.
    help: One line.
    dataset: As `vidlm prepare` knows it; '' for one's own.
    split: The one papers report.
    published_size: Items of that split as published; None where unknown.
    ids_per_video: Whether question ids are unique within a video only.
    max_length: Tokens of an answer at most.
  """

  kind: str
  metric: str
  headline: str
  help: str
  dataset: str = ''
  split: str = 'test'
  published_size: int | None = None
  ids_per_video: bool = False
  max_length: int = 64


# Figures that every task of a metric has, by metric; the headline first.
FIGURES = {
  'captions': ('cider', 'bleu4', 'rouge_l', 'mean_words'),
  'densevid': ('cider',),
  'answers': ('accuracy', 'normalized_accuracy'),
  'wups': ('wups', 'wups_0.9'),
}
_CAPTION: dict[str, Any] = {
  'kind': 'caption',
  'metric': 'captions',
  'headline': 'cider',
}
_ANSWER: dict[str, Any] = {
  'kind': 'question',
  'metric': 'answers',
  'headline': 'accuracy',
}
PROTOCOLS: dict[str, Protocol] = {
  'captions': Protocol(**_CAPTION, help='your own captions: CIDEr-D'),
  'answers': Protocol(**_ANSWER, help='your own answers: exact match'),
  'msrvtt_captions': Protocol(
    **_CAPTION,
    help='MSR-VTT, 20 references a video, whole corpus',
    dataset='msrvtt',
    published_size=2990,
  ),
  'smit_captions': Protocol(
    **_CAPTION,
    help='Spoken Moments in Time, one reference a video, whole corpus',
    dataset='smit',
  ),
  'activitynet_captions_segments': Protocol(
    **_CAPTION,
    help='ActivityNet, annotated segments, each an item (as PaLI)',
    dataset='activitynet',
    split='val_2',
  ),
  'activitynet_captions_densevid': Protocol(
    kind='caption',
    metric='densevid',
    headline='cider',
    help='ActivityNet, scored per video and averaged (as densevid_eval)',
    dataset='activitynet',
    split='val_2',
  ),
  'msrvtt_qa': Protocol(
    **_ANSWER, help='MSRVTT-QA, exact match', dataset='msrvtt_qa'
  ),
  'activitynet_qa': Protocol(
    **_ANSWER,
    help='ActivityNet-QA, exact match, by type',
    dataset='activitynet_qa',
    published_size=8000,
  ),
  'next_oe': Protocol(
    kind='question',
    metric='wups',
    headline='wups',
    help='NExT-OE, WUPS',
    dataset='next_oe',
    published_size=9178,
    ids_per_video=True,
  ),
}


def get(task: str) -> Protocol:
  """Returns the protocol of a name.

  Raises:
    ValueError: If there is none; says which there are.
  """
  if task not in PROTOCOLS:
    other = 'retrieval and classification are tasks of `dualenc eval`'
    raise ValueError(names.unknown('task', task, PROTOCOLS, other))
  return PROTOCOLS[task]


def read_references(
  task: str,
  annotations: Sequence[prediction_files.File] = (),
  clip_dataset: str | None = None,
  split: str | None = None,
) -> references.References:
  """Reads what is annotated, from files or else from a clip set.

  Args:
    task: A key of `PROTOCOLS`.
    annotations: The data set's own files, or one file of texts by id.
    clip_dataset: Folder of a clip set.
    split: By default the one papers report; several with commas are pooled.

  Raises:
    FileNotFoundError: If something isn't there.
    ValueError: If neither is given, or a file is of another kind.
  """
  protocol = get(task)
  if not annotations:
    if not clip_dataset:
      raise ValueError(f'eval {task}: give --annotations=FILE or a clip set')
    return references.from_clip_set(
      clip_dataset,
      split or protocol.split,
      protocol.kind,
      protocol.ids_per_video,
    )
  if protocol.dataset:
    for file in annotations:
      if isinstance(file, text_rows.TextFile):
        raise ValueError(
          f'eval {task}: the columns of {protocol.dataset} are known; leave '
          'out --annotation_column and --annotation_id_column'
        )
    return references.from_dataset(
      protocol.dataset,
      [os.fspath(file) for file in annotations],
      protocol.kind,
      split,
      protocol.split,
      protocol.ids_per_video,
    )
  if len(annotations) > 1:
    raise ValueError(f'eval {task}: takes one --annotations file')
  return references.from_file(annotations[0], protocol.kind, split or 'unnamed')


def score(
  task: str,
  predictions: Predictions,
  refs: references.References,
  *,
  decoding: str = 'greedy',
  allow: Collection[str] = (),
  with_meteor: bool = False,
) -> dict[str, Any]:
  """Scores texts by the rule of a task.

  Args:
    task: A key of `PROTOCOLS`.
    predictions: Pairs of id and text.
    refs: What is annotated.
    decoding: How the texts were decoded, for the protocol.
    allow: Some of `ids.ALLOWANCES`.
    with_meteor: Adds NLTK's METEOR to scores of captions.

  Returns:
    The scores with their protocol, which names the task and its headline.

  Raises:
    FileNotFoundError: If METEOR is asked for, and NLTK or WordNet isn't there.
    ValueError: If ids don't match and that isn't allowed, or METEOR isn't for
      this task.
  """
  protocol = get(task)
  check_meteor(task, with_meteor)
  predictions, refs, blank = blank_lib.leave_out(predictions, refs)
  options: dict[str, Any] = {
    'split': refs.split,
    'decoding': decoding,
    'allow': allow,
  }
  if protocol.metric == 'captions':
    scores = captioning.evaluate_captions(
      predictions, refs.texts, with_meteor=with_meteor, **options
    )
  elif protocol.metric == 'densevid':
    scores = _densevid(predictions, refs, options)
  elif protocol.metric == 'wups':
    from vidlm.evals import wups

    scores = wups.evaluate_wups(predictions, refs.texts, refs.types, **options)
  else:
    truths = {key: texts[0] for key, texts in refs.texts.items()}
    scores = vqa.evaluate_answers(
      predictions, truths, types=refs.types, **options
    )
  if blank:
    scores['protocol']['blank_ids'] = blank
  return _named(task, scores)


def check_meteor(task: str, with_meteor: bool) -> None:
  """Refuses METEOR where it is not computed.

  Raises:
    ValueError: If it is asked for, and the task isn't one of captions.
  """
  if with_meteor and get(task).metric != 'captions':
    able = [n for n, p in PROTOCOLS.items() if p.metric == 'captions']
    raise ValueError(
      f'eval {task}: no --meteor for it, only for {", ".join(able)}'
    )


def _densevid(
  predictions: Predictions, refs: references.References, options: dict[str, Any]
) -> dict[str, Any]:
  from vidlm.core import ids

  if refs.pooled:
    # Segments of one split are compared with those of all, as the script does.
    return densevid.evaluate_densevid(
      references.segments_of(ids.by_id(predictions)),
      refs.segments(),
      proposals='of the predicted ids',
      **options,
    )
  # Whole segments may be missing, which the per-video rule can't see.
  matched = ids.match(predictions, refs.texts, (), options['allow'])
  kept = set(matched.ids)
  truths = {key: t for key, t in refs.texts.items() if key in kept}
  refs = dataclasses.replace(refs, texts=truths)
  said = dict(zip(matched.ids, matched.texts, strict=True))
  scores = densevid.evaluate_densevid(
    refs.segments(said), refs.segments(), **{**options, 'allow': ()}
  )
  scores['protocol']['segments'] = matched.coverage
  return scores


def score_file(
  task: str,
  file: prediction_files.File,
  refs: references.References,
  *,
  allow: Collection[str] = (),
  with_meteor: bool = False,
) -> dict[str, Any]:
  """Scores a file of predictions; a submission to ActivityNet's task too.

  Args:
    task: A key of `PROTOCOLS`.
    file: See `prediction_files`.
    refs: What is annotated.
    allow: Some of `ids.ALLOWANCES`; 'perfect' takes texts that are the
      annotated ones throughout, which are hardly any model's.
    with_meteor: See `score`.

  Returns:
    See `score`.

  Raises:
    FileNotFoundError: If there is no such file.
    ValueError: If it is of another kind, ids don't match, or the texts are the
      annotated ones.
  """
  options: dict[str, Any] = {'decoding': 'predictions from a file'}
  options['allow'] = allow
  check_meteor(task, with_meteor)
  file = text_rows.of(file, kind=get(task).kind)
  submission: dict[str, list[densevid.Segment]] | None = None
  if prediction_files.is_submission(file.path):
    submission = prediction_files.read_submission(file.path)
    said = references.segment_ids(submission)
  else:
    said = prediction_files.read_predictions(file, refs.texts)
  said, renamed = said_lib.checked(said, refs.texts, file.path, allow)
  if submission is None or get(task).metric != 'densevid':
    scores = score(task, said, refs, with_meteor=with_meteor, **options)
  else:
    scores = densevid.evaluate_densevid(
      submission,
      refs.segments(),
      split=refs.split,
      proposals='of the submission',
      **options,
    )
    scores = _named(task, scores)
  if renamed:
    scores['protocol']['n_taken_by_another_name'] = renamed
  return scores


def _named(task: str, scores: dict[str, Any]) -> dict[str, Any]:
  protocol = get(task)
  usual = scores['protocol']['split'] == protocol.split
  scores['protocol'] = {
    'task': task,
    'headline': protocol.headline,
    **scores['protocol'],
    'published_size': protocol.published_size if usual else None,
  }
  return scores
