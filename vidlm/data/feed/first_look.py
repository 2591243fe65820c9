"""What a run is about to be taught, looked at before its first step.

Texts that are cut, pieces that the vocabulary lacks, clips that are contrasted
with themselves: nothing fails of it, and the scores suffer. So the start says
it, a line each where it is more than one example in a hundred, and what can't
be meant is refused.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from vidlm.data.feed import coverage, mixing, order, tokens
from vidlm.data.feed.example_table import Component, ExampleTable

# Rows of a task, and batches, that are looked at.
_ROWS, _BATCHES, _DRAWS = 512, 16, 65_536
_NOTEWORTHY = 0.01
_SHOWN = 60
DUAL_ENCODER = 'dual_encoder'


def check(parts: Sequence[Component], config: Any) -> None:
  """Refuses what a converter can't make examples of.

  Args:
    parts: What batches are made of.
    config: The `DatasetConfig`.

  Raises:
    ValueError: If there would be contrasted what has no clip, or a prompt
      would be cut.
  """
  wanted = (
    {'targets'} if config.converter == DUAL_ENCODER else {'inputs', 'targets'}
  )
  if missing := wanted - set(config.task_feature_lengths):
    raise ValueError(
      f'TASK_FEATURE_LENGTHS={dict(config.task_feature_lengths)}: needs tokens '
      f'of {min(missing)!r}'
    )
  for part in parts:
    if config.converter == DUAL_ENCODER:
      _check_clips(part)
    elif config.is_new:
      _check_prompt(part, config.task_feature_lengths)


def _check_clips(part: Component) -> None:
  without = int((np.asarray(part.table.rows) < 0).sum())
  if without:
    raise ValueError(
      f'task {part.name}: {without} of {len(part.table)} examples are text '
      'without a clip; two towers would be taught a black picture, so leave '
      'the task out'
    )


def _check_prompt(part: Component, lengths: Mapping[str, int]) -> None:
  prompt, room = part.table.fixed_prompt, lengths['inputs']
  taken = len(tokens.prompt_ids(part.vocabulary, prompt)) if prompt else 0
  if taken > room:
    raise ValueError(
      f'task {part.name}: the prompt {prompt!r} takes {taken} tokens, but '
      f"TASK_FEATURE_LENGTHS['inputs'] is {room}: it would be cut; set it to "
      f'{taken} or more, or shorten the prompt'
    )


def say(
  parts: Sequence[Component], config: Any, train_steps: int | None = None
) -> None:
  """Logs what the sets have, and what of them is cut, unknown or there twice.

  Args:
    parts: What batches are made of.
    config: The `DatasetConfig`.
    train_steps: Steps of the run; None where each example comes once.
  """
  for part in parts:
    coverage.say(f'task {part.name}', part.table.coverage)
  lines = [line for part in parts for line in _of_texts(part, config)]
  if train_steps is not None:
    lines += _of_rates(parts)
    if config.converter == DUAL_ENCODER:
      lines += _of_batches(parts, config, train_steps)
  for line in lines:
    coverage.warn(line)


def say_prompt(prompt: str, known: tokens.TextVocabulary) -> None:
  """Warns of a prompt that the vocabulary has no pieces for.

  Args:
    prompt: What a trained model is asked, with or without `{question}`.
    known: What reads it.
  """
  text = prompt.replace('{question}', '')
  for line in _of_unknown(
    '', 'the prompt', [text], [known.encode(text)], known
  ):
    coverage.warn(line)


def look_at_scored(part: Component, config: Any, *, says: bool) -> None:
  """Checks what is scored while a run trains, and says what it has.

  Args:
    part: The examples, named as the group of scores. A prompt may be cut in
      'train_eval' alone: where a model's own output is scored, all have room.
    config: The `DatasetConfig`.
    says: Whether to log.

  Raises:
    ValueError: As `check`, or if next to nothing of the set is left.
  """
  coverage.check(part.name, part.table.coverage, config.allow_missing)
  loss = part.name.startswith('train_eval')
  if loss:
    check([part], config)
  if says and loss:
    say([part], config)
  elif says:
    coverage.say(part.name, part.table.coverage)


def _of_rates(parts: Sequence[Component]) -> Iterator[str]:
  shares = {part.name: part.rate for part in parts}
  if len(parts) > 1:
    whole = sum(shares.values())
    logging.info(
      'rates: %s', ', '.join(f'{n} {r / whole:.3g}' for n, r in shares.items())
    )
  for name, (asked, drawn) in mixing.misdrawn(shares).items():
    yield (
      f'task {name}: {asked:.3g} of the examples were asked for, {drawn:.3g} '
      f'will be drawn: rates hold in blocks of {order.BLOCK}'
    )


def _of_texts(part: Component, config: Any) -> Iterator[str]:
  """Lines about what is cut, and what the vocabulary lacks."""
  prompts, targets = sample(part.table)
  lengths, known = config.task_feature_lengths, part.vocabulary
  kinds: list[tuple[str, list[str], Callable[..., list[int]]]] = [
    ('targets', targets, tokens.target_ids)
  ]
  if config.converter != DUAL_ENCODER:  # two towers see no prompt
    kinds.insert(0, ('inputs', prompts, tokens.prompt_ids))
  for name, texts, encode in kinds:
    ids = [encode(known, text) for text in texts]
    yield from _of_lengths(f'task {part.name}: ', name, ids, lengths[name])
    yield from _of_unknown(f'task {part.name}: ', name, texts, ids, known)


def sample(table: ExampleTable) -> tuple[list[str], list[str]]:
  """Prompts and texts of some examples, evenly from all of a table."""
  count = min(len(table), _ROWS)
  rows = np.linspace(0, len(table) - 1, count).round().astype(int).tolist()
  texts = [table.texts[row] for row in rows]
  chosen = [own[i % len(own)] for i, own in enumerate(texts)]
  return [table.prompts[row] for row in rows], chosen


def _of_lengths(
  where: str, name: str, ids: Sequence[Sequence[int]], room: int
) -> Iterator[str]:
  sizes = np.array([len(row) for row in ids])
  cut = (sizes > room).mean()
  if cut > _NOTEWORTHY:
    yield (
      f'{where}{coverage.percent(cut)} of {name} are cut: '
      f'TASK_FEATURE_LENGTHS[{name!r}] is {room}, the longest of {len(sizes)} '
      f'looked at has {sizes.max()} tokens, half have {np.median(sizes):g} or '
      'fewer'
    )


def _of_unknown(
  where: str,
  name: str,
  texts: Sequence[str],
  ids: Sequence[Sequence[int]],
  known: tokens.TextVocabulary,
) -> Iterator[str]:
  counts = [list(row).count(known.unk_id) for row in ids]
  unknown = sum(counts) / max(sum(map(len, ids)), 1)
  if unknown <= _NOTEWORTHY:
    return
  row = int(np.argmax(counts))
  said, read = texts[row], known.decode(ids[row])
  yield (
    f'{where}{coverage.percent(unknown)} of the pieces of {name} are not in '
    f'the vocabulary: {_short(said)} is read as {_short(read)}'
  )


def _of_batches(
  parts: Sequence[Component], config: Any, train_steps: int
) -> Iterator[str]:
  """A line about clips that are there twice in a batch."""
  size = config.batch_size
  steps = max(min(_BATCHES, _DRAWS // size, train_steps), 1)
  rates = tuple(part.rate for part in parts)
  sizes = tuple(len(part.table) for part in parts)
  numbers = np.arange(steps * size, dtype=np.int64)
  chosen, indices = order.draw(numbers, rates, sizes, config.seed)
  twice = [
    _twice(parts, chosen[first : first + size], indices[first : first + size])
    for first in range(0, steps * size, size)
  ]
  part = sum(twice) / (steps * size)
  if part > _NOTEWORTHY:
    yield (
      f'{coverage.percent(part)} of the examples are in a batch with another '
      f'one of their clip, and taught not to match it: BATCH_SIZE is {size}, '
      f'there are {sum(sizes)} examples ({steps} batches looked at); make the '
      'batch smaller, or take tasks of different clips'
    )


def _twice(
  parts: Sequence[Component], chosen: np.ndarray, indices: np.ndarray
) -> int:
  """How many examples of a batch share their clip with another."""
  met: dict[Any, int] = {}
  for c, index in zip(chosen.tolist(), indices.tolist(), strict=True):
    clips = parts[c].table.clips
    clip = clips.data_dir, clips.split, int(parts[c].table.rows[index])
    met[clip] = met.get(clip, 0) + 1
  return sum(n for n in met.values() if n > 1)


def _short(text: str) -> str:
  return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + '...')
