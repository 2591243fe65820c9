"""What a file says, before it is scored: whose ids, and is it a model's."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from absl import logging

from vidlm.data.tables import aliases

Said = Sequence[tuple[str, str]]


def checked(
  said: Said,
  annotated: Mapping[str, Sequence[str]],
  path: str,
  allow: Collection[str] = (),
) -> tuple[list[tuple[str, str]], int]:
  """Returns texts under the ids that are annotated, as far as these are clear.

  Args:
    said: Pairs of id and text.
    annotated: What is right, by id.
    path: Of the file, for messages.
    allow: Of `ids.ALLOWANCES`, 'perfect' counts here.

  Returns:
    The pairs, and how many have another id now.

  Raises:
    ValueError: If they are the annotated texts throughout; see
      `refuse_perfect`.
  """
  renamed = aliases.match([key for key, _ in said], annotated)
  if renamed:
    logging.warning('%s: %s', path, aliases.describe(renamed))
  pairs = [(renamed.get(key, key), text) for key, text in said]
  if 'perfect' not in allow:
    refuse_perfect(pairs, annotated, path)
  return pairs, len(renamed)


def refuse_perfect(
  said: Iterable[tuple[str, str]],
  annotated: Mapping[str, Sequence[str]],
  path: str,
) -> None:
  """Refuses texts that are the annotated ones, on all rows.

  Raises:
    ValueError: If they are.
  """
  both = [(text, annotated[key]) for key, text in said if key in annotated]
  if both and all(_bare(text) in map(_bare, true) for text, true in both):
    raise ValueError(
      f'{path}: all {len(both)} predictions are what is annotated: are these '
      'the annotations? Name the column of the predictions by '
      '--prediction_column=, or score it all the same by --allow=perfect'
    )


def _bare(text: str) -> str:
  return ' '.join(text.split()).casefold()
