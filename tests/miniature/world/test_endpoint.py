"""The in-process endpoint answers the paper's prompts from their text."""

import collections

import numpy as np
import pytest

from vidlm.instruct import client, parse, prompts
from vidlm.miniature.world import endpoint, grammar, scenes, texts

TIMES = scenes.frame_times(4.0, 8)


def _narratives(count):
  rng = np.random.default_rng(21)
  for _ in range(count):
    scene = scenes.sample_scene(rng, TIMES, two_bodies=0.5)
    yield scene, texts.narrative(rng, scene)


@pytest.mark.parametrize('kind', prompts.KINDS)
def test_answers_parse_and_are_true(kind):
  completer = endpoint.GrammarCompleter(malformed=0.0)
  for i, (scene, text) in enumerate(_narratives(150)):
    prompt = prompts.build_prompt(kind, text, clip_id=str(i))
    completion = completer.complete(prompt.text)
    parsed = parse.parse(completion.text, kind=kind, caption=text)
    assert parsed.reject_reason is None, (completion.text, parsed)
    if kind == 'short':
      assert len(parsed.answer.split()) <= 3
      continue
    truth = {(b.colour, b.shape): b.motion for b in scene.bodies}
    said = grammar.parse_caption(parsed.answer)
    assert said
    for mention in said:
      assert truth[mention.colour, mention.shape] == mention.motion


def test_order_of_events_is_kept():
  text = (
    'a blue ring at the left is not there at first and then appears . after '
    'that a red bar at the top is small at first and then grows .'
  )
  completer = endpoint.GrammarCompleter(malformed=0.0)
  seen = set()
  for draw in range(6):
    for seed in range(4):
      prompt = prompts.build_prompt('temporal', text, draw=draw, seed=seed)
      seen.add(completer.complete(prompt.text).text)
  assert seen == {
    'Question: what does the red bar do after the blue ring appears?\n'
    'Answer: the red bar grows.',
    'Question: what does the blue ring do before the red bar grows?\n'
    'Answer: the blue ring appears.',
  }


def test_some_completions_are_broken_in_several_ways():
  completer = endpoint.GrammarCompleter()
  reasons = collections.Counter()
  total = 0
  for i, (_, text) in enumerate(_narratives(200)):
    for kind in prompts.KINDS:
      prompt = prompts.build_prompt(kind, text, clip_id=str(i))
      done = completer.complete(prompt.text)
      parsed = parse.parse(
        done.text, kind=kind, caption=text, finish_reason=done.finish_reason
      )
      reasons[parsed.reject_reason] += 1
      total += 1
  assert 0.015 < 1 - reasons[None] / total < 0.075
  assert len(reasons) >= 4


def test_a_prompt_always_gets_the_same_text_and_says_what_wrote_it():
  prompt = prompts.build_prompt('short', 'a red bar grows .').text
  one, other = (endpoint.GrammarCompleter().complete(prompt) for _ in '12')
  assert one == other
  assert 'no language model' in one.model
  assert isinstance(one, client.Completion)


def test_text_without_bodies_gets_an_answer():
  prompt = prompts.build_prompt('causal', 'a view from the balcony').text
  completion = endpoint.GrammarCompleter(malformed=0.0).complete(prompt)
  assert completion.text.endswith('nothing')


def test_other_prompts_are_refused():
  with pytest.raises(client.EndpointError, match=r'\(3\) Captions'):
    endpoint.GrammarCompleter().complete('tell me a story')
