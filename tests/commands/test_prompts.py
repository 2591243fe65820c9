"""A run remembers its prompts; what asks its model takes them."""

import json

import pytest

from vidlm.captions import model as model_lib
from vidlm.core import runs

PROMPT = 'what falls'


@pytest.fixture(scope='module')
def trained_so(call, commands, tmp_path_factory):
  """Two stages: captions by a prompt of one's own, then questions."""
  folder = tmp_path_factory.mktemp('prompts')
  first, second = folder / 'first', folder / 'second'
  flags = commands.train_flags('visual', first, TRAIN_STEPS=2)
  own = f'--gin.short/tasks.ClipTask.prompt={PROMPT!r}'
  assert call('vidlm', [*flags, own]) == 0
  flags = commands.train_flags('visual', second, TRAIN_STEPS=2)
  more = [
    f'--gin.INITIAL_CHECKPOINT_PATH={str(first)!r}',
    '--gin.short/tasks.ClipTask.clips="test_qa"',
    '--gin.short/tasks.ClipTask.split="test"',
    '--gin.short/tasks.ClipTask.kind="question"',
    '--gin.short/tasks.ClipTask.prompt="{question}"',
  ]
  assert call('vidlm', [*flags, *more]) == 0
  return first, second


def test_model_gin_says_them(trained_so):
  first, second = trained_so
  assert runs.prompts_of(str(first)) == {'caption': [PROMPT]}
  # What the model knew before it was taught questions, it is asked still.
  assert runs.prompts_of(str(second)) == {
    'caption': [PROMPT],
    'question': ['{question}'],
  }


def test_eval_caption_and_python_ask_so(trained_so, call, data, tmp_path):
  folder, clips = trained_so[1], data / 'test_captioning'
  flags = [f'--checkpoint={folder}', f'--clip_dataset={clips}']
  output = tmp_path / 'scores.json'
  more = ['--max_length=4', f'--output={output}']
  assert call('vidlm', ['eval', *flags, *more]) == 0
  protocol = json.loads(output.read_text())['protocol']
  assert protocol['prompt'] == PROMPT
  assert protocol['prompt_from'] == 'training'
  assert protocol['checkpoint'].endswith('/checkpoint_2')
  more = ['--split=test', '--max_length=4', f'--output={tmp_path / "set"}']
  assert call('vidlm', ['caption', *flags, *more]) == 0
  manifest = json.loads((tmp_path / 'set' / 'manifest.json').read_text())
  assert manifest['config']['prompt'] == PROMPT
  model = model_lib.load(str(folder))
  assert model.vlm.prompt('caption') == PROMPT
  copy = tmp_path / 'converted'
  assert call('vidlm', ['convert', str(folder), str(copy)]) == 0
  assert runs.prompts_of(str(copy)) == runs.prompts_of(str(folder))
