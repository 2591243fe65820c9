"""The paper's tasks are listed without data, and read it when used."""

import importlib
import io
import os
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest

from vidlm.data.feed import batches, tasks
from vidlm.data.feed.vocabulary import train_sentencepiece
from vidlm.data.store import clip_schema, clip_writer

seqio = pytest.importorskip('seqio')


def row(name: str) -> clip_schema.ClipRow:
  buffer = io.BytesIO()
  PIL.Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(buffer, 'JPEG')
  return clip_schema.ClipRow(
    name,
    'v.mp4',
    0.0,
    1.0,
    (buffer.getvalue(),),
    (0.0,),
    texts=(f'a text of {name}',),
    questions=('who runs',),
    answers=('a dog',),
    label='running',
  )


@pytest.fixture(scope='module')
def paper(tmp_path_factory):
  folder = tmp_path_factory.mktemp('data')
  words = ['a text of smit', 'who runs', 'a dog', 'running', 'Answer in en:']
  vocab = train_sentencepiece(words, str(folder / 'v.model'), 64)
  with pytest.MonkeyPatch.context() as patch:
    patch.setenv('VIDLM_DATA_DIR', str(folder))
    patch.setenv('VIDLM_VOCABULARY', vocab.path)
    module = importlib.import_module('vidlm.data.sets.paper_tasks')
    module.register(str(folder), vocab)
  for name in ('smit', 'next_oe', 'kinetics600'):
    rows = [row(f'{name}{n}') for n in range(3)]
    clip_writer.write_clips(rows, str(folder / name), split='train')
  return module


def test_names_are_listed(paper) -> None:
  listed = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}
  assert set(paper.NAMES) <= listed
  for name in (
    'smit_captions',
    'msrvtt_1ka_captions_test_1ka',
    'vatex_1.5k_captions_test',
    'activitynet_captions_val_2',
    'vatex_captions_test',
    'kinetics600_labels_val',
    'next_oe_test',
    'oops_qa_val',
    'llava',
    'video_chatgpt',
    'internvid_pseudo_captions',
    'visual_adaptation',
    'language_adaptation',
    'self_training',
  ):
    assert name in paper.NAMES


def test_names_are_listed_without_a_vocabulary(tmp_path) -> None:
  code = (
    'import seqio\nfrom vidlm.data.sets import paper_tasks\n'
    'listed = {*seqio.TaskRegistry.names(), *seqio.MixtureRegistry.names()}\n'
    'assert set(paper_tasks.NAMES) <= listed\n'
    'task = seqio.get_mixture_or_task("smit_captions")\n'
    'task.output_features["targets"].vocabulary.encode("x")\n'
  )
  missing = str(tmp_path / 'no.model')
  done = subprocess.run(
    [sys.executable, '-c', code],
    env={**os.environ, 'VIDLM_VOCABULARY': missing},
    capture_output=True,
    text=True,
    check=False,
  )
  assert f'FileNotFoundError: {missing}: no such SentencePiece' in done.stderr


def test_a_recipe_that_imports_them_needs_no_seqio() -> None:
  code = (
    'import sys\nfrom vidlm.data.sets import paper_tasks\n'
    'from vidlm.data.feed import tasks\n'
    'assert set(paper_tasks.NAMES) <= set(tasks.names())\n'
    'assert not {"seqio", "tensorflow"} & set(sys.modules)\n'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_stage_two_has_the_sizes_behind_its_epochs(paper) -> None:
  mixture = seqio.get_mixture_or_task('language_adaptation')
  rates = {task.name: mixture.get_rate(task) for task in mixture.tasks}
  total = sum(rates.values())
  # 10,000 steps of 256 are 2.6 epochs (paper D.1).
  assert 10_000 * 256 / total == pytest.approx(2.6, abs=1e-3)
  # The recipe's rates are these, rounded.
  assert {name: round(rate / total, 2) for name, rate in rates.items()} == {
    'vidln_reasoning': 0.34,
    'vidln_short_qa': 0.17,
    'smit_captions': 0.49,
  }


@pytest.mark.parametrize(
  ('name', 'target'),
  [
    ('smit_captions', 'a text of smit'),
    ('next_oe', 'a dog'),
    ('kinetics600_labels', 'running'),
  ],
)
def test_a_task_reads_its_set_when_used(paper, name: str, target: str) -> None:
  task = seqio.get_mixture_or_task(name)
  assert task.num_input_examples('train') == 3
  example = next(
    iter(task.get_dataset({'inputs': 32, 'targets': 32}).as_numpy_iterator())
  )
  assert example['frames'].shape == (8, 224, 224, 3)
  text = task.output_features['targets'].vocabulary.decode(
    example['targets'].tolist()
  )
  assert text.startswith(target)


def test_a_recipe_may_name_one(paper) -> None:
  config = batches.DatasetConfig(
    'visual_adaptation',
    {'inputs': 8, 'targets': 16},
    batch_size=2,
    frames=tasks.FrameOptions(2, 16),
  )
  (batch,) = batches.take(batches.make_feed(config, 1), 1)
  # Its own number of frames, not those of the registry.
  assert batch['frames'].shape == (2, 2, 16, 16, 3)
  with pytest.raises(ValueError, match='not_there'):
    tasks.register('not_there', tasks.FrameOptions())


def test_missing_sets_are_said_when_used(paper) -> None:
  with pytest.raises(FileNotFoundError, match='vidlm prepare'):
    len(seqio.get_mixture_or_task('vatex_captions').source.table)
