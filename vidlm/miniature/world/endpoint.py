"""An endpoint for `vidlm instruct` that knows the miniature's grammar.

It stands where a language model does, and is none: it reads the narrative
from the prompt's last slot, as text, and writes a question and an answer of
the kind the prompt asks for. It sees nothing of the simulator. A few
completions in a hundred are broken in the ways those of real models are.
"""

import dataclasses
import hashlib
import re

import numpy as np

from vidlm.instruct.client import Completion, EndpointError
from vidlm.miniature.world import grammar, questions
from vidlm.miniature.world.scenes import Body

MODEL_NAME = 'grammar-miniature (no language model)'
_SLOT = re.compile(r'\(3\)\s*Captions:(.*?)Generated QA:', re.DOTALL)
# What a motion leaves behind: (question, clause of the answer).
_TRACES = {
  'moves left': (
    'why is the {} further left in the end?',
    'it is further left in the end',
  ),
  'moves right': (
    'why is the {} further right in the end?',
    'it is further right in the end',
  ),
  'moves up': ('why is the {} higher in the end?', 'it is higher in the end'),
  'moves down': ('why is the {} lower in the end?', 'it is lower in the end'),
  'swings': ('why is the {} seen on both sides?', 'it is seen on both sides'),
  'grows': ('why is the {} big in the end?', 'it is big in the end'),
  'shrinks': ('why is the {} small in the end?', 'it is small in the end'),
  'appears': ('why is the {} not there at first?', 'it is not there at first'),
  'disappears': ('why is the {} gone in the end?', 'it is gone in the end'),
  'flashes': ('why is the {} gone at times?', 'it is gone at times'),
  'stops moving': (
    'why is the {} at rest in the end?',
    'it is at rest in the end',
  ),
  'starts moving': (
    'why is the {} at rest at first?',
    'it is at rest at first',
  ),
  'falls': (
    'why is the {} at the bottom in the end?',
    'it is at the bottom in the end',
  ),
  'bounces': (
    'why is the {} now up and now down?',
    'it is now up and now down',
  ),
}


@dataclasses.dataclass(frozen=True)
class GrammarCompleter:
  """Answers the three prompts of the paper's Table 7 (a `Completer`).

  Attributes:
    malformed: Share of completions that are broken on purpose.
    model: What the records say of where the text is from.
  """

  malformed: float = 0.04
  model: str = MODEL_NAME

  def complete(self, prompt: str) -> Completion:
    """Completes a prompt; the same prompt always gets the same text.

    Args:
      prompt: Paper Table 7 with the narrative in slot (3).

    Returns:
      'Question: ...' and 'Answer: ...' on two lines.

    Raises:
      EndpointError: If the prompt has no slot (3).
    """
    slot = _SLOT.search(prompt)
    if slot is None:
      raise EndpointError(
        'GrammarCompleter: the prompt lacks "(3) Captions: ... Generated QA:"'
        '; it knows the templates of vidlm/instruct/prompts only',
        fatal=True,
      )
    digest = hashlib.sha256(prompt.encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], 'big'))
    question, answer = _question_answer(rng, prompt, slot[1].strip())
    text = f'Question: {question}\nAnswer: {answer}'
    if rng.random() < self.malformed:
      return self._broken(rng, text, question, answer)
    return Completion(text, 'stop', self.model)

  def _broken(
    self, rng: np.random.Generator, text: str, question: str, answer: str
  ) -> Completion:
    kind = int(rng.integers(5))
    if kind == 0:  # out of tokens before the answer
      return Completion(text[: text.index('Answer')], 'length', self.model)
    return Completion(
      (
        f'{question} {answer}',
        f'Question: {question}\nAnswer:',
        f'Question: {question}\nAnswer: the caption does not say.',
        f'sure, here is a question about the video. {question}',
      )[kind - 1],
      'stop',
      self.model,
    )


def _question_answer(
  rng: np.random.Generator, prompt: str, narrative: str
) -> tuple[str, str]:
  """Returns a pair of the kind that the prompt's instruction asks for."""
  bodies = [
    Body(m.colour, m.shape, m.motion)
    for m in grammar.parse_caption(narrative)
    if m.colour and m.motion
  ]
  relation = grammar.parse_relation(narrative)
  instruction = prompt.split('Captions:')[0].lower()
  if len(bodies) < 2:
    relation = 'alone'
  if not bodies:
    return 'what is there', 'nothing'
  if 'less than three words' in instruction:
    asked = questions.ask(rng, bodies[:2], relation)
    item = asked[int(rng.integers(len(asked)))]
    return item.question, item.answer
  if 'temporal' in instruction:
    return _temporal(rng, bodies, relation)
  return _causal(rng, bodies, relation)


def _temporal(
  rng: np.random.Generator, bodies: list[Body], relation: str
) -> tuple[str, str]:
  if relation == 'alone':
    body = bodies[0]
    return (
      f'what does the {body.name} do from first to last?',
      f'the {body.name} {body.motion}.',
    )
  one, other = bodies[:2]
  if relation == 'collide':
    return (
      f'what does the {one.name} do after it comes near the {other.name}?',
      f'the {one.name} collides with the {other.name}. then it is pushed back.',
    )
  swapped = rng.random() < 0.5
  if swapped:
    one, other = other, one
  link = relation
  if relation == 'then':
    link = 'before' if swapped else 'after'
  return (
    f'what does the {other.name} do {link} the {one.name} {one.motion}?',
    f'the {other.name} {other.motion}.',
  )


def _causal(
  rng: np.random.Generator, bodies: list[Body], relation: str
) -> tuple[str, str]:
  if relation == 'collide':
    one, other = (bodies[int(i)] for i in rng.permutation(2))
    return (
      f'why is the {one.name} pushed back?',
      f'the {one.name} collides with the {other.name}. that is why it is '
      'pushed back.',
    )
  body = bodies[int(rng.integers(len(bodies)))]
  question, trace = _TRACES[body.motion]
  return (
    question.format(body.name),
    f'the {body.name} {body.motion}. that is why {trace}.',
  )
