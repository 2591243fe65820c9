import pytest

from vidlm.instruct import prompts, summarize
from vidlm.instruct.client import EndpointError
from vidlm.miniature.world import stills, summarizer


def summed(*lines: str) -> str:
  prompt = prompts.summary_template().replace('{}', summarize.numbered(lines))
  return summarizer.GrammarSummarizer().complete(prompt).text


def test_stills_are_read_back():
  text = 'a big red bar at the top left and a small blue ring in the middle'
  assert stills.parse(f'{text} on a dark background') == [
    stills.Seen('red bar', 'big', 'top left'),
    stills.Seen('blue ring', 'small', 'middle'),
  ]
  assert stills.parse('nothing') == []
  assert stills.at('middle') == 'in the middle'


@pytest.mark.parametrize(
  ('lines', 'said'),
  [
    (['a red bar'] * 8, 'a red bar'),
    (['a red bar at the left'] * 2 + ['a red bar at the right'],
     'a red bar moves right'),
    (['a red bar at the top', 'a red bar', 'a red bar at the bottom'],
     'a red bar moves down'),
    (['a small red bar', 'a red bar', 'a big red bar'], 'a red bar grows'),
    (['a big red bar', 'a red bar', 'a small red bar'], 'a red bar shrinks'),
    (['nothing'] * 3 + ['a red bar'] * 5, 'a red bar appears'),
    (['a red bar'] * 5 + ['nothing'] * 3, 'a red bar disappears'),
    (['a red bar', 'nothing'] * 4, 'a red bar flashes'),
    (['a red bar at the left', 'a red bar at the right',
      'a red bar at the left'], 'a red bar swings'),
    # One frame in eight is a slip of the captions.
    (['a red bar'] * 7 + ['a blue ring'], 'a red bar'),
    (['a red bar and a blue ring'] * 4, 'a red bar and a blue ring'),
    (['nothing'] * 3, 'nothing'),
  ],
)  # fmt: skip
def test_what_captions_amount_to(lines: list[str], said: str):
  assert summed(*lines) == said


def test_summaries_are_accepted():
  parsed = summarize.parse_summary(summed(*['a red bar'] * 3), 'stop')
  assert parsed.answer == 'a red bar' and parsed.reject_reason is None


def test_another_prompt_is_refused():
  with pytest.raises(EndpointError, match='template'):
    summarizer.GrammarSummarizer().complete('Say something.')
