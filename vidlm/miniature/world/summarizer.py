"""An endpoint for `vidlm instruct summarize` that knows the miniature.

It stands where the language model of the paper's Table 4 does, and is none: it
reads the numbered captions of a video's frames from the prompt, as text, and
says in one sentence what they amount to. It sees nothing of the simulator, nor
of the frames. What it may conclude is what anyone could from the text: a body
told of at the left first and at the right last has moved right.
"""

import collections
import dataclasses
import re
from collections.abc import Sequence

from vidlm.instruct.client import Completion, EndpointError
from vidlm.miniature.world import stills

MODEL_NAME = 'summarizer-miniature (no language model)'
_LINE = re.compile(r'^\((\d+)\) (.*)$', re.MULTILINE)
# A body that fewer of the captions name is taken for a mistake of theirs.
_MIN_SHARE = 0.25
_MOST = 2


@dataclasses.dataclass(frozen=True)
class GrammarSummarizer:
  """Makes one sentence of the captions of a video's frames (a `Completer`).

  Attributes:
    model: What the records say of where the text is from.
  """

  model: str = MODEL_NAME

  def complete(self, prompt: str) -> Completion:
    """Completes the prompt of `prompts/summary.txt`.

    Args:
      prompt: Ends in numbered captions.

    Returns:
      One sentence; the same prompt always gets the same.

    Raises:
      EndpointError: If there is no numbered caption in the prompt.
    """
    lines = [text for _, text in _LINE.findall(prompt)]
    if not lines:
      raise EndpointError(
        'GrammarSummarizer: the prompt has no line "(1) ..."; it knows the '
        'template of `vidlm instruct summarize` only',
        fatal=True,
      )
    return Completion(summary(lines), 'stop', self.model)


def summary(lines: Sequence[str]) -> str:
  """Sums up captions of a video's frames, in order."""
  frames = [{seen.name: seen for seen in stills.parse(line)} for line in lines]
  counts = collections.Counter(name for frame in frames for name in frame)
  most = [
    name
    for name, count in counts.most_common(_MOST)
    if count >= _MIN_SHARE * len(lines)
  ]
  if not most:
    return lines[0] or 'nothing'
  told = []
  for name in most:
    motion = _motion([frame.get(name) for frame in frames])
    told.append(f'a {name} {motion}'.rstrip())
  return ' and '.join(told)


def _motion(seen: Sequence[stills.Seen | None]) -> str:
  """Returns what a body does that only some of the frames tell of, or ''."""
  known = [body for body in seen if body is not None]
  return (
    _presence([body is not None for body in seen])
    or _change([body.size for body in known if body.size])
    or _way([body.place for body in known if body.place])
  )


def _presence(there: Sequence[bool]) -> str:
  turns = [i for i in range(1, len(there)) if there[i] != there[i - 1]]
  if len(turns) >= 3:
    return 'flashes'
  # One frame without it may be a mistake of its caption.
  if len(turns) == 1 and 2 <= turns[0] <= len(there) - 2:
    return 'appears' if there[-1] else 'disappears'
  return ''


def _change(sizes: Sequence[str]) -> str:
  if len(sizes) < 2 or sizes[0] == sizes[-1]:
    return ''
  return 'grows' if sizes[-1] == 'big' else 'shrinks'


def _way(places: Sequence[str]) -> str:
  """Returns the way from the first to the last place, or back and forth."""
  if len(places) < 2:
    return ''
  ways = {
    axis: [(last in p.split()) - (first in p.split()) for p in places]
    for axis, (first, last) in {
      'across': ('left', 'right'),
      'along': ('top', 'bottom'),
    }.items()
  }
  across, along = (steps[-1] - steps[0] for steps in ways.values())
  if abs(across) >= 2 or abs(along) >= 2:
    if abs(across) >= abs(along):
      return 'moves right' if across > 0 else 'moves left'
    return 'moves down' if along > 0 else 'moves up'
  if max(ways['across']) - min(ways['across']) == 2:
    return 'swings'
  if max(ways['along']) - min(ways['along']) == 2:
    return 'bounces'
  return ''
