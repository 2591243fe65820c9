"""What becomes of a completion: a pair, or one of these reasons."""

import dataclasses
import enum


class Reject(enum.StrEnum):
  """Why a completion gives no pair."""

  EMPTY = 'empty'
  REFUSAL = 'refusal'
  TRUNCATED = 'truncated'
  NO_QUESTION = 'no_question'
  NO_ANSWER = 'no_answer'
  NOT_UNDERSTOOD = 'not_understood'
  CHATTER = 'chatter'
  SAME = 'same'
  LEAK = 'leak'
  COPIED_CAPTION = 'copied_caption'
  COPIED_FEWSHOT = 'copied_fewshot'
  TOO_LONG_SHORT_ANSWER = 'too_long_short_answer'
  DUPLICATE = 'duplicate'


class UnreadError(Exception):
  """Some of a completion is not understood.

  Attributes:
    reason: Which of `Reject`.
  """

  def __init__(self, reason: Reject):
    super().__init__(str(reason))
    self.reason = reason


@dataclasses.dataclass(frozen=True)
class Pair:
  """A question and its answer as they stand in a completion.

  Attributes:
    question: '' if there is none.
    answer: '' if there is none.
    ends_text: Whether nothing but a limit of tokens may have ended it.
  """

  question: str
  answer: str
  ends_text: bool = False
