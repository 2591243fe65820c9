"""`vidlm eval` of a model: its texts reach the score under published ids."""

import dataclasses
import functools
import io
import json
import pathlib
import types

import flax.linen as nn
import jax
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlm import eval as eval_lib
from vidlm.captions import vlm as vlm_lib
from vidlm.core import launch
from vidlm.data.feed import pixels, tasks, vocabulary
from vidlm.data.store import clip_reader, records
from vidlm.models import decoding, restored, video_vlm
from vidlm.nn import t5

WORDS = vocabulary.Vocabulary(
  str(pathlib.Path(__file__).parent / 'testdata' / 'feed' / 'words.model')
)
_ANSWERS = {'77': ['dog', 'two'], '78': ['run']}


@pytest.fixture
def folder(tmp_path):
  """Two videos with questions, and a third one that is annotated but gone."""
  rows = [
    clip_reader.ClipRow(
      clip_id=name,
      video=f'{name}.mp4',
      start=0.0,
      end=4.0,
      frames=(b'jpeg',),
      times=(0.0,),
      texts=(f'a {answers[0]}',),
      questions=tuple(f'q{i}' for i in range(len(answers))),
      answers=tuple(answers),
    )
    for name, answers in _ANSWERS.items()
  ]
  clip_reader.write_clips(iter(rows), str(tmp_path), 'toy', 'test')
  return tmp_path


def annotate(folder):
  asked = {**_ANSWERS, '79': ['cat']}
  table = pa.table(
    {
      'clip_id': list(asked),
      'texts': [[f'a {a[0]}'] for a in asked.values()],
      'answers': list(asked.values()),
      'question_ids': [['5', '0'], ['1'], ['3']],
      'kinds': [['color', 'number'], ['motion'], ['color']],
      'more_answers': [[[], []], [[]], [[]]],
    }
  )
  pq.write_table(table, folder / 'annotated-test.parquet')


@pytest.fixture
def model(monkeypatch):
  """A model that says 'dog' to everything, without weights."""

  def predict(vlm, task, **kwargs):
    del vlm, kwargs
    return dict.fromkeys(task.examples().ids, 'dog')

  fake = restored.RestoredVLM(
    None, None, WORDS, 4, 16, {}, 'run', prompts={'caption': ['Describe:']}
  )
  monkeypatch.setattr(restored, 'load_vlm', lambda checkpoint: fake)
  monkeypatch.setattr(eval_lib, 'predict', predict)


def test_own_questions(folder, model, tmp_path):
  output = tmp_path / 'scores.json'
  scores = eval_lib.evaluate(
    'run', eval_lib.EvalConfig(str(folder), kind='question'), str(output)
  )
  assert scores['accuracy'] == pytest.approx(1 / 3)
  assert scores['predictions'] == {'77': 'dog', '77#1': 'dog', '78': 'dog'}
  assert scores['protocol']['task'] == 'answers'
  assert json.loads(output.read_text()) == scores


def test_a_published_set_by_name(folder, model):
  annotate(folder)
  config = eval_lib.EvalConfig(str(folder), task='activitynet_qa')
  with pytest.raises(ValueError, match=r"1 are missing \('3'\)"):
    eval_lib.evaluate('run', config)
  scores = eval_lib.evaluate(
    'run', dataclasses.replace(config, allow=['unavailable'])
  )
  assert scores['by_type'] == {
    'color': {'accuracy': 1, 'n': 1},
    'motion': {'accuracy': 0, 'n': 1},
    'number': {'accuracy': 0, 'n': 1},
  }
  assert scores['protocol']['unavailable_ids'] == ['3']
  assert scores['protocol']['published_size'] == 8000
  assert set(scores['predictions']) == {'5', '0', '1'}


def test_captions_of_a_clip_set(folder, model):
  scores = eval_lib.evaluate('run', eval_lib.EvalConfig(str(folder)))
  assert scores['n'] == 2 and scores['protocol']['task'] == 'captions'
  with pytest.raises(ValueError, match="task 'labels': choose one of"):
    eval_lib.evaluate('run', eval_lib.EvalConfig(str(folder), kind='labels'))


def test_what_is_blank_is_not_asked(model, tmp_path, caplog):
  # A blank question before it changes no other's name.
  questions = ('', 'who', 'what', ' ')
  answers = ('dog', 'dog', ' ', 'cat')
  row = clip_reader.ClipRow(
    'c0', 'v', 0.0, 1.0, (b'jpeg',), (0.0,), ('a dog', ' '), questions, answers
  )
  blank = dataclasses.replace(row, clip_id='c1', texts=('', '\n'))
  rows = [row, blank, dataclasses.replace(row, clip_id='c2')]
  clip_reader.write_clips(iter(rows), str(tmp_path), 'toy', 'test')
  scores = eval_lib.evaluate(
    'run', eval_lib.EvalConfig(str(tmp_path), kind='question')
  )
  asked = {'c0#1': 'dog', 'c1#1': 'dog', 'c2#1': 'dog'}
  assert scores['predictions'] == asked and scores['accuracy'] == 1
  assert len(scores['protocol']['not_asked']) == 9
  scores = eval_lib.evaluate('run', eval_lib.EvalConfig(str(tmp_path)))
  assert set(scores['predictions']) == {'c0', 'c2'}
  assert scores['protocol']['references_per_item']['max'] == 1
  assert 'WARNING: eval_captions: only 67 % was taken' in caplog.text
  # Answers may be elsewhere: a file with those of two questions.
  file = tmp_path / 'answers.json'
  file.write_text(json.dumps({'c0#2': 'dog', 'c1#1': 'cat', 'c2#1': ''}))
  config = eval_lib.EvalConfig(
    str(tmp_path), kind='question', annotations=[str(file)], allow=['extra']
  )
  scores = eval_lib.evaluate('run', config)
  assert scores['accuracy'] == 0.5 and scores['n'] == 2
  assert scores['protocol']['blank_ids'] == ['c2#1']


def test_null_rows_are_no_traceback(folder, model):
  path = folder / 'index-test.parquet'
  index = pq.read_table(path)
  rows = index.to_pylist()
  rows[0] |= {'texts': None, 'answers': ['dog', None]}
  pq.write_table(pa.Table.from_pylist(rows, index.schema), path)
  config = eval_lib.EvalConfig(str(folder))
  assert set(eval_lib.evaluate('run', config)['predictions']) == {'78'}
  scores = eval_lib.evaluate(
    'run', dataclasses.replace(config, kind='question')
  )
  assert set(scores['predictions']) == {'77', '78'}
  assert scores['protocol']['not_asked'] == ['77#1']
  rows[0] |= {'texts': [None, 'a dog'], 'questions': None, 'answers': None}
  pq.write_table(pa.Table.from_pylist(rows, index.schema), path)
  assert eval_lib.evaluate('run', config)['n'] == 2
  scores = eval_lib.evaluate(
    'run', dataclasses.replace(config, kind='question')
  )
  assert set(scores['predictions']) == {'78'}


def test_a_protocol_says_how_the_model_was_asked(folder, model, caplog):
  config = eval_lib.EvalConfig(str(folder), max_length=9)
  protocol = eval_lib.evaluate('run', config)['protocol']
  wanted = {
    'checkpoint': 'run',
    'prompt': 'Describe:',  # of training
    'prompt_from': 'training',
    'num_frames': 4,
    'max_length': 9,
    'processes': 1,
  }
  assert wanted.items() <= protocol.items()
  config = dataclasses.replace(config, kind='question', num_frames=2)
  protocol = eval_lib.evaluate('run', config)['protocol']
  assert protocol['prompt'] == 'Answer in en: {question}'
  assert protocol['prompt_from'] == 'the paper' and protocol['num_frames'] == 2
  config = dataclasses.replace(config, prompt='PXZ: {question}')
  protocol = eval_lib.evaluate('run', config)['protocol']
  assert protocol['prompt'] == 'PXZ: {question}'
  assert protocol['prompt_from'] == 'given'
  assert 'of the pieces of the prompt are not in the vocabulary' in caplog.text


@pytest.mark.parametrize(
  ('taught', 'asked'),
  [
    ({}, 'Generate the alt-text:'),
    ({'question': ['{question}']}, 'Generate the alt-text:'),
    ({'caption': ['Describe:', 'Say:']}, 'Describe:'),
    ({'caption': ['Say:', 'Generate the alt-text:']}, 'Generate the alt-text:'),
  ],
)
def test_a_model_is_asked_what_it_was_taught(tiny, taught, asked):
  vlm = dataclasses.replace(tiny, prompts=taught)
  assert vlm.prompt('caption') == asked
  captioner = vlm_lib.of_restored(vlm, name='x')
  assert captioner.prompt == asked and captioner.identity()['prompt'] == asked
  assert vlm_lib.of_restored(vlm, name='x', prompt='Own:').prompt == 'Own:'
  with launch.isolated_gin():
    launch.parse_text(
      'from __gin__ import dynamic_registration\n'
      'from vidlm.captions import vlm\n'
      "vlm.VLMCaptioner.prompt = 'Bound:'\n",
      'own.gin',
    )
    assert vlm_lib.of_restored(vlm, name='x').prompt == 'Bound:'


def test_no_question_is_cut_whatever_the_model_was_trained_with(folder):
  task = tasks.ClipTask(
    name='long_prompts',
    vocabulary=types.SimpleNamespace(prompt=list),
    clips=str(folder),
    split='test',
    kind='question',
    prompt='Answer in en: {question}',
  )
  # 'Answer in en: q0' has 16 characters.
  assert eval_lib.prompt_length(task) == 16
  longer = dataclasses.replace(task, prompt='Answer in English: {question}')
  assert eval_lib.prompt_length(longer) == 24


# What `vidlm eval` was before it captioned through the captioner: one device,
# batches of one shape, every prompt padded to the longest.
MODEL = video_vlm.VideoVLM(
  t5.T5Config(
    vocab_size=64,
    emb_dim=16,
    num_heads=2,
    head_dim=8,
    num_encoder_layers=1,
    num_decoder_layers=1,
    mlp_dim=24,
    dtype='float32',
    remat_policy='none',
  ),
  '16,1,32,2/8',
  image_size=16,
  dtype='float32',
  remat_policy='none',
)
QUESTIONS = ('what falls', 'how many boxes fall and who runs away')


def jpeg(seed):
  rng = np.random.default_rng(seed)
  image = PIL.Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8))
  buffer = io.BytesIO()
  image.resize((40, 30)).save(buffer, 'JPEG')
  return buffer.getvalue()


@pytest.fixture(scope='module')
def clips(tmp_path_factory):
  """Eleven clips with one question or two; one is an image, one damaged."""
  path = tmp_path_factory.mktemp('clips')
  rows = [
    clip_reader.ClipRow(
      clip_id=f'c{i}',
      video=f'c{i}.mp4',
      start=0.0,
      end=4.0,
      frames=tuple(jpeg(8 * i + j) for j in range(1 if i == 3 else 8)),
      times=tuple(j / 2 for j in range(1 if i == 3 else 8)),
      texts=('a red ball falls',),
      questions=QUESTIONS[: 1 + i % 2],
      answers=('ball', 'two')[: 1 + i % 2],
    )
    for i in range(11)
  ]
  clip_reader.write_clips(iter(rows), str(path), 'toy', 'test')
  broken = dataclasses.replace(rows[4], frames=(b'no image',), times=(0.0,))
  clip_reader.write_clips(iter([rows[0], broken]), str(path), 'toy', 'broken')
  vocabulary.train_sentencepiece(
    [*QUESTIONS, 'a red ball falls'], str(path / 'words.model'), vocab_size=40
  )
  return path


@pytest.fixture(scope='module')
def tiny(clips):
  batch = {
    'frames': np.zeros((1, 3, 16, 16, 3), np.uint8),
    'frame_mask': np.ones((1, 3), bool),
    'encoder_input_tokens': np.ones((1, 4), np.int32),
    'decoder_input_tokens': np.ones((1, 4), np.int32),
  }
  shapes = nn.unbox(jax.eval_shape(MODEL.init, jax.random.key(0), batch))
  rng = np.random.default_rng(4)
  params = jax.tree.map(
    # Large enough for clips to differ in their captions.
    lambda x: rng.normal(0, 0.5, x.shape).astype(x.dtype),
    shapes['params'],
  )
  return restored.RestoredVLM(
    types.SimpleNamespace(model=MODEL),
    params,
    vocabulary.Vocabulary(str(clips / 'words.model')),
    num_frames=3,
    image_size=16,
    lengths={'inputs': 8, 'targets': 8},
    checkpoint='memory',
  )


@functools.partial(jax.jit, static_argnums=2)
def _greedy(params, batch, max_length):
  return decoding.greedy(MODEL, params, batch, max_length=max_length).tokens


def one_device(vlm, table, size, max_length):
  """Texts of all examples by one device, in batches of `size`."""
  ids = [vlm.vocabulary.prompt(prompt) for prompt in table.prompts]
  width = -(-max(map(len, ids)) // 8) * 8
  stored = table.clips.read([int(row) for row in table.rows])
  shown = [
    pixels.eval_frames_from_jpeg(records.encoded_frames(r), 3, 16)
    for r in stored
  ]
  texts = []
  for first in range(0, len(ids), size):
    chosen = [min(i, len(ids) - 1) for i in range(first, first + size)]
    batch = {
      'frames': np.stack([shown[i][0] for i in chosen]),
      'frame_mask': np.stack([shown[i][1] for i in chosen]),
      'encoder_input_tokens': np.stack(
        [np.pad(np.int32(ids[i]), (0, width - len(ids[i]))) for i in chosen]
      ),
    }
    tokens = np.asarray(_greedy(vlm.params, batch, max_length))[:, 0]
    texts += [vlm.vocabulary.decode(row) for row in tokens]
  return dict(zip(table.ids, texts, strict=False))


@pytest.mark.parametrize('kind', ['caption', 'question'])
def test_all_devices_say_what_one_said(clips, tiny, kind):
  task = tasks.ClipTask(
    'said', tiny.vocabulary, clips=str(clips), split='test', kind=kind
  )
  said = eval_lib.predict(
    tiny, task, num_frames=3, clips_per_device=2, max_length=8
  )
  assert said == one_device(tiny, task.examples(), 2, 8)
  assert len(said) == (16 if kind == 'question' else 11)
  assert len(set(said.values())) > 3  # or nothing has been compared


def test_a_damaged_clip_is_named(clips, tiny):
  config = eval_lib.EvalConfig(str(clips), split='broken', clips_per_device=2)
  with pytest.raises(ValueError, match="clip 'c4': a frame is no"):
    eval_lib.evaluate(tiny, config)


@pytest.mark.parametrize(
  ('wrong', 'message'),
  [
    ({'clips_per_device': 0}, 'clips_per_device=0: need at least 1'),
    ({'task': 'msrvtt'}, "task 'msrvtt': "),
    ({'task': 'msrvtt_qa', 'with_meteor': True}, 'no --meteor for it'),
  ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(wrong, message):
  with pytest.raises(ValueError, match=message):
    eval_lib.evaluate('nowhere', eval_lib.EvalConfig('nothing', **wrong))
