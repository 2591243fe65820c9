"""`vidlm eval` and `dualenc eval`: the JSON, checked against direct sums."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from dualenc import eval as dualenc_eval
from dualenc import shared
from dualenc.evals import classification, prompts
from vidlm.data.store import clip_reader
from vidlm.evals import captioning, vqa

LINE_OF_NOTHING = 'error: /nowhere: no model.gin or config.gin here or above;'


@pytest.fixture
def printed(call, capsys):
  """Runs an `eval` that goes well; what it printed and what it wrote."""

  def run(program, output, *flags):
    capsys.readouterr()
    assert call(program, ['eval', f'--output={output}', *flags]) == 0
    shown = json.loads(capsys.readouterr().out)
    return shown, json.loads(output.read_text())

  return run


@pytest.fixture
def refused(call, capsys):
  """Runs a command that is refused; its one line."""

  def run(program, *flags):
    capsys.readouterr()
    assert call(program, flags) == 2
    said = capsys.readouterr()
    assert said.out == '' and 'Traceback' not in said.err
    return said.err.splitlines()[-1]

  return run


def test_captions(trained, data, printed, tmp_path):
  folder = data / 'test_captioning'
  shown, written = printed(
    'vidlm',
    tmp_path / 'out' / 'scores.json',
    f'--checkpoint={trained["talker"]}',
    f'--clip_dataset={folder}',
    '--max_length=12',
  )
  predictions = written.pop('predictions')
  per_item = written.pop('cider_per_item')
  assert shown == written
  reader = clip_reader.open_clips(str(folder), 'test')
  references = dict(zip(reader.clip_ids(), reader.texts(), strict=True))
  assert predictions.keys() == references.keys()
  expected = captioning.evaluate_captions(predictions, references, split='test')
  assert expected.pop('cider_per_item') == per_item
  expected.pop('protocol')
  assert expected.items() <= shown.items()
  assert shown['n'] == 6 and shown['protocol']['decoding'] == 'greedy'
  assert shown['cider'] == pytest.approx(np.mean(list(per_item.values())))
  assert shown['cider'] > 0  # or nothing has been compared


def test_answers(trained, data, printed, tmp_path):
  folder = data / 'test_qa'
  shown, written = printed(
    'vidlm',
    tmp_path / 'scores.json',
    f'--checkpoint={trained["talker"]}',
    f'--clip_dataset={folder}',
    '--kind=question',
    '--max_length=6',
  )
  predictions = written.pop('predictions')
  assert shown == written
  reader = clip_reader.open_clips(str(folder), 'test')
  answers = {
    f'{clip_id}#{number}' if number else clip_id: answer
    for clip_id, (_, given) in zip(
      reader.clip_ids(), reader.questions(), strict=True
    )
    for number, answer in enumerate(given)
  }
  assert predictions.keys() == answers.keys()
  hits = [predictions[key] == answer for key, answer in answers.items()]
  assert shown['accuracy'] == sum(hits) / len(hits)
  assert shown['accuracy'] > 0  # or nothing has been compared
  expected = vqa.evaluate_answers(predictions, answers, split='test')
  assert shown['majority'] == expected['majority']
  assert shown['n'] == expected['n'] == len(answers)


def embeddings(folder, data_set, texts):
  towers = dualenc_eval.load_towers(str(folder))
  reader = clip_reader.open_clips(str(data_set), 'test')
  return (
    shared.embed_clips(towers, reader),
    towers.embed_text(texts(reader)),
    reader,
  )


def test_retrieval(trained, data, printed, tmp_path):
  folder = data / 'test_retrieval'
  shown, written = printed(
    'dualenc',
    tmp_path / 'scores.json',
    f'--checkpoint={trained["dualenc"]}',
    f'--clip_dataset={folder}',
  )
  assert shown == written
  zimg, ztxt, reader = embeddings(
    trained['dualenc'], folder, lambda r: [t for (t,) in r.texts()]
  )
  n = len(reader)
  for name, similarity in (('t2v', ztxt @ zimg.T), ('v2t', zimg @ ztxt.T)):
    # No ties among floats: the rank is one more than how many are better.
    ranks = 1 + (similarity > np.diag(similarity)[:, None]).sum(1)
    for k in (1, 5, 10):
      assert shown[name][f'R@{k}'] == pytest.approx(np.mean(ranks <= k))
    assert shown[name]['median_rank'] == np.median(ranks)
    assert shown[name]['mean_rank'] == pytest.approx(ranks.mean())
    assert len(shown[name]['interval_95']['R@1']) == 2
  assert shown['protocol']['num_videos'] == shown['protocol']['num_texts'] == n
  assert shown['protocol']['split'] == 'test'
  assert shown['protocol']['clip_dataset'] == str(folder)
  assert shown['protocol']['num_frames'] == 2


def test_classification(trained, data, printed, tmp_path):
  folder = data / 'test_classification'
  shown, written = printed(
    'dualenc',
    tmp_path / 'scores.json',
    f'--checkpoint={trained["dualenc"]}',
    f'--clip_dataset={folder}',
    '--task=classification',
    '--templates=kinetics_viclip',
  )
  assert shown == written
  templates = prompts.load('kinetics_viclip')
  zimg, ztxt, reader = embeddings(
    trained['dualenc'],
    folder,
    lambda r: [
      template.replace('{}', label)
      for label in sorted(set(r.labels()))
      for template in templates
    ],
  )
  labels = sorted(set(reader.labels()))
  means = ztxt.reshape(len(labels), len(templates), -1).mean(1)
  means /= np.linalg.norm(means, axis=-1, keepdims=True)
  found = np.argsort(-zimg @ means.T, axis=1)
  truth = np.array([labels.index(label) for label in reader.labels()])
  for k in (1, 5):
    hits = (found[:, :k] == truth[:, None]).any(1)
    assert shown[f'top{k}'] == pytest.approx(hits.mean())
  protocol = shown['protocol']
  assert protocol['num_classes'] == len(labels)
  assert protocol['templates'] == 'kinetics_viclip'
  assert protocol['chance_top1'] == 1 / len(labels)
  assert set(shown['interval_95']) == {f'top{k}' for k in classification.TOPS}


@pytest.mark.alone
@pytest.mark.parametrize(
  ('program', 'run', 'clip_set', 'flags'),
  [
    ('vidlm', 'talker', 'test_qa', ('--kind=question', '--max_length=6')),
    ('dualenc', 'dualenc', 'test_retrieval', ('--clips_per_device=2',)),
  ],
)
def test_two_processes_share_the_work(
  commands, trained, data, printed, tools, tmp_path, program, run, clip_set,
  flags,
):  # fmt: skip
  flags = [
    f'--checkpoint={trained[run]}',
    f'--clip_dataset={data / clip_set}',
    *flags,
  ]
  shown, written = printed(program, tmp_path / 'one.json', *flags)
  output = tmp_path / 'two.json'
  two = commands.start_two(program, ['eval', f'--output={output}', *flags])
  with tools.ended(two):
    (code, first), (other_code, other) = [process.finish() for process in two]
  assert (code, other_code) == (0, 0), two[0].errors[-3000:]
  # The first alone prints and writes.
  said, found = json.loads(first), json.loads(output.read_text())
  for one, of_two in ((shown, said), (written, found)):
    assert one['protocol'].pop('processes') == 1
    assert of_two['protocol'].pop('processes') == 2
  assert other == '' and said == shown and found == written


@pytest.mark.parametrize('task', ['retrieval', 'classification'])
def test_towers_that_give_nan_are_refused(
  trained, data, refused, monkeypatch, tmp_path, task
):
  load = dualenc_eval.load_towers

  def broken(checkpoint):
    towers = load(checkpoint)
    params = jax.tree.map(lambda x: x * np.nan, towers.params)
    return dataclasses.replace(towers, params=params)

  monkeypatch.setattr(dualenc_eval, 'load_towers', broken)
  line = refused(
    'dualenc',
    'eval',
    f'--checkpoint={trained["dualenc"]}',
    f'--clip_dataset={data / f"test_{task}"}',
    f'--task={task}',
    f'--output={tmp_path / "scores.json"}',
  )
  assert line.startswith('error: ') and 'NaN or infinite' in line
  assert not (tmp_path / 'scores.json').exists()


@pytest.mark.parametrize(
  ('program', 'run', 'clip_set', 'more', 'message'),
  [
    ('vidlm', 'dualenc', 'test_qa', (), 'no video VLM; give the MODEL_DIR'),
    ('dualenc', 'vidlm', 'test_qa', (), 'no dual encoder; give the MODEL_DIR'),
    ('vidlm', 'vidlm', 'nothing', (), 'no clip set here'),
    ('dualenc', 'dualenc', 'nothing', (), 'no clip set here'),
    ('vidlm', 'vidlm', 'test_qa', ('--split=val',), "no split 'val', only t"),
    ('dualenc', 'dualenc', 'test_qa', ('--split=val',), "no split 'val', only"),
    ('vidlm', 'vidlm', 'test_captioning', ('--kind=question',), 'no question'),
    (
      'vidlm',
      'vidlm',
      'test_qa',
      ('--kind=question', '--prompt=Answer:'),
      'no {question} to fill in',
    ),
    ('vidlm', 'vidlm', 'test_qa', ('--batch_size=0',), 'per_device=0: need'),
    ('dualenc', 'dualenc', 'test_qa', ('--batch_size=0',), 'per_device=0: ne'),
    ('vidlm', 'vidlm', 'test_qa', ('--max_length=0',), 'max_length=0: need'),
    ('vidlm', 'vidlm', 'test_qa', ('--output=/tmp',), '/tmp: is a folder'),
    ('dualenc', 'dualenc', 'test_qa', ('--output=/tmp',), '/tmp: is a folder'),
    (
      'dualenc',
      'dualenc',
      'test_captioning',
      ('--task=classification',),
      'have no label; prepare them with --label_column',
    ),
    (
      'dualenc',
      'dualenc',
      'test_classification',
      ('--task=classification', '--templates=mine'),
      "templates 'mine': no such preset or file",
    ),
  ],
)
def test_a_mistake_is_one_line(
  trained, data, refused, program, run, clip_set, more, message
):
  line = refused(
    program,
    'eval',
    f'--checkpoint={trained[run]}',
    f'--clip_dataset={data / clip_set}',
    *more,
  )
  assert line.startswith('error: ') and message in line


@pytest.mark.parametrize('program', ['vidlm', 'dualenc'])
def test_a_missing_run_is_one_line(commands, data, program):
  clip_set = data / 'test_retrieval'
  process = commands.start(
    program, ['eval', '--checkpoint=/nowhere', f'--clip_dataset={clip_set}']
  )
  code, output = process.finish()
  assert (code, output) == (2, '')
  assert 'Traceback' not in process.errors
  assert process.errors.splitlines()[-1].startswith(LINE_OF_NOTHING)
