"""What is written about a scene can be read back."""

import collections

import numpy as np
import pytest

from vidlm.miniature.world import (
  grammar,
  language,
  questions,
  texts,
)
from vidlm.miniature.world import (
  scenes as world,
)
from vidlm.miniature.world.config import (
  AltTextNoise,
  MiniatureConfig,
  ShortCaptionNoise,
)
from vidlm.miniature.world.vocabulary import (
  MOTIONS,
  class_names,
  class_templates,
)

TIMES = world.frame_times(4.0, 8)


def _scenes(count, **kwargs):
  rng = np.random.default_rng(11)
  return [world.sample_scene(rng, TIMES, **kwargs) for _ in range(count)]


def _truth(scene):
  return {(b.colour, b.shape): b.motion for b in scene.bodies}


def _parsed(text):
  return {(m.colour, m.shape): m.motion for m in grammar.parse_caption(text)}


_STYLES = {
  'clean': lambda rng, s: texts.clean_caption(s),
  'reworded': lambda rng, s: texts.reworded_caption(
    rng, s, synonym=0.7, place=0.5
  ),
  'short': lambda rng, s: texts.short_caption(
    rng, s, ShortCaptionNoise(0.4, 0.4, 0.4, 0.5, 0.5)
  ),
  'narrative': texts.narrative,
}


@pytest.mark.parametrize('style', _STYLES)
def test_every_caption_is_right_about_bodies_and_motions(style):
  rng = np.random.default_rng(0)
  for scene in _scenes(200, two_bodies=0.5):
    text = _STYLES[style](rng, scene)
    assert _parsed(text) == _truth(scene), text
    assert grammar.parse_relation(text) == scene.relation, text
    assert '  ' not in text
    assert text == text.strip().lower()


@pytest.mark.parametrize(
  ('text', 'expected'),
  [
    ('', {}),
    ('view from the balcony', {}),
    ('image may contain : red bar', {('red', 'bar'): None}),
    ('There appears a big, red bar!', {('red', 'bar'): 'appears'}),
    (
      'a red bar moves from the left to the right',
      {('red', 'bar'): 'moves right'},
    ),
    ('the red bar at the right moves', {('red', 'bar'): None}),
    ('a bar moves left', {(None, 'bar'): 'moves left'}),
    (
      'a red bar and a blue ring collide',
      {('red', 'bar'): 'collides', ('blue', 'ring'): 'collides'},
    ),
    (
      'a blue ring is hit by a red bar',
      {('red', 'bar'): 'collides', ('blue', 'ring'): 'collides'},
    ),
    ('a red bar moves left moves right', {('red', 'bar'): 'moves left'}),
    ('a red bar moves left and then stops', {('red', 'bar'): 'stops moving'}),
    ('red red red', {}),
  ],
)
def test_parsing_tolerates_free_text(text, expected):
  assert _parsed(text) == expected


def test_shares():
  bodies = [
    world.Body('red', 'bar', 'grows'),
    world.Body('blue', 'ring', 'falls'),
  ]
  shares = grammar.caption_shares(
    [
      ('a red bar grows while a blue ring moves up', bodies),
      ('a green square grows', bodies),
    ]
  )
  assert shares == grammar.CaptionShares(0.5, 0.25, 2 / 3, 2)
  assert grammar.caption_shares([]).body == 0


def test_alt_text_noise_is_what_the_config_says():
  noise = AltTextNoise(right_body=0.5, other_clip=0.3, motion=0.1)
  rng = np.random.default_rng(2)
  scenes = _scenes(2000)
  pairs = [
    (texts.alt_text(rng, scene, scenes[i - 1], noise), scene.bodies)
    for i, scene in enumerate(scenes)
  ]
  shares = grammar.caption_shares(pairs)
  # Another clip's text names a right body by chance, 1 time in 24 or so.
  assert shares.body == pytest.approx(0.5 + 0.3 / 24, abs=0.04)
  assert shares.body_and_motion == pytest.approx(0.1, abs=0.025)
  empty = np.mean([not grammar.parse_caption(text) for text, _ in pairs])
  assert empty == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize(
  'fields',
  [
    {'motion': 0.6},
    {'right_body': 0.8, 'other_clip': 0.3},
  ],
)
def test_impossible_noise_is_refused(fields):
  with pytest.raises(ValueError, match='AltTextNoise'):
    AltTextNoise(**fields)


def _answer(kind, text, scene):
  """Answers a question from the simulator's truth, not from `questions`."""
  words = text.split()
  named = [b for b in scene.bodies if b.name in text]
  about = [b for b in scene.bodies if b.colour in words or b.shape in words]
  by_onset = sorted(scene.bodies, key=lambda body: body.onset)
  if kind == 'yes_no':
    claim = text.split(named[0].name)[1].strip()
    return 'yes' if MOTIONS[named[0].motion].base == claim else 'no'
  return {
    'colour': lambda: about[0].colour,
    'shape': lambda: about[0].shape,
    'count': lambda: ['one', 'two'][len(scene.bodies) - 1],
    'motion': lambda: named[0].motion,
    'way': lambda: named[0].motion.split()[-1],
    'either': lambda: MOTIONS[named[0].motion].base,
    'first': lambda: by_onset[0].name,
    'order': lambda: by_onset['after' in words].motion,
    'partner': lambda: (
      next(b for b in scene.bodies if b.name != named[0].name).name
    ),
  }[kind]()


def test_answers_are_right_and_short():
  rng = np.random.default_rng(4)
  kinds = collections.Counter()
  yes = []
  for scene in _scenes(300, two_bodies=0.6):
    for item in questions.ask(rng, scene.bodies, scene.relation):
      kinds[item.kind] += 1
      assert item.answer == _answer(item.kind, item.question, scene), item
      assert 1 <= len(item.answer.split()) <= 3
      assert item.question == item.question.lower().rstrip('?')
      if item.kind == 'yes_no':
        yes.append(item.answer == 'yes')
  assert len(kinds) == 10
  assert np.mean(yes) == pytest.approx(0.5, abs=0.08)


def test_stories_tell_what_moves():
  rng = np.random.default_rng(6)
  for motion, first, last in (
    ('moves right', 'left', 'right'),
    ('moves up', 'bottom', 'top'),
    ('grows', 'small', 'big'),
    ('appears', 'gone', 'there'),
  ):
    for _ in range(10):
      scene = world.sample_scene(rng, TIMES, motion=motion)
      words = language.story(scene).removeprefix(scene.bodies[0].name).split()
      assert len(words) == 8
      assert words[0] == first
      assert words[-1] == last
  by_frame = language.story(scene, 4, by_frame=True)
  assert by_frame.startswith('nothing')
  assert by_frame.endswith(f'{scene.bodies[0].name} there')


def test_text_examples_end_with_the_prompt_of_their_task():
  config = MiniatureConfig()
  rng = np.random.default_rng(8)
  kinds = collections.Counter()
  for scene in _scenes(300):
    row = language.text_example(rng, scene, config)
    kinds[row['kind']] += 1
    assert row['inputs'] and row['targets']
    if row['kind'] == 'story':
      assert row['inputs'].endswith(config.caption_prompt)
      assert _parsed(row['targets']) == _truth(scene)
  assert set(kinds) == {'story', 'question', 'narration'}


def test_class_prompts():
  assert len(class_names()) == len(MOTIONS)
  texts_of = {
    template.format(name)
    for name in class_names()
    for template in class_templates()
  }
  assert 'a red bar moves left' in texts_of
  for text in texts_of:
    assert next(iter(_parsed(text).values())) in text
