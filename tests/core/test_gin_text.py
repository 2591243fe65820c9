"""gin texts taken apart and put together, and the part that a macro needs."""

import pathlib

import gin
import pytest

from vidlm.core import gin_text, launch

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXT = """from __gin__ import dynamic_registration
import logging
from vidlm.training import optim as o
import vidlm.core.trees
from vidlm.nn import t5

WIDTH = 8
OTHER = 1
a/WIDTH = 16
MODEL = @a/t5.T5Config()
t5.T5Config.emb_dim = %WIDTH
a/t5.T5Config.mlp_dim = %a/WIDTH
a/b/t5.T5Config.num_heads = 2
b/t5.T5Config.head_dim = %OTHER
SCHEDULE = {'x': [('.*', @o.warmup_cosine), (1, None)]}
LONG = \\
    ['aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
     'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb']
o.warmup_cosine.peak = 0.001
vidlm.core.trees.parameter_shapes.objective = @a/inner/t5.T5Config()
"""


def statements(text, *macros):
  return list(map(str, gin_text.part(gin_text.parse(text), macros).statements))


def test_a_text_is_written_as_it_was_read():
  text = str(gin_text.parse(TEXT))
  assert gin_text.parse(text) == gin_text.parse(TEXT)
  assert text.split('\n\n')[1] == TEXT.split('\n\n')[1]


def test_a_part_is_what_a_macro_reaches():
  """And as gin scopes it: a and what is in no scope, not b, not a/b."""
  part = gin_text.part(gin_text.parse(TEXT), ['MODEL', 'NOBODY'])
  assert part.imports == {'t5': 'vidlm.nn.t5'}
  assert list(map(str, part.statements)) == [
    'WIDTH = 8',
    'a/WIDTH = 16',
    'MODEL = @a/t5.T5Config()',
    't5.T5Config.emb_dim = %WIDTH',
    'a/t5.T5Config.mlp_dim = %a/WIDTH',
  ]


def test_references_without_a_call_and_in_containers_count():
  assert statements(TEXT, 'SCHEDULE') == [
    "SCHEDULE = {'x': [('.*', @o.warmup_cosine), (1, None)]}",
    'o.warmup_cosine.peak = 0.001',
  ]


def test_a_call_passes_its_scope_on():
  text = TEXT.replace('MODEL = @a', 'MODEL = @a/vidlm.core.trees.x()\nY = @a')
  text += 'vidlm.core.trees.x.llm = @t5.T5Config()\n'
  found = statements(text, 'MODEL')
  assert 'a/t5.T5Config.mlp_dim = %a/WIDTH' in found
  assert not any('head_dim' in x or 'num_heads' in x for x in found)


@pytest.mark.parametrize(
  'recipe',
  ['miniature/visual', 'miniature/dualenc', 'vidlm/recipes/adapt_visual'],
)
def test_gin_makes_the_same_of_a_part(recipe):
  with launch.isolated_gin():
    launch.parse_gin([f'configs/{recipe}.gin'], ["MODEL_DIR='x'"])
    whole, want = gin.config_str(), repr(launch.macro('MODEL'))
  part = str(gin_text.part(gin_text.parse(whole), ['MODEL']))
  assert 'OPTIMIZER' not in part and 'optim' not in part
  with launch.isolated_gin():
    launch.parse_text(part, 'part')
    assert repr(launch.macro('MODEL')) == want
