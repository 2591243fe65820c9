"""Questions whose answer follows from the bodies and their motions alone."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from vidlm.miniature.world.scenes import Body
from vidlm.miniature.world.vocabulary import COLLIDES, MOTIONS

Bodies = Sequence[Body]


@dataclasses.dataclass(frozen=True)
class Question:
  """A question with an answer of one to three words.

  Attributes:
    kind: 'colour', 'shape', 'count', 'motion', 'way', 'either', 'yes_no',
      'first', 'order' or 'partner'.
    question: Lower case, no question mark, as in Oops-QA.
    answer: Lower case.
  """

  kind: str
  question: str
  answer: str


def ask(
  rng: np.random.Generator, bodies: Bodies, relation: str
) -> list[Question]:
  """Asks all kinds of question that a scene has an answer to, one of each.

  Args:
    rng: Chooses the body and the wording.
    bodies: One or two, with colours; in a 'then' scene in order.
    relation: 'alone', 'while', 'then' or 'collide'.

  Returns:
    Questions in a fixed order of kinds.
  """
  body = bodies[int(rng.integers(len(bodies)))]
  motion = MOTIONS[body.motion]
  questions = [
    Question('colour', f'what colour is the {body.shape}', body.colour),
    Question('shape', f'what shape is {body.colour}', body.shape),
    Question(
      'count', 'how many shapes are there', 'two' if len(bodies) == 2 else 'one'
    ),
    Question('motion', f'what does the {body.name} do', body.motion),
    _yes_no(rng, body),
  ]
  if motion.phrase.startswith('moves'):
    questions.append(
      Question(
        'way', f'which way does the {body.name} move', motion.base.split()[1]
      )
    )
  if motion.reverse:
    pair = [motion.base, MOTIONS[motion.reverse].base]
    one, other = (str(base) for base in rng.permutation(pair))
    questions.append(
      Question('either', f'does the {body.name} {one} or {other}', motion.base)
    )
  if relation == 'then':
    questions += _order(rng, bodies)
  if relation == 'collide' and len(bodies) == 2:
    partner = bodies[0] if body is bodies[1] else bodies[1]
    questions.append(
      Question('partner', f'what collides with the {body.name}', partner.name)
    )
  return questions


def _yes_no(rng: np.random.Generator, body: Body) -> Question:
  motion = MOTIONS[body.motion]
  if rng.random() < 0.5:
    return Question('yes_no', f'does the {body.name} {motion.base}', 'yes')
  wrong = motion.reverse
  if wrong is None or rng.random() < 0.3:
    others = [m for m in MOTIONS if m not in (body.motion, COLLIDES)]
    wrong = str(rng.choice(others))
  base = MOTIONS[wrong].base
  return Question('yes_no', f'does the {body.name} {base}', 'no')


def _order(rng: np.random.Generator, bodies: Bodies) -> list[Question]:
  first, second = bodies
  either = [first.name, second.name]
  one, other = (str(name) for name in rng.permutation(either))
  after = Question(
    'order',
    f'what does the {second.name} do after the {first.name} {first.motion}',
    second.motion,
  )
  before = Question(
    'order',
    f'what does the {first.name} do before the {second.name} {second.motion}',
    first.motion,
  )
  return [
    Question('first', f'what is first the {one} or the {other}', first.name),
    after if rng.random() < 0.5 else before,
  ]
