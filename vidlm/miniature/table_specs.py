"""The paper's tables in miniature: what stands in which row for what."""

import dataclasses
from collections.abc import Mapping

from vidlm.evals import paper_tables
from vidlm.miniature.world import config, conversations

_WORLD = config.MiniatureConfig()


@dataclasses.dataclass(frozen=True)
class Column:
  """A score of ours, and the paper's that it stands for.

  Attributes:
    name: Name of the column.
    file: File of the score, with {run}.
    keys: Where in it.
    factor: To the paper's scale.
    paper: Columns of `paper_tables`; none if the paper has no such figure.
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
    rows: Row of `paper_tables` (or one of ours) -> the run.
    notes: What stands for what.
    extra: Rows the paper lacks -> what they are.
  """

  columns: tuple[Column, ...]
  rows: Mapping[str, str]
  notes: tuple[str, ...]
  extra: Mapping[str, str] = dataclasses.field(default_factory=dict)

  def label(self, name: str, row: str) -> str:
    """Returns what the paper calls a row of table `name`."""
    return self.extra.get(row) or paper_tables.TABLES[name][2][row][0]

  def paper(self, name: str, row: str, column: str) -> float | None:
    """Returns the paper's figure, if it has one."""
    _, columns, rows = paper_tables.TABLES[name]
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
  f'Two sets of web clips of {_WORLD.web_clips:,} each, drawn alike, stand for '
  'VideoCC and InternVid.',
  'VideoCC: poor alt-text. InternVid: captions of the image VLM, one frame at '
  'a time, summarized (the rows of Table 4), as its own were made by an image '
  'captioner and a language model. "+": 4 sampled captions of the VLM after '
  'visual and language adaptation.',
)
_TOWER_NOTES = (
  'Every dual encoder starts from the image dual encoder, as the paper starts '
  f'from CLIP: trained on the {_WORLD.image_text:,} captioned stills with one '
  'frame, where motion is never told. Its temporal embedding starts afresh.',
  'All of a seed see their clips equally often: steps grow with the clips.',
  f'R@k: {_WORLD.test_retrieval} clips, each with a description that fits no '
  'other, for both MSR-VTT and VATEX. top-k: '
  f'{_WORLD.test_classification} clips of 15 motions, for Kinetics-600.',
)
_CIDER_NOTE = (
  f'CIDEr-D x 100 on {_WORLD.test_captioning} clips with {_WORLD.references} '
  'clean references each, greedy decoding. '
  "The figures are higher than the paper's because the miniature's language "
  'is small.'
)
_QA_NOTE = (
  f'QA: exact match on questions about {_WORLD.test_qa} clips, '
  f'{_WORLD.questions} each, prompt "Answer in en:".'
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
      "prompt's text only, and follows the places and sizes told in it. "
      'Captions of stills tell these here, so that text alone tells many a '
      'motion; those of the photographs that WebLI has seldom do.',
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
      f'Trained on {_WORLD.short_captions:,} clips with one short noisy '
      'caption each (S-MiT), from the image VLM on, with equal steps and one '
      'peak rate for all.',
      'Self-training: half of each batch are captions of the VLM after visual '
      f'and language adaptation on {_WORLD.web_clips:,} web clips.',
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
      f'LLaVA: conversations about {conversations.IMAGES:,} stills, as clips '
      'of one frame. ActivityNet-Instruct: three questions about each of the '
      f'{_WORLD.narratives} clips with narratives, answered with sentences of '
      'these. Both are read by the readers of the originals.',
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
      f'S-MiT: the {_WORLD.short_captions:,} short captions with the errors of '
      "a recogniser; in the paper S-MiT has a fifteenth of VideoCC's clips, "
      'here it has more.',
      *_WEB,
      *_TOWER_NOTES,
    ),
  ),
}
