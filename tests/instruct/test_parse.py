"""Completions as language models write them, and what is read from them."""

import pytest

from vidlm.instruct import parse, prompts
from vidlm.instruct.parse import Reject

_CAPTION = 'A man in a red shirt throws a ball to his dog.'
_Q, _A = 'Why does the dog run?', 'It wants to catch the ball.'


def _parse(text: str, kind: str = 'causal', reason: str | None = 'stop'):
  return parse.parse(text, kind=kind, caption=_CAPTION, finish_reason=reason)


@pytest.mark.parametrize(
  'text',
  [
    f'Question: {_Q}\nAnswer: {_A}',
    f'\n\nquestion : {_Q}\n\nANSWER : {_A}\n\n',
    f'**Question:** {_Q}\n**Answer:** {_A}',
    f'### Question: {_Q}\n### Answer: {_A}',
    f'- Question: "{_Q}"\n- Answer: "{_A}"',
    f'1. **Question**: *{_Q}*\n   **Answer**: *{_A}*',
    f'Q: {_Q}\nA: {_A}',
    f'Question 1: {_Q}\nAnswer 1: {_A}',
    f'Question: {_Q} Answer: {_A}',
    f'Sure! Here is one.\n\nQuestion: {_Q}\nAnswer: {_A}',
    f'{_Q}\nAnswer: {_A}',
    f'Question: {_Q}\n{_A}',
    f'```\nQuestion: {_Q}\nAnswer: {_A}\n```',
    f'{{"question": "{_Q}", "answer": "{_A}"}}',
    f'```json\n[{{"Question": "{_Q}", "Answer": "{_A}"}}]\n```',
    f'<think>Question: what?\nhm</think>Question: {_Q}\nAnswer: {_A}',
    f'Question: {_Q}\nAnswer: {_A}\n\n(4) Captions:\nA cat.\n\nGenerated QA:\n',
    f'Question: {_Q}\nAnswer: {_A}\nCaptions: A cat sleeps.',
    f'Generated QA:\nQuestion: {_Q}\nAnswer: {_A}\n===\nQuestion: x',
    f'Question: {_Q}\nAnswer: It wants to\ncatch   the ball.',
  ],
)
def test_readable(text: str):
  parsed = _parse(text)
  assert parsed.reject_reason is None
  assert (parsed.question, parsed.answer) == (_Q, _A)


def test_first_valid_of_several_pairs():
  parsed = _parse(
    'Question: What does the caption say?\nAnswer: That the dog runs.\n'
    f'Question: {_Q}\nAnswer: {_A}\nQuestion: Who?\nAnswer: The man.'
  )
  assert (parsed.question, parsed.answer) == (_Q, _A)
  assert parsed.num_pairs == 3


@pytest.mark.parametrize(
  'text, reason',
  [
    ('', Reject.EMPTY),
    (' \n', Reject.EMPTY),
    ('The man throws a ball.', Reject.NO_QUESTION),
    (f'{_Q} {_A}', Reject.NO_QUESTION),
    (f'Answer: {_A}', Reject.NO_QUESTION),
    ('{"q": 1}', Reject.NO_QUESTION),
    ('{"question": "Why', Reject.NO_QUESTION),
    (f'Question: {_Q}', Reject.NO_ANSWER),
    (f'Question: {_Q}\nAnswer:', Reject.NO_ANSWER),
    (f'Question: {_Q}\nAnswer: ...', Reject.NO_ANSWER),
    ('Question:\nAnswer: The man.', Reject.NO_QUESTION),
    (f'Question: {_Q}\nAnswer: why does the dog run', Reject.SAME),
    ('Question: What is in the caption?\nAnswer: A dog.', Reject.LEAK),
    (
      f'Question: {_Q}\nAnswer: The description says it is hungry.',
      Reject.LEAK,
    ),
    (f'Question: {_Q}\nAnswer: The caption does not say.', Reject.LEAK),
    (f'Question: {_Q}\nAnswer: According to the text, it plays.', Reject.LEAK),
    (
      'Question: Why did the egg break?\nAnswer: It fell.',
      Reject.COPIED_FEWSHOT,
    ),
    (f'Question: {_Q}\nAnswer: A baby girl calls it.', Reject.COPIED_FEWSHOT),
    ("I'm sorry, but I cannot help with that.", Reject.REFUSAL),
    (f'Question: {_Q}\nAnswer: As an AI model, I see no dog.', Reject.REFUSAL),
    (f'Question: {_Q}\nAnswer: I cannot determine that.', Reject.REFUSAL),
  ],
)
def test_rejected(text: str, reason: Reject):
  assert _parse(text).reject_reason == reason


@pytest.mark.parametrize(
  'text, reason',
  [
    ('', Reject.TRUNCATED),
    ('Let me think about', Reject.TRUNCATED),
    ('<think>The user wants', Reject.TRUNCATED),
    (f'Question: {_Q}', Reject.TRUNCATED),
    (f'Question: {_Q}\nAnswer: It wants to cat', Reject.TRUNCATED),
    (f'Question: {_Q}\nAnswer: {_A}', None),
    (f'Question: {_Q}\nAnswer: {_A}\nQuestion: Who thr', None),
    (f'Question: {_Q}\nAnswer: {_A}\n\n(4) Captions:\nA c', None),
  ],
)
def test_ended_by_the_limit_of_tokens(text: str, reason: Reject | None):
  assert _parse(text, reason='length').reject_reason == reason


def test_filtered_by_the_server():
  parsed = _parse(f'Question: {_Q}', reason='content_filter')
  assert parsed.reject_reason == Reject.REFUSAL


def test_open_thought_is_truncated_whatever_the_reason():
  assert _parse('<think>Hm').reject_reason == Reject.TRUNCATED


def test_things_of_the_examples_in_the_caption_are_no_copy():
  parsed = parse.parse(
    'Question: Why did the egg roll?\nAnswer: The table is not level.',
    kind='causal',
    caption='An egg rolls off a table.',
  )
  assert parsed.reject_reason is None


@pytest.mark.parametrize('kind', prompts.KINDS)
def test_every_example_pair_counts_as_copied(kind: str):
  for shot in prompts.few_shots(kind):
    text = f'Question: {shot.question}\nAnswer: {shot.answer}'
    assert _parse(text, kind).reject_reason == Reject.COPIED_FEWSHOT


@pytest.mark.parametrize(
  'text, question, answer, flags',
  [
    ('Question: Who runs?\nAnswer: Dog.', 'who runs', 'dog', ()),
    ('Question: WHO RUNS ?\nAnswer: the DOG', 'who runs', 'the dog', ()),
    (
      'Question: who runs\nAnswer: his brown dog!',
      'who runs',
      'his brown dog',
      ('three_words',),
    ),
  ],
)
def test_short_style(text: str, question: str, answer: str, flags: tuple):
  parsed = _parse(text, 'short')
  assert parsed.reject_reason is None
  assert (parsed.question, parsed.answer) == (question, answer)
  assert parsed.flags == flags


@pytest.mark.parametrize(
  'text, finish_reason, reason',
  [
    (
      'Question: who runs\nAnswer: the big brown dog',
      'stop',
      Reject.TOO_LONG_SHORT_ANSWER,
    ),
    ('Question: who runs\nAnswer: the do', 'length', Reject.TRUNCATED),
    ('Question: who runs\nAnswer: the dog\nQuestion: wh', 'length', None),
    (
      'Question: who runs\nAnswer: the dog\nThe',
      'length',
      Reject.TRUNCATED,
    ),
    # Behind the answer stands what is no part of it.
    (
      'Question: who runs\nAnswer: dog\nThe dog runs.',
      'stop',
      Reject.TOO_LONG_SHORT_ANSWER,
    ),
  ],
)
def test_short_limits(text: str, finish_reason: str, reason: Reject | None):
  assert _parse(text, 'short', finish_reason).reject_reason == reason


def test_hostile_text_is_quick():
  for text in ('Question:' * 3000, '(' * 20000, '*' * 20000, '<think>' * 3000):
    assert _parse(text).reject_reason
