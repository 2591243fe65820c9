"""Answers as models write them: understood whole, or refused.

`llm_answers.jsonl` says of each what must become of it; `answer_forms.json` has
more of each kind, with $Q and $A for a question and its answer, $P for both as
the prompt asks for them, $D for a draft in reasoning, $C for the caption.
"""

import json
import pathlib
import random
import time

import pytest

from vidlm.instruct import parse, prompts

_HERE = pathlib.Path(__file__).parent
_ROWS = [
  json.loads(line)
  for line in (_HERE / 'llm_answers.jsonl').read_text('utf-8').splitlines()
]
_FORMS = json.loads((_HERE / 'answer_forms.json').read_text('utf-8'))
_CAPTION = (
  'A man cracks two eggs into a pan and stirs them. A woman sets the table.'
)
_Q, _A = 'What does the man do after the eggs are in the pan?', 'He stirs them.'
_CHATTER = (
  'This asks for the order of events.',
  'Hope this helps!',
  'Note: I made this up.',
  '**Let me know!**',
  '---\nAnything else?',
  '```python\nprint(1)\n```',
  '> I chose this.',
  '- This tests order',
  'Explanation: order.',
)
_ATOMS = (
  'Question: Answer: ``` ** <think> </think> <a> </a> [/x] [x] <| |> \\n &amp; '
  '问题 --- === 1. He stirs them. What? {"question": "answer":'
)


def _filled(form: str, question: str = _Q, answer: str = _A) -> str:
  for name, text in (
    ('$P', 'Question: $Q\nAnswer: $A'),
    ('$D', 'Question: draft?\nAnswer: no.'),
    ('$C', _CAPTION),
    ('$Q', question),
    ('$A', answer),
  ):
    form = form.replace(name, text)
  return form


def _read(text: str, finish_reason: str = 'stop', caption: str = _CAPTION):
  parsed = parse.parse(
    text, kind='causal', caption=caption, finish_reason=finish_reason
  )
  assert (parsed.reject_reason is None) <= bool(parsed.answer)
  return None if parsed.reject_reason else (parsed.question, parsed.answer)


@pytest.mark.parametrize('row', _ROWS, ids=lambda row: row['name'])
def test_what_must_become_of_each(row):
  expected = row['expected']
  if expected == 'first or both':
    expected = {'question': _Q, 'answer': _A}
  wanted = expected and (expected['question'], expected['answer'])
  assert _read(row['text'], row['finish_reason'], row['caption']) == wanted


@pytest.mark.parametrize('name', _FORMS['read'])
def test_forms_are_read(name: str):
  assert _read(_filled(_FORMS['read'][name])) == (_Q, _A)


@pytest.mark.parametrize('name', _FORMS['labels'])
def test_labels_of_other_languages_are_read_and_the_text_is_kept(name: str):
  question, answer = _FORMS['labels'][name]
  for text in (
    f'{question}{_Q}\n{answer}{_A}',
    f'{question}{_Q} {answer}{_A}',
    f'**{question.strip()}** {_Q}\n\n**{answer.strip()}** {_A}',
    f'Sure!\n\n- {question}{_Q}\n- {answer}{_A}\n',
  ):
    assert _read(text) == (_Q, _A), text


@pytest.mark.parametrize('name', _FORMS['true'])
def test_words_are_judged_in_their_sentence(name: str):
  question, answer = _FORMS['true'][name]
  text = f'Question: {question}\nAnswer: {answer}'
  assert _read(text) == (question, answer)


@pytest.mark.parametrize('name', _FORMS['refused'])
def test_what_is_not_understood_is_refused(name: str):
  assert _read(_filled(_FORMS['refused'][name])) is None


@pytest.mark.parametrize('name', _FORMS['cut'])
def test_what_was_cut_is_refused(name: str):
  assert _read(_filled(_FORMS['cut'][name]), 'length') is None


@pytest.mark.parametrize('kind', prompts.KINDS)
def test_the_papers_own_pairs_are_true_of_their_videos(kind: str):
  """Tables 8 to 10: taken for the caption they are about, in every form."""
  for shot in prompts.few_shots(kind):
    wanted = (shot.question, shot.answer)
    for name, form in _FORMS['read'].items():
      text = _filled(form, *wanted)
      if not ('$P' in form or '$A' in form) or name == 'csv bare':
        continue  # It has commas, and no quotes around them.
      if '?' not in shot.question and '$P' not in form:
        continue  # Some forms know a question by its mark.
      parsed = parse.parse(text, kind=kind, caption=shot.caption)
      assert parsed.reject_reason is None, text
      assert (parsed.question, parsed.answer) == wanted


def test_no_chatter_is_taken_wherever_it_stands():
  """Before the first label it is dropped; anything else is a refusal."""
  draw = random.Random(0)
  for form in _FORMS['read'].values():
    lines = _filled(form).split('\n')
    for _ in range(5):
      place, gap = draw.randint(0, len(lines)), draw.choice(['\n', '\n\n'])
      before, after = '\n'.join(lines[:place]), '\n'.join(lines[place:])
      parts = (before, draw.choice(_CHATTER), after)
      text = gap.join(part for part in parts if part)
      read = _read(text)
      assert read in (None, (_Q, _A)), text
      assert read is None or place < len(lines), text


def test_no_part_of_a_completion_is_taken_for_the_whole():
  """Cut anywhere: the pair, or nothing. A draft that no mark opened is read."""
  draw = random.Random(0)
  for name, form in _FORMS['read'].items():
    text = _filled(form)
    unopened = 'lone' in name
    for end in draw.sample(range(len(text)), min(8, len(text))):
      read = _read(text[:end], 'length')
      allowed = [None, (_Q, _A)] + [('draft?', 'no.')] * unopened
      assert read in allowed, (name, text[:end])


def test_reasoning_in_any_brackets():
  """Closed it is dropped whatever its name; open nothing behind it is read."""
  draw = random.Random(0)
  forms = [
    form
    for form in (_filled(form) for form in _FORMS['read'].values())
    if not any(word in form for word in ('draft', 'think>', '\\n'))
    if form[0] not in '"\ufeff'
  ]
  names = ['think', 'Thought', 'REASONING', 'seed:think', 'inner_voice', 'zog']
  for _ in range(200):
    name = draw.choice(names)
    opens, closes = draw.choice([
      (f'<{name}>', f'</{name}>'),
      (f'<|{name}|>', f'<|/{name}|>'),
      (f'<|begin_of_{name}|>', f'<|end_of_{name}|>'),
      (f'<|START_{name}|>', f'<|END_{name}|>'),
      (f'<{name}_start>', f'<{name}_end>'),
      (f'<|{name}>', f'<{name}|>'),
    ])  # fmt: skip
    pair = draw.choice(forms)
    gap = draw.choice(['', '\n', '\n\n'])
    draft = 'Question: draft?\nAnswer: no.'
    assert _read(f'{opens}{draft}{closes}\n{gap}{pair}') == (_Q, _A)
    assert _read(f'{opens}{draft}{gap}{pair}') is None


def test_no_draft_is_taken_for_the_pair():
  """What a model corrects itself with stands between them, on any line."""
  draw = random.Random(0)
  before = ['', 'Let me think. ', 'Draft:\n', 'I will write:\n\n', 'Okay.\n\n']
  between = [
    'Hmm, no.', 'Better:', 'Revised:', 'Wait.', 'Let me improve:', 'Final:',
    '### Final', '**Actual pair:**', 'Second attempt:', 'no wait', '->',
    'But that is too easy', '(final)', '---\nFinal:', 'OK', 'Final answer:',
  ]  # fmt: skip
  for _ in range(150):
    text = (
      draw.choice(before)
      + draw.choice(['Question: draft?\nAnswer: no.', 'Q: draft? A: no.'])
      + draw.choice([' ', '\n', '\n\n'])
      + draw.choice(between)
      + draw.choice([' ', '\n', '\n\n'])
      + _filled('$P')
    )
    assert _read(text) in (None, (_Q, _A)), text


def test_anything_at_all_is_quick_and_no_error():
  draw = random.Random(0)
  atoms = [*'QA:?.|{}[]()"\',`*_#-><&\\\n\t ', *_ATOMS.split()]
  for _ in range(600):
    text = ''.join(draw.choice(atoms) for _ in range(draw.randint(1, 60)))
    for reason in ('stop', 'length'):
      _read(text, reason)
  for atom in atoms:
    for before in ('', 'Question: a?\nAnswer: '):
      start = time.process_time()
      _read(before + atom * 3000)
      assert time.process_time() - start < 5
