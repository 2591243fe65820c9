"""`dualenc eval` by name: what each protocol asks of a clip set, and views."""

import argparse
import dataclasses
import io
import json
import math
import os

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dualenc import data, views
from dualenc import eval as eval_lib
from dualenc.commands import eval as command
from dualenc.evals import clip_sets, protocols
from vidlm.data.store import clip_reader


class _Letters(data.ClipVocabulary):
  """A vocabulary of letters, as small as the tower's."""

  @property
  def eos_id(self):
    return 95

  def encode(self, text):
    return [1 + ord(c) % 90 for c in text]


def jpeg(seed):
  rng = np.random.default_rng(seed)
  image = PIL.Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8))
  buffer = io.BytesIO()
  image.resize((40, 40)).save(buffer, 'JPEG')
  return buffer.getvalue()


@pytest.fixture(scope='module')
def towers(make_towers, random_params, batch):
  model = make_towers()
  params = random_params(model.init, batch.frames, batch.text)['params']
  return eval_lib.Towers(model, params, _Letters(), 12)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """Six clips of two classes with one caption each, one annotated is gone."""
  path = tmp_path_factory.mktemp('clips')
  rows = [
    clip_reader.ClipRow(
      clip_id=f'c{i}',
      video=f'v{i}.mp4',
      start=0.0,
      end=4.0,
      frames=tuple(jpeg(8 * i + j) for j in range(8)),
      times=tuple(j / 2 for j in range(8)),
      texts=(f'text {chr(97 + i)}',),
      label='run' if i % 2 else 'jump',
    )
    for i in range(6)
  ]
  for split in ('test', 'test_1ka', 'val'):
    clip_reader.write_clips(iter(rows), str(path), 'toy', split)
  table = pa.table({'clip_id': [f'c{i}' for i in range(7)]})
  pq.write_table(table, path / 'annotated-test_1ka.parquet')
  return str(path)


def test_help_names_every_task():
  parser = argparse.ArgumentParser()
  command.add_flags(parser)
  text = ' '.join(parser.format_help().split())
  for task in protocols.PROTOCOLS:
    assert task in text
  with pytest.raises(ValueError, match="task 'k600': choose one of retrieval"):
    protocols.get('k600')
  with pytest.raises(ValueError, match="did you mean 'kinetics600'"):
    protocols.get('Kinetics-600')


def test_retrieval_by_name(towers, folder, tmp_path):
  config = eval_lib.EvalConfig(folder, task='msrvtt_1ka', clips_per_device=4)
  with pytest.raises(ValueError, match=r"1 of 7 annotated .* such as 'c6'"):
    eval_lib.evaluate(towers, config)
  output = tmp_path / 'scores.json'
  more = dataclasses.replace(
    config, allow_unavailable=True, dual_softmax_scale=100.0
  )
  scores = eval_lib.evaluate(towers, more, str(output))
  assert json.loads(output.read_text()) == scores
  assert scores['t2v_dual_softmax']['num_queries'] == 6
  protocol = scores['protocol']
  assert protocol['split'] == 'test_1ka'
  assert protocol['published_size'] == 1000
  assert protocol['num_videos_annotated'] == 7
  assert protocol['known_missing'] == ['c6']
  assert protocol['num_frames'] == 4
  # The plain figure is the same without the second one.
  plain = eval_lib.evaluate(towers, dataclasses.replace(config, split='test'))
  assert plain['protocol']['published_size'] is None
  assert plain['t2v'] == scores['t2v']
  assert 't2v_dual_softmax' not in plain
  with pytest.raises(ValueError, match='10 captions a video ask, but 6 of 6'):
    eval_lib.evaluate(towers, dataclasses.replace(config, task='vatex_1.5k'))


def test_a_blank_caption_asks_for_nothing(towers, tmp_path, caplog):
  row = clip_reader.ClipRow(
    'c0', 'v', 0.0, 4.0, (jpeg(0),), (0.0,), ('text a', ' '), label='run '
  )
  rows = [row]
  for i, own in enumerate([('text b',), ('',), (), ('text d', 'text e')], 1):
    more = {'clip_id': f'c{i}', 'texts': own, 'frames': (jpeg(i),)}
    rows.append(dataclasses.replace(row, **more))
  spoken = [
    dataclasses.replace(x, texts=tuple(t for t in x.texts if t.strip()))
    for x in rows
  ]
  whole, kept = str(tmp_path / 'whole'), str(tmp_path / 'kept')
  clip_reader.write_clips(iter(rows), whole, 'toy', 'test')
  kept_rows = [x for x in spoken if x.texts]
  clip_reader.write_clips(iter(kept_rows), kept, 'toy', 'test')
  found = [
    eval_lib.evaluate(towers, eval_lib.EvalConfig(x, clips_per_device=4))
    for x in (whole, kept)
  ]
  assert found[0]['protocol'].pop('without_text') == ['c2', 'c3']
  for scores in found:
    scores['protocol'].pop('clip_dataset')
  assert found[0] == found[1]
  assert found[0]['protocol']['num_texts'] == 4
  assert '3 of 5 clips' in caplog.text and '2 without a caption' in caplog.text
  # Blanks at the ends of a class name are none of it.
  names = tmp_path / 'classes.txt'
  names.write_bytes('\ufeffrun\r\njump\r\n'.encode())
  reader = clip_reader.open_clips(whole, 'test')
  assert clip_sets.class_names(reader, str(names)) == ['run', 'jump']
  silent = [dataclasses.replace(x, texts=()) for x in rows]
  clip_reader.write_clips(iter(silent), str(tmp_path / 'no'), 'toy', 'test')
  with pytest.raises(ValueError, match='no caption asks: 0 of 5 clips'):
    eval_lib.evaluate(towers, eval_lib.EvalConfig(str(tmp_path / 'no')))


def test_texts_that_are_cut_are_counted(towers, folder, caplog):
  config = eval_lib.EvalConfig(folder, 'test', clips_per_device=4)
  protocol = eval_lib.evaluate(towers, config)['protocol']
  assert protocol['num_texts_cut'] == 0 and 'are cut' not in caplog.text
  short = dataclasses.replace(towers, text_length=6)  # 'text a' and its end: 7
  protocol = eval_lib.evaluate(short, config)['protocol']
  assert protocol['num_texts_cut'] == 6
  assert 'WARNING: retrieval: 6 of 6 texts are cut at 6 tokens' in caplog.text


def test_a_score_of_a_few_is_warned_of(towers, folder, tmp_path, caplog):
  rows = {'clip_id': [f'c{i}' for i in range(10)] + [None]}
  path = f'{folder}/annotated-val.parquet'
  pq.write_table(pa.table(rows), path)
  config = eval_lib.EvalConfig(
    folder, 'val', clips_per_device=4, allow_unavailable=True
  )
  assert eval_lib.evaluate(towers, config)['protocol']['num_videos'] == 6
  os.remove(path)
  said = 'retrieval: a score of 6 of 10 that are annotated (60 %)'
  assert said in caplog.text


@pytest.mark.parametrize('task', ['retrieval', 'classification'])
def test_a_protocol_says_what_was_asked(towers, folder, task, caplog):
  config = eval_lib.EvalConfig(
    folder, 'test', task, clips_per_device=4, views=views.Views(num_frames=2)
  )
  protocol = eval_lib.evaluate(towers, config)['protocol']
  wanted = {
    'checkpoint': 'in memory',
    'num_frames': 2,
    'max_length': 12,
    'processes': 1,
    'clips_per_device': 4,
  }
  assert wanted.items() <= protocol.items() and protocol['prompt']
  # Six clips, or two classes: the tenth place isn't there to be missed.
  told = {'retrieval': 't2v/R@10', 'classification': 'top5'}[task]
  assert 'always 1' in protocol['meaningless'][told]
  assert f'WARNING: {task}: {told} is always 1' in caplog.text


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    ({'task': 'kinetics600', 'templates': 'no'}, "templates 'no'"),
    ({'dual_softmax_scale': math.nan}, 'dual_softmax=nan'),
  ],
)
def test_mistakes_are_found_before_a_clip_is_read(options, message):
  with pytest.raises(ValueError, match=message):
    eval_lib.evaluate('none', eval_lib.EvalConfig('none', **options))


@pytest.mark.parametrize(
  'flags',
  [
    ['--task=kinetics600', '--dual_softmax=100'],
    ['--task=msrvtt_1ka', '--templates=plain'],
    ['--task=msrvtt_1ka', '--classes=names.txt'],
  ],
)
def test_flags_of_the_other_kind_of_task_are_refused(flags):
  parser = argparse.ArgumentParser()
  command.add_flags(parser)
  args = parser.parse_args(['--checkpoint=no', '--clip_dataset=no', *flags])
  name = flags[1].split('=')[0]
  with pytest.raises(ValueError, match=f'takes no {name}, it is'):
    command.run(args)


def test_classification_by_name(towers, folder, tmp_path):
  config = eval_lib.EvalConfig(folder, task='kinetics600', clips_per_device=4)
  with pytest.raises(ValueError, match='600 classes compete, but there are 2'):
    eval_lib.evaluate(towers, config)
  names = tmp_path / 'classes.txt'
  names.write_text('jump\nrun\n' + ''.join(f'c{i}\n' for i in range(598)))
  scores = eval_lib.evaluate(
    towers, dataclasses.replace(config, classes=str(names), templates='plain')
  )
  assert scores['protocol']['num_classes'] == 600
  assert scores['protocol']['templates'] == 'plain'
  assert protocols.get('kinetics600').templates == 'kinetics_viclip'
  assert scores['protocol']['split'] == 'val'
  names.write_text('jump\n')
  with pytest.raises(ValueError, match="1 labels are not in it, such as 'run'"):
    clip_sets.class_names(clip_reader.open_clips(folder, 'val'), str(names))


def test_framewise_is_the_mean_of_single_frames(towers):
  clip = [jpeg(i) for i in range(8)]
  how = views.Views(framewise=True, num_frames=8)
  [found] = towers.embed_frames([clip], 2, how)
  single = towers.embed_frames([[f] for f in clip], 8, views.Views(1, True, 1))
  expected = single.mean(axis=0)
  expected /= np.linalg.norm(expected)
  np.testing.assert_allclose(found, expected, atol=1e-6)
  # It is blind to order, the joint tower is not.
  [turned] = towers.embed_frames([clip[::-1]], 2, how)
  np.testing.assert_allclose(turned, found, atol=1e-6)
  joint = towers.embed_frames([clip, clip[::-1]], 2)
  assert abs(joint[0] - joint[1]).max() > 1e-3
  assert how.describe(4) == {
    'num_frames': 8,
    'views': 1,
    'frames_shown': 'one at a time, unit vectors averaged',
  }


def test_views_are_parts_of_the_clip(towers):
  clip = [jpeg(i) for i in range(8)]
  [found] = towers.embed_frames([clip], 2, views.Views(2))
  halves = towers.embed_frames([clip[:4], clip[4:]], 2)
  expected = halves.mean(axis=0)
  expected /= np.linalg.norm(expected)
  np.testing.assert_allclose(found, expected, atol=1e-5)
  # A clip of fewer frames than views still has them all.
  [short] = towers.embed_frames([clip[:2]], 2, views.Views(3))
  assert np.linalg.norm(short) == pytest.approx(1, abs=1e-5)
  with pytest.raises(ValueError, match='num_frames=8, but the tower was made'):
    towers.embed_frames([clip], 2, views.Views(num_frames=8))
  with pytest.raises(ValueError, match='views=0'):
    views.Views(0)
