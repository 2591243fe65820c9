"""What the miniature's tables are made of: models, caption sets, rows.

A run stands in as many tables as show it, and is made once. `clips a` and
`clips b` are two sets of web clips of the demo's size, the twins of VideoCC
and InternVid.
"""

import dataclasses
from collections.abc import Mapping

import paper_table

# Seconds on 2 quiet cores, measured in the demo: what the budget counts with.
STAGE_0 = 260.0
PREPARE = 110.0  # 72 of the demo, and 2,400 clips more, read twice
VISUAL = 85.0  # 1,000 steps of F_V
LANGUAGE = 114.0  # 1,000 steps of F_L on instructions
TOWERS = 18.0  # 400 steps of a dual encoder
CAPTIONS = 6.0  # K = 4 of 2,400 clips
SCORE_VLM = 3.0
SCORE_TOWERS = 2.0


@dataclasses.dataclass(frozen=True)
class Vlm:
  """A VLM to train.

  Attributes:
    recipe: Of configs/miniature.
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
    num_samples: K.
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
    captions_b: Of `web_b`, where both sets are trained on.
    recipe: Of configs/miniature.
    size: Of its clips, web_a being 1: steps grow with it, as every dual
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
  'a_frames': Captions('web_a', 'image_vlm', 1, framewise=True, seconds=12),
  'b_frames': Captions('web_b', 'image_vlm', 1, framewise=True, seconds=12),
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
  'human': Towers('short_captions', size=4000 / 2400),
}
# Not trained here: one model for all seeds.
SHARED = ('image_vlm',)


@dataclasses.dataclass(frozen=True)
class Column:
  """A score of ours, and the paper's that it stands for.

  Attributes:
    name: Of the column.
    file: Of the score, with {run}.
    keys: Where in it.
    factor: To the paper's scale.
    paper: Columns of `paper_table`; none if the paper has no such figure.
  """

  name: str
  file: str
  keys: tuple[str, ...]
  factor: float = 100.0
  paper: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Table:
  """One of the paper's tables in miniature.

  Attributes:
    columns: What is scored.
    rows: Row of `paper_table` (or one of ours) -> the run.
    notes: What stands for what.
    extra: Rows the paper lacks -> what they are.
  """

  columns: tuple[Column, ...]
  rows: Mapping[str, str]
  notes: tuple[str, ...]
  extra: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def label(self, name: str, row: str) -> str:
    """What the paper calls a row of table `name`."""
    return self.extra.get(row) or paper_table.TABLES[name][2][row][0]

  def paper(self, name: str, row: str, column: str) -> float | None:
    """The paper's figure, if it has one."""
    _, columns, rows = paper_table.TABLES[name]
    if row not in rows:
      return None
    return rows[row][1][list(columns).index(column)]


_TOWER = 'dualenc_{run}.json'


def _recall(k: int, paper: bool = True, vatex: bool = True) -> Column:
  sets = ('MSR-VTT', 'VATEX') if vatex else ('MSR-VTT',)
  return Column(
    f'R@{k}',
    _TOWER,
    ('retrieval', 't2v', f'R@{k}'),
    paper=tuple(f'{name} R@{k}' for name in sets) if paper else (),
  )


def _top(k: int) -> Column:
  return Column(
    f'top-{k}',
    _TOWER,
    ('classification', f'top{k}'),
    paper=(f'K600 top-{k}',),
  )


def _cider(*paper: str) -> Column:
  return Column('CIDEr-D', 'captioning.{run}.json', ('cider',), paper=paper)


def _accuracy(*paper: str) -> Column:
  return Column('QA accuracy', 'qa.{run}.json', ('accuracy',), paper=paper)


def _share(name: str, key: str) -> Column:
  return Column(name, 'captions.{run}.json', (key,))


_ZERO_SHOT = (*(_recall(k) for k in (1, 5, 10)), _top(1), _top(5))
_WEB = (
  'Two sets of web clips of 2,400 each, drawn alike, stand for VideoCC and '
  'InternVid.',
  'VideoCC: poor alt-text. InternVid: captions of the image VLM, one frame at '
  'a time, summarized (the rows of Table 4), as its own were made by an image '
  'captioner and a language model. "+": 4 sampled captions of the VLM after '
  'visual and language adaptation.',
)
_TOWER_NOTES = (
  'Every dual encoder starts from the image dual encoder, as the paper starts '
  'from CLIP: trained on the 24,000 captioned stills with one frame, where '
  'motion is never told. Its temporal embedding starts afresh.',
  'All of a seed see their clips equally often (400 steps for 2,400 clips), '
  'and their last checkpoint is scored.',
  'R@k: 270 clips, each with a description that fits no other; it stands for '
  'both MSR-VTT and VATEX. top-k: 300 clips of 15 motions, for Kinetics-600.',
)
_CIDER_NOTE = (
  'CIDEr-D x 100 on 300 clips with 4 clean references each, greedy decoding. '
  "The figures are higher than the paper's because the miniature's language "
  'is small.'
)
_QA_NOTE = (
  'QA: exact match on 600 questions about 300 clips, prompt "Answer in en:".'
)
TABLES: dict[str, Table] = {
  'table_2': Table(
    _ZERO_SHOT,
    {
      'clip': 'image',
      'videocc': 'a_alt_text',
      'videocc_plus': 'a_language',
      'internvid': 'b_summary',
      'internvid_plus': 'b_language',
      'both_plus': 'both',
    },
    (
      *_WEB,
      *_TOWER_NOTES,
      'CLIP: the image dual encoder sees 8 frames one at a time, unit vectors '
      'averaged.',
    ),
  ),
  'table_3': Table(
    (
      _cider('MSR-VTT CIDEr', 'ActivityNet CIDEr, per segment'),
      _accuracy('MSRVTT-QA', 'ActivityNet-QA', 'NExT-OE WUPS'),
    ),
    {'image': 'image_vlm', 'adapted': 'language'},
    (
      'One captioning set and one QA set stand for five of the paper.',
      _CIDER_NOTE,
      _QA_NOTE,
      'The image VLM (stage 0) sees 8 frames; it is one model for all seeds, '
      'so it has no spread.',
    ),
  ),
  'table_4': Table(
    (
      _recall(1, vatex=False),
      _recall(5, paper=False),
      _recall(10, paper=False),
      _share('bodies named right', 'body'),
      _share('with the right motion', 'body_and_motion'),
    ),
    {
      'alt_text': 'a_alt_text',
      'frames': 'a_frames',
      'frames_llm': 'a_summary',
      'visual': 'a_visual_1',
      'visual_multi': 'a_visual',
      'adapted_multi': 'a_language',
    },
    (
      _WEB[0],
      'Frame by frame: 8 frames, one sampled caption each, all kept. The '
      'language model that summarizes them is a stand-in (`vidlm.miniature.'
      'summarizer`) behind the real `vidlm instruct summarize`: it sees the '
      "prompt's text only, and follows the places and sizes told in it.",
      'Several: 4 captions a clip by nucleus sampling; one: the first of them.',
      *_TOWER_NOTES[:2],
      'The last two columns are ours: captions of the training clips against '
      "the simulator's truth, in percent of the bodies.",
    ),
  ),
  'table_5': Table(
    (_cider('S-MiT CIDEr'),),
    {
      'language': 'visual_llm',
      'visual': 'visual',
      'both': 'visual_both',
      'visual_self': 'visual_self',
    },
    (
      'Trained on 4,000 clips with one short noisy caption each (S-MiT), from '
      'the image VLM on, with equal steps and one peak rate for all.',
      'Self-training: half of each batch are captions of the VLM after visual '
      'and language adaptation on 2,400 web clips.',
      _CIDER_NOTE,
    ),
  ),
  'table_6': Table(
    (
      _cider('MSR-VTT CIDEr', 'ActivityNet CIDEr'),
      _accuracy('NExT'),
    ),
    {
      'none': 'image_vlm',
      'visual': 'visual',
      'llava': 'llava',
      'activitynet_instruct': 'video_chatgpt',
      'reasoning': 'reasoning',
      'reasoning_smit': 'captions',
      'reasoning_smit_short': 'language',
    },
    (
      'None: the image VLM, one model for all seeds. The others train F_L from '
      'visual adaptation on, with equal steps.',
      'LLaVA: conversations about 1,200 stills, as clips of one frame. '
      'ActivityNet-Instruct: three questions about each of the 600 clips with '
      'narratives, answered with sentences of these. Both are read by the '
      'readers of the originals.',
      'Ours: questions and answers that an endpoint in the process makes of '
      'the narratives through `vidlm instruct`.',
      _CIDER_NOTE,
      f'{_QA_NOTE} It stands for NExT-OE, whose WUPS gives credit for alike '
      'words; ours gives none.',
    ),
    {'visual': 'none, after visual adaptation (not in the paper)'},
  ),
  'table_11': Table(
    _ZERO_SHOT,
    {
      'smit': 'human',
      'videocc_plus': 'a_language',
      'internvid_plus': 'b_language',
      'both_plus': 'both',
    },
    (
      "S-MiT: the 4,000 short captions with a recogniser's errors; in the "
      "paper S-MiT has a fifteenth of VideoCC's clips, here it has more.",
      *_WEB,
      *_TOWER_NOTES,
    ),
  ),
}


def budget(seeds: int) -> list[tuple[str, float]]:
  """(what, seconds) of all that is made: once, then for a seed.

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
