"""What the miniature's tables are made of: models, caption sets, towers.

A run stands in as many tables as show it, and is made once. `web_a` and
`web_b` are two sets of web clips of the demo's size, the twins of VideoCC
and InternVid.
"""

import dataclasses

from vidlm.miniature.world import config

_WORLD = config.MiniatureConfig()
# Seconds on 2 quiet cores, measured in the demo: what the budget counts with.
STAGE_0 = 260.0
PREPARE = 110.0  # 72 of the demo, and 2,400 clips more, read twice
VISUAL = 85.0  # 1,000 steps of F_V
LANGUAGE = 114.0  # 1,000 steps of F_L on instructions
TOWERS = 18.0  # 400 steps of a dual encoder
CAPTIONS = 6.0  # R = 4 of 2,400 clips
SCORE_VLM = 3.0
SCORE_TOWERS = 2.0


@dataclasses.dataclass(frozen=True)
class Vlm:
  """A VLM to train.

  Attributes:
    recipe: A recipe of configs/miniature.
    start: The model it starts from.
    seconds: Estimate.
    pseudo: Caption set of self-training.
  """

  recipe: str
  start: str
  seconds: float
  pseudo: str = ''


@dataclasses.dataclass(frozen=True)
class Captions:
  """A set of captions to make.

  Attributes:
    clips: 'web_a' or 'web_b'.
    model: Who writes; '' if `summary_of` is given.
    num_samples: R, captions a clip.
    framewise: Whether the model sees a frame at a time.
    summary_of: A set whose captions are made one.
    seconds: Estimate.
  """

  clips: str
  model: str = ''
  num_samples: int = 4
  framewise: bool = False
  summary_of: str = ''
  seconds: float = CAPTIONS


@dataclasses.dataclass(frozen=True)
class Towers:
  """A dual encoder to train.

  Attributes:
    clips: Clip set.
    captions: Caption set; '' for the clips' own texts.
    captions_b: Captions of `web_b`, where both sets are trained on.
    recipe: A recipe of configs/miniature.
    size: Number of its clips, web_a being 1: steps grow with it, as every dual
      encoder of the paper sees its clips equally often; None for the recipe's.
  """

  clips: str
  captions: str = ''
  captions_b: str = ''
  recipe: str = 'dualenc'
  size: float | None = 1.0


# In the order they are made: what a run starts from stands before it.
VLMS: dict[str, Vlm] = {
  'visual': Vlm('visual', 'image_vlm', VISUAL),
  'language': Vlm('language', 'visual', LANGUAGE),
  'visual_llm': Vlm('visual_llm', 'image_vlm', VISUAL),
  'visual_both': Vlm('visual_both', 'image_vlm', 1.4 * VISUAL),
  'visual_self': Vlm('visual_self', 'image_vlm', VISUAL, 'a_language'),
  'llava': Vlm('language_llava', 'visual', LANGUAGE),
  'video_chatgpt': Vlm('language_video_chatgpt', 'visual', 1.2 * LANGUAGE),
  'reasoning': Vlm('language_reasoning', 'visual', LANGUAGE),
  'captions': Vlm('language_captions', 'visual', LANGUAGE),
}
CAPTION_SETS: dict[str, Captions] = {
  'a_frames': Captions('web_a', 'image_vlm', 1, framewise=True, seconds=12.0),
  'b_frames': Captions('web_b', 'image_vlm', 1, framewise=True, seconds=12.0),
  'a_summary': Captions('web_a', summary_of='a_frames'),
  'b_summary': Captions('web_b', summary_of='b_frames'),
  'a_visual_1': Captions('web_a', 'visual', 1),
  'a_visual': Captions('web_a', 'visual'),
  'a_language': Captions('web_a', 'language'),
  'b_language': Captions('web_b', 'language'),
}
TOWERS_OF: dict[str, Towers] = {
  'image': Towers('image_text', recipe='dualenc_image', size=None),
  'a_alt_text': Towers('web_a'),
  'a_frames': Towers('web_a', 'a_frames'),
  'a_summary': Towers('web_a', 'a_summary'),
  'a_visual_1': Towers('web_a', 'a_visual_1'),
  'a_visual': Towers('web_a', 'a_visual'),
  'a_language': Towers('web_a', 'a_language'),
  'b_summary': Towers('web_b', 'b_summary'),
  'b_language': Towers('web_b', 'b_language'),
  'both': Towers('web_a', 'a_language', 'b_language', 'dualenc_both', 2.0),
  'human': Towers(
    'short_captions', size=_WORLD.short_captions / _WORLD.web_clips
  ),
}
# Not trained here: one model for all seeds.
SHARED = ('image_vlm',)


def budget(seeds: int) -> list[tuple[str, float]]:
  """Returns (what, seconds) of all that is made: once, then for a seed.

  Args:
    seeds: How many.
  """
  shared = [('shared: draw and read', PREPARE), ('shared: stage 0', STAGE_0)]
  once = [(f'VLM {name}', run.seconds) for name, run in VLMS.items()]
  once += [(f'captions {name}', s.seconds) for name, s in CAPTION_SETS.items()]
  once += [
    (f'dual encoder {name}', TOWERS * (run.size or 1.0))
    for name, run in TOWERS_OF.items()
  ]
  once.append(
    (
      'scores',
      SCORE_VLM * (len(VLMS) + 1) + SCORE_TOWERS * len(TOWERS_OF),
    )
  )
  per_seed = sum(seconds for _, seconds in once)
  return [
    *shared,
    *once,
    ('a seed', per_seed),
    (f'all of {seeds} seeds', PREPARE + STAGE_0 + seeds * per_seed),
  ]
