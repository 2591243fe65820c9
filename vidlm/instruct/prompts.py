"""The paper's three prompts: Table 7's templates, Tables 8 to 10's examples.

The texts are files in `prompts/`, verbatim. A template has five slots: two
examples (captions, question and answer) and the captions to ask about.
"""

import dataclasses
import functools
import hashlib
import importlib.resources
import itertools
import json

KINDS = ('temporal', 'causal', 'short')


@dataclasses.dataclass(frozen=True)
class FewShot:
  """One worked example of a prompt.

  Attributes:
    id: Short name, kept in the records.
    caption: What the language model is told of the video.
    question: What it should ask.
    answer: What it should answer.
  """

  id: str
  caption: str
  question: str
  answer: str


@dataclasses.dataclass(frozen=True)
class Prompt:
  """A filled template.

  Attributes:
    kind: One of `KINDS`.
    text: What is sent.
    fewshot_ids: The examples in it, in order.
    sha: SHA-256 of the text.
  """

  kind: str
  text: str
  fewshot_ids: tuple[str, ...]
  sha: str


def _read(name: str) -> str:
  folder = importlib.resources.files('vidlm.instruct') / 'prompts'
  return (folder / name).read_text('utf-8')


def _require_kind(kind: str) -> None:
  if kind not in KINDS:
    raise ValueError(
      f'no prompt of kind {kind!r}; there are {", ".join(KINDS)}'
    )


@functools.cache
def template(kind: str) -> str:
  """Returns the template of a kind, its five slots written as '{}'."""
  _require_kind(kind)
  return _read(f'{kind}.txt')


@functools.cache
def summary_template() -> str:
  """Returns our prompt for `summarize`, with a slot written as '{}'."""
  return _read('summary.txt')


@functools.cache
def few_shots(kind: str) -> tuple[FewShot, ...]:
  """Returns the paper's three examples of a kind."""
  _require_kind(kind)
  return tuple(
    FewShot(**row) for row in json.loads(_read(f'{kind}_examples.json'))
  )


@functools.cache
def _orders(kind: str) -> tuple[tuple[FewShot, FewShot], ...]:
  return tuple(itertools.permutations(few_shots(kind), 2))


def num_orders(kind: str) -> int:
  """Returns in how many ways two examples can be drawn: 6."""
  return len(_orders(kind))


def build_prompt(
  kind: str, caption: str, *, clip_id: str = '', draw: int = 0, seed: int = 0
) -> Prompt:
  """Fills a template with two of the three examples and a caption.

  The examples are drawn at random (paper, Appendix A), as a function of the
  other arguments: the first draw is uniform over the ordered pairs, and the
  next ones of the same clip go on to other pairs until all six were had.

  Args:
    kind: One of `KINDS`.
    caption: Any text; runs of white space become one space.
    clip_id: What the caption describes.
    draw: Which draw for this clip and kind.
    seed: Seed of the whole run.

  Returns:
    The prompt with its hash.

  Raises:
    ValueError: If there is no such kind, or the caption is empty.
  """
  caption = ' '.join(caption.split())
  if not caption:
    raise ValueError(f'clip {clip_id!r} has an empty caption')
  orders = _orders(kind)
  key = hashlib.sha256(json.dumps([seed, clip_id, kind]).encode()).digest()
  pair = orders[(int.from_bytes(key, 'big') + draw) % len(orders)]
  slots = [
    part
    for shot in pair
    for part in (
      shot.caption,
      f'Question: {shot.question}\nAnswer: {shot.answer}',
    )
  ] + [caption]
  pieces = template(kind).split('{}')
  if len(pieces) != len(slots) + 1:
    raise ValueError(f'prompts/{kind}.txt has {len(pieces) - 1} slots, not 5')
  text = pieces[0] + ''.join(
    slot + piece for slot, piece in zip(slots, pieces[1:], strict=True)
  )
  return Prompt(
    kind,
    text,
    tuple(shot.id for shot in pair),
    hashlib.sha256(text.encode()).hexdigest(),
  )
