"""The paper's templates and examples, and which of them a prompt has."""

import collections

import pytest

from vidlm.instruct import prompts


@pytest.mark.parametrize('kind', prompts.KINDS)
def test_files_hold_the_paper(kind: str):
  template = prompts.template(kind)
  assert template.startswith('You are an AI visual assistant that can analyze')
  assert template.endswith('(3) Captions:\n{}\n\nGenerated QA:\n')
  assert template.count('{}') == 5
  assert [shot.id for shot in prompts.few_shots(kind)] == [
    'egg',
    'backflip',
    'bicycle',
  ]


def test_kinds_differ_where_the_paper_does():
  assert 'reasoning about temporal relationships' in prompts.template(
    'temporal'
  )
  assert 'uncovering the intentions' in prompts.template('causal')
  assert 'a short answer with less than three words' in prompts.template(
    'short'
  )
  assert prompts.few_shots('short')[0].answer == 'baby girl'


def test_prompt_is_the_filled_template():
  prompt = prompts.build_prompt('short', 'A man\n{}\t(4) runs. ', clip_id='a')
  assert '(3) Captions:\nA man {} (4) runs.\n\nGenerated QA:\n' in prompt.text
  assert (
    prompt.text.count('\nQuestion: ') == prompt.text.count('\nAnswer: ') == 2
  )
  for shot in prompts.few_shots('short'):
    assert (shot.caption in prompt.text) == (shot.id in prompt.fewshot_ids)


def test_examples_are_a_function_of_the_key():
  def drawn(**key) -> tuple[str, ...]:
    return prompts.build_prompt('causal', 'a dog runs', **key).fewshot_ids

  assert drawn(clip_id='a', seed=3) == drawn(clip_id='a', seed=3)
  six = [drawn(clip_id='a', draw=draw) for draw in range(6)]
  assert len(set(six)) == 6
  assert all(len(set(pair)) == 2 for pair in six)
  assert drawn(clip_id='a', draw=6) == six[0]


def test_all_pairs_are_about_as_frequent():
  counts = collections.Counter(
    prompts.build_prompt('temporal', 'x', clip_id=str(i)).fewshot_ids
    for i in range(1200)
  )
  assert len(counts) == 6
  assert min(counts.values()) > 150


def test_hash_tells_prompts_apart():
  one = prompts.build_prompt('short', 'a dog', clip_id='a')
  assert one.sha == prompts.build_prompt('short', ' a  dog', clip_id='a').sha
  assert one.sha != prompts.build_prompt('short', 'a cat', clip_id='a').sha


def test_bad_input():
  with pytest.raises(ValueError, match="no prompt of kind 'long'; there are"):
    prompts.build_prompt('long', 'x')
  with pytest.raises(ValueError, match="clip 'a' has an empty caption"):
    prompts.build_prompt('short', ' \n', clip_id='a')
