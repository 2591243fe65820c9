"""Annotations that say nothing: no score has them, as training has not."""

import dataclasses
from collections.abc import Iterable, Mapping

from vidlm.data.feed import tasks
from vidlm.evals import references

Predictions = Iterable[tuple[str, str]]


def leave_out(
  predictions: Predictions, refs: references.References
) -> tuple[Predictions, references.References, list[str]]:
  """Leaves out ids whose annotation says nothing, as training does.

  Returns:
    What is scored, and the ids that are not.
  """
  spoken = {
    key: [text for text in texts if text.strip()]
    for key, texts in refs.texts.items()
  }
  # An id without any text is a mistake, which the rules name.
  blank = {key for key, own in spoken.items() if refs.texts[key] and not own}
  if not blank and spoken == refs.texts:
    return predictions, refs, []
  pairs = (
    predictions.items() if isinstance(predictions, Mapping) else predictions
  )
  kept = {key: own for key, own in spoken.items() if key not in blank}
  return (
    [pair for pair in pairs if pair[0] not in blank],
    dataclasses.replace(refs, texts=kept),
    sorted(blank),
  )


def leave_out_unasked(
  refs: references.References, task: tasks.ClipTask
) -> tuple[references.References, list[str]]:
  """Leaves out questions that are blank, and so are not asked.

  Args:
    refs: What is annotated.
    task: What is asked.

  Returns:
    What is scored, and the ids that are not.
  """
  if task.kind != 'question':
    return refs, []
  own = {refs.published.get(name, name) for name in task.examples().blank}
  unasked = sorted(own.intersection(refs.texts))
  texts = {key: t for key, t in refs.texts.items() if key not in unasked}
  return dataclasses.replace(refs, texts=texts), unasked
