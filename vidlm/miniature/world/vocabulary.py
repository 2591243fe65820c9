"""Names of the miniature's colours, shapes and motions.

Plain tables: the simulator, the grammar and the reports all read them. No
motion can be told from one frame; spinning is left out because a tilted body
would give it away.
"""

import dataclasses

COLOURS: dict[str, tuple[int, int, int]] = {
  'red': (230, 45, 45),
  'green': (40, 190, 60),
  'blue': (60, 95, 250),
  'yellow': (240, 215, 40),
  'pink': (245, 95, 215),
  'white': (240, 240, 240),
}
# A dozen pixels across, these three differ plainly; a cross is taken for a
# ring by a model this small.
SHAPES = ('square', 'bar', 'ring')


@dataclasses.dataclass(frozen=True)
class Motion:
  """One way to move and the words for it.

  Attributes:
    phrase: As in "a red bar moves right"; also the class name.
    base: After "does": "does the red bar move right".
    gerund: After "is": "is moving right".
    synonyms: Other phrases for the same thing.
    reverse: Phrase of what the clip shows when it is played backwards, if
      that is a motion of its own.
  """

  phrase: str
  base: str
  gerund: str
  synonyms: tuple[str, ...] = ()
  reverse: str | None = None


_TABLE = (
  Motion(
    'moves left',
    'move left',
    'moving left',
    ('goes left', 'slides left'),
    'moves right',
  ),
  Motion(
    'moves right',
    'move right',
    'moving right',
    ('goes right', 'slides right'),
    'moves left',
  ),
  Motion(
    'moves up', 'move up', 'moving up', ('goes up', 'rises'), 'moves down'
  ),
  Motion(
    'moves down', 'move down', 'moving down', ('goes down', 'sinks'), 'moves up'
  ),
  Motion('swings', 'swing', 'swinging', ('goes back and forth',)),
  Motion('grows', 'grow', 'growing', ('gets bigger',), 'shrinks'),
  Motion('shrinks', 'shrink', 'shrinking', ('gets smaller',), 'grows'),
  Motion('appears', 'appear', 'appearing', ('shows up',), 'disappears'),
  Motion('disappears', 'disappear', 'disappearing', ('vanishes',), 'appears'),
  Motion('flashes', 'flash', 'flashing', ('blinks',)),
  Motion(
    'stops moving',
    'stop moving',
    'stopping',
    ('comes to a stop',),
    'starts moving',
  ),
  Motion(
    'starts moving', 'start moving', 'starting', ('sets off',), 'stops moving'
  ),
  Motion('falls', 'fall', 'falling', ('drops',)),
  Motion('bounces', 'bounce', 'bouncing', ('hops',)),
  Motion('collides', 'collide', 'colliding', ('hits', 'bumps into')),
)
MOTIONS: dict[str, Motion] = {motion.phrase: motion for motion in _TABLE}
COLLIDES = 'collides'  # the one motion that takes two bodies

# Each pair is one class and its clips played backwards: pooled over time, or
# in the middle of the clip, their single frames are the same.
SINGLE_FRAME_PAIRS: tuple[tuple[str, str], ...] = (
  ('moves left', 'moves right'),
  ('moves up', 'moves down'),
  ('grows', 'shrinks'),
  ('appears', 'disappears'),
  ('stops moving', 'starts moving'),
)


def class_names() -> tuple[str, ...]:
  """Returns labels of the classification set, in a fixed order."""
  return tuple(MOTIONS)


def class_templates() -> tuple[str, ...]:
  """Returns prompts for zero-shot classification: one per colour and shape."""
  return tuple(
    f'a {colour} {shape} {{}}' for colour in COLOURS for shape in SHAPES
  )
