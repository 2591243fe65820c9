"""Tasks and mixtures over the paper's data sets.

A recipe that imports this module may name any of them in MIXTURE_OR_TASK.
Where seqio has been imported before, this registers them there as well, as
T5's task modules do; `register` does so at any time:

  import seqio
  from vidlm.data.sets import paper_tasks
  seqio.TaskRegistry.names()

The clip sets need not be there: a task reads its own when it is used, from
VIDLM_DATA_DIR/<set> ('data' by default), as `vidlm prepare <set>` writes them.
Tokens are those of VIDLM_VOCABULARY, a SentencePiece file.
"""

import os
import sys

from vidlm.data.feed import tasks, vocabulary

VOCABULARY = 'vocabs/cc_all.32000.100extra/sentencepiece.model'  # as t5x's

# Examples behind the paper's "2.6 epochs" of 10,000 steps at batch 256:
# about 985,000. S-MiT has 481,094 captions (Scenic's configuration of it); the
# rest are questions, of which the paper gives no shares: a third each for
# causal, temporal and short ones is ours.
SMIT_CAPTIONS = 481_094
INSTRUCTIONS = round(10_000 * 256 / 2.6) - SMIT_CAPTIONS

# Set, split and what of it -> tasks SET_WHAT for train, SET_WHAT_SPLIT else.
_CAPTIONS = {
  'smit': ('train', 'val', 'test'),
  'msrvtt': ('train', 'val', 'test'),
  'msrvtt_1ka': ('train_9k', 'train_7k', 'test_1ka'),
  'vatex': ('train', 'val', 'test'),
  'vatex_1.5k': ('test',),
  'activitynet': ('train', 'val_1', 'val_2'),
  'vidln': ('train', 'val'),
  'videocc': ('train',),
  'internvid': ('train',),
}
_QUESTIONS = {
  'msrvtt_qa': ('train', 'val', 'test'),
  'activitynet_qa': ('train', 'val', 'test'),
  'next_oe': ('train', 'val', 'test'),
  'oops_qa': ('train', 'val'),
  'llava': ('train',),
  'video_chatgpt': ('train',),
}
_LABELS = {
  name: ('train', 'val', 'test')
  for name in ('kinetics400', 'kinetics600', 'kinetics700')
}
_INSTRUCTED = 'vidln_instructions/instructions.parquet'


def describe(
  data_dir: str, vocab: vocabulary.Vocabulary
) -> list[tasks.ClipTask | tasks.ClipMixture]:
  """Describes every task and mixture, the tasks first.

  Args:
    data_dir: Folder of the clip sets.
    vocab: Vocabulary of inputs and targets.
  """
  found: dict[str, tasks.ClipTask] = {}

  def add(name: str, clips: str, split: str, kind: str, **more) -> None:
    found[name] = tasks.ClipTask(
      name, vocab, data_dir, clips, split, kind, **more
    )

  for kind, what, sets in (
    ('caption', '_captions', _CAPTIONS),
    ('question', '', _QUESTIONS),
    ('label', '_labels', _LABELS),
  ):
    for clips, splits in sets.items():
      for split in splits:
        suffix = '' if split == 'train' else f'_{split}'
        add(f'{clips}{what}{suffix}', clips, split, kind)
  for clips in ('videocc', 'internvid'):
    add(f'{clips}_pseudo_captions', clips, 'train', 'caption',
        texts=f'{clips}_plus')  # fmt: skip
  for name, kinds, more in (
    ('vidln_reasoning', ('causal', 'temporal'), {'prompt': '{question}'}),
    ('vidln_short_qa', ('short',), {}),
  ):
    add(name, 'vidln', 'train', 'question', texts=_INSTRUCTED, kinds=kinds,
        **more)  # fmt: skip
  return [*found.values(), *_mixtures(found)]


def _mixtures(found: dict[str, tasks.ClipTask]) -> list[tasks.ClipMixture]:
  smit = found['smit_captions']
  return [
    tasks.ClipMixture('visual_adaptation', [(smit, 1.0)]),
    tasks.ClipMixture(
      'language_adaptation',
      [
        (found['vidln_reasoning'], INSTRUCTIONS * 2 / 3),
        (found['vidln_short_qa'], INSTRUCTIONS / 3),
        (smit, float(SMIT_CAPTIONS)),
      ],
    ),
    # Paper, appendix E; it gives no ratio, 1:1 is ours.
    tasks.ClipMixture(
      'self_training', [(smit, 1.0), (found['videocc_pseudo_captions'], 1.0)]
    ),
    # The other instruction data of Table 6.
    *(
      tasks.ClipMixture(
        f'language_adaptation_{name}',
        [(found[name], float(INSTRUCTIONS)), (smit, float(SMIT_CAPTIONS))],
      )
      for name in ('llava', 'video_chatgpt')
    ),
  ]


def register(
  data_dir: str,
  vocab: vocabulary.Vocabulary,
  frames: tasks.FrameOptions = tasks.FrameOptions(),
) -> list[str]:
  """Registers them all with seqio and returns their names.

  Args:
    data_dir: Folder of the clip sets.
    vocab: Vocabulary of inputs and targets.
    frames: How frames are sampled.
  """
  return [
    tasks.register(task, frames, lazy=True)
    for task in describe(data_dir, vocab)
  ]


_DATA_DIR = os.environ.get('VIDLM_DATA_DIR', 'data')
_VOCABULARY = vocabulary.Vocabulary(
  os.environ.get('VIDLM_VOCABULARY', VOCABULARY), extra_ids=100
)
NAMES = [tasks.describe(task) for task in describe(_DATA_DIR, _VOCABULARY)]
if 'seqio' in sys.modules:
  register(_DATA_DIR, _VOCABULARY)
