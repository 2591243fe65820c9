"""Runs saved by commit 49c9bdf, and runs of which only model.gin is left.

What that commit made of them lies in `golden/`; floats may differ by as much as
CPUs and numbers of devices do.
"""

import hashlib
import json
import pathlib
import re
import shutil

import numpy as np
import pytest

from dualenc import eval as dualenc_eval
from vidlm.core import gin_text, launch, runs
from vidlm.data.store import caption_sets, clip_reader, records
from vidlm.interop import weights

OLD = pathlib.Path(__file__).resolve().parents[1] / 'testdata/runs_49c9bdf'
GREEDY = [
  'a green square falls',
  'a blue square goes to the left',
  'a red square goes to the right',
  'a white square rises',
]
# What model.gin may bind: a model's parts, its vocabulary, their macros.
SELECTORS = {
  'vlm': {
    'objective.VLMObjective',
    'video_vlm.VideoVLM',
    't5.T5Config',
    'vocabulary.Vocabulary',
  },
  'dualenc': {
    'objective.DualEncoderObjective',
    'two_towers.TwoTowers',
    'vit_st.ViTST',
    'text.TextTransformer',
    'vocabulary.Vocabulary',
  },
}
MACROS = {
  'FORMAT_VERSION',
  'MODEL',
  'VOCABULARY',
  'VOCABULARY_PATH',
  'NUM_FRAMES',
  'IMAGE_SIZE',
  'TASK_FEATURE_LENGTHS',
  'PROMPTS',
  # Of the model's fields.
  'DTYPE',
  'EMBED_DIM',
  'DROPOUT_RATE',
  'LABEL_SMOOTHING',
  'Z_LOSS',
}


def golden(name):
  return json.loads((OLD / f'golden/{name}.json').read_text())


@pytest.fixture
def old(tmp_path):
  """A copy of the folder, which commands may write into."""
  return pathlib.Path(shutil.copytree(OLD, tmp_path / 'old'))


@pytest.fixture
def done(call):
  """Runs a command that goes well."""

  def run(program, *flags):
    assert call(program, flags) == 0

  return run


def caption(done, checkpoint, output, *flags):
  done(
    'vidlm',
    'caption',
    f'--checkpoint={checkpoint}',
    '--workers=1',
    f'--output={output}',
    *flags,
  )
  table = caption_sets.read_captions(str(output)).sort_by('clip_id')
  return table.to_pylist()


def greedy(done, checkpoint, output):
  rows = caption(
    done, checkpoint, output, '--greedy', f'--videos={OLD}/data/videos'
  )
  return rows


@pytest.mark.parametrize(
  ('name', 'flags'),
  [
    ('greedy', ['--greedy', f'--videos={OLD}/data/videos']),
    (
      'sampled',
      [
        f'--clip_dataset={OLD}/data/clips',
        '--num_samples=4',
        '--top_p=1.0',
        '--temperature=1.5',
        '--seed=3',
        '--max_length=16',
      ],
    ),
  ],
)
def test_an_old_run_captions_as_then(name, flags, done, tmp_path):
  rows = caption(done, OLD / 'vlm', tmp_path / 'set', *flags)
  want = golden('captions')[name]
  for row, then in zip(rows, want['rows'], strict=True):
    logprobs, wanted = row['logprobs'], then.pop('logprobs')
    assert logprobs == pytest.approx(wanted, rel=1e-4, abs=1e-3)
    assert {field: row[field] for field in then} == then
  # A set begun then can be finished today: all of its key is the same, but for
  # the machine.
  manifest = json.loads((tmp_path / 'set/manifest.json').read_text())
  key = {field: manifest['config'][field] for field in want['key']}
  assert key == want['key']


@pytest.mark.parametrize(
  ('name', 'program', 'flags'),
  [
    ('vlm', 'vidlm', ['--batch_size=4', '--max_length=5']),
    ('dualenc', 'dualenc', ['--dual_softmax=10']),
    ('classes', 'dualenc', ['--task=classification', '--templates=plain']),
  ],
)
def test_an_old_run_scores_as_then(name, program, flags, done, tmp_path):
  checkpoint = OLD / ('vlm' if program == 'vidlm' else 'dualenc')
  output = tmp_path / 'scores.json'
  done(
    program,
    'eval',
    f'--checkpoint={checkpoint}',
    f'--output={output}',
    f'--clip_dataset={OLD}/data/clips',
    '--split=train',
    *flags,
  )
  scores, want = json.loads(output.read_text()), golden('scores')[name]
  assert close(scores, want, skip=('protocol',)) == []


def close(found, want, skip=(), where=''):
  """Where two nested results differ; numbers within 1e-6."""
  if isinstance(want, dict):
    inner = [k for k in want if k not in skip]
    return [
      d for k in inner for d in close(found[k], want[k], skip, f'{where}/{k}')
    ]
  if isinstance(want, list | float):
    same = found == pytest.approx(want, rel=1e-6)
  else:
    same = found == want
  return [] if same else [f'{where}: {found} instead of {want}']


def test_an_old_dual_encoder_embeds_as_then():
  want = golden('embeddings')
  towers = dualenc_eval.load_towers(str(OLD / 'dualenc'))
  reader = clip_reader.open_clips(str(OLD / 'data/clips'), 'train')
  assert list(reader.clip_ids()) == want['clip_ids']
  texts = [text for row in reader.texts() for text in row]
  clips = towers.embed_frames(
    records.encoded_frames(x) for x in reader.read(range(len(reader)))
  )
  np.testing.assert_allclose(clips, want['clips'], atol=1e-5)
  np.testing.assert_allclose(towers.embed_text(texts), want['texts'], atol=1e-5)


def digests(path):
  found = {}
  for name, leaf in weights.open_weights(str(path)).leaves.items():
    array = np.ascontiguousarray(np.asarray(leaf))
    digest = hashlib.blake2b(array.reshape(-1).view(np.uint8), digest_size=8)
    found[name] = f'{array.dtype}{list(array.shape)} {digest.hexdigest()}'
  return found


@pytest.mark.parametrize(
  ('name', 'source', 'flags'),
  [
    ('vlm_huggingface', 'vlm', []),
    ('vlm_checkpoint', 'vlm', ['--format=checkpoint']),
    ('vlm_img.npz', 'vlm:img', []),
    ('vlm_llm_t5x', 'vlm:llm', ['--format=t5x']),
    ('dualenc_huggingface', 'dualenc', []),
  ],
)
def test_an_old_run_converts_as_then(name, source, flags, done, tmp_path):
  done('vidlm', 'convert', f'{OLD}/{source}', f'{tmp_path}/{name}', *flags)
  assert digests(tmp_path / name) == golden('converted')[name]
  whole = name in ('vlm_huggingface', 'vlm_checkpoint', 'dualenc_huggingface')
  assert (tmp_path / name / 'model.gin').exists() == whole


@pytest.mark.parametrize('format', ['huggingface', 'checkpoint'])
def test_a_converted_run_is_read_by_its_model_gin(format, done, tmp_path):
  made = tmp_path / 'made'
  done('vidlm', 'convert', f'{OLD}/vlm', str(made), f'--format={format}')
  (made / 'config.gin').unlink()
  rows = greedy(done, made, tmp_path / 'set')
  assert [row['captions'] for row in rows] == [[text] for text in GREEDY]


@pytest.mark.parametrize(
  ('program', 'run', 'recipe', 'steps'),
  [
    ('vidlm', 'vlm', 'recipes/vlm.gin', 68),
    ('vidlm', 'vlm', 'vlm/config.gin', 68),
    ('dualenc', 'dualenc', 'recipes/dualenc.gin', 28),
  ],
)
def test_an_old_run_goes_on_as_then(program, run, recipe, steps, done, old):
  done(
    program,
    'train',
    f'--gin_file={old}/{recipe}',
    f'--gin.MODEL_DIR="{old}/{run}"',
    f'--gin.DATA_DIR="{old}/data"',
    f'--gin.VOCABULARY_PATH="{old}/data/vocabulary.model"',
    f'--gin.TRAIN_STEPS={steps}',
    '--gin.LOG_PERIOD=1',
  )
  rows = map(json.loads, (old / run / 'metrics.jsonl').read_text().splitlines())
  losses = {str(row['step']): row['loss'] for row in rows}
  want = golden('resumed')[run]
  assert {s: losses[s] for s in want} == pytest.approx(want, rel=1e-3)
  assert (old / run / 'model.gin').exists()  # from now on


# Arguments that are gone


def test_reading_a_run_warns_of_arguments_that_are_gone(
  done, old, tmp_path, capsys
):
  shutil.copy(old / 'dropped/config.gin', old / 'vlm/config.gin')
  rows = greedy(done, old / 'vlm', tmp_path / 'set')
  assert [row['captions'] for row in rows] == [[text] for text in GREEDY]
  said = [x for x in capsys.readouterr().err.splitlines() if 'config.gin' in x]
  assert len(said) == 1 and 'train_script.train.summary_period' in said[0]


def test_training_refuses_arguments_that_are_gone(call, old, tmp_path, capsys):
  flags = [
    f'--gin_file={old}/dropped/config.gin',
    f'--gin.MODEL_DIR="{tmp_path}/new"',
  ]
  assert call('vidlm', ['train', *flags]) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line.startswith('error: ') and 'dropped/config.gin' in line
  assert "'summary_period'" in line and 'line 113' in line
  assert line.endswith('take that line out')
  assert not (tmp_path / 'new').exists()


# model.gin


@pytest.fixture(scope='module')
def fresh(call, tmp_path_factory):
  """Runs of today, as long as one step, moved and without their config.gin."""
  folder = tmp_path_factory.mktemp('fresh')
  shutil.copytree(OLD / 'data', folder / 'data')
  for program, name in (('vidlm', 'vlm'), ('dualenc', 'dualenc')):
    flags = [
      'train',
      f'--gin_file={OLD}/recipes/{name}.gin',
      f'--gin.MODEL_DIR="{folder}/made/{name}"',
      f'--gin.DATA_DIR="{folder}/data"',
      f'--gin.VOCABULARY_PATH="{folder}/data/vocabulary.model"',
      '--gin.TRAIN_STEPS=1',
      '--allow=small_set,unfinished_warmup',  # four clips, one step
    ]
    if name == 'vlm':
      # The prompt has 17 tokens, one more than there is room for.
      assert call(program, flags) == 2
      flags.append("--gin.TASK_FEATURE_LENGTHS={'inputs': 17, 'targets': 16}")
    assert call(program, flags) == 0
    (folder / f'made/{name}/config.gin').unlink()
  shutil.rmtree(folder / 'data')
  return (folder / 'made').rename(folder / 'elsewhere')


def test_model_gin_is_enough_for_a_vlm(fresh, done, tmp_path):
  rows = greedy(done, fresh / 'vlm', tmp_path / 'set')
  assert [row['status'] for row in rows] == ['ok'] * 4
  done(
    'vidlm',
    'eval',
    f'--checkpoint={fresh}/vlm',
    '--split=train',
    f'--clip_dataset={OLD}/data/clips',
    '--max_length=5',
  )
  for format in ('huggingface', 'checkpoint'):
    made = tmp_path / format
    done('vidlm', 'convert', f'{fresh}/vlm', str(made), f'--format={format}')
    names = {path.name for path in made.iterdir()}
    assert {'model.gin', 'vocabulary.model'} <= names
    assert 'config.gin' not in names
    again = greedy(done, made, tmp_path / f'{format}_set')
    assert [x['captions'] for x in again] == [x['captions'] for x in rows]


def test_model_gin_is_enough_for_a_dual_encoder(fresh, done, tmp_path):
  scored = []
  made = tmp_path / 'made'
  done('dualenc', 'convert', f'{fresh}/dualenc', str(made))
  for checkpoint in (fresh / 'dualenc', made):
    output = tmp_path / f'{checkpoint.name}.json'
    done(
      'dualenc',
      'eval',
      f'--checkpoint={checkpoint}',
      '--split=train',
      f'--clip_dataset={OLD}/data/clips',
      f'--output={output}',
    )
    scores = json.loads(output.read_text())
    assert scores['protocol'].pop('checkpoint').startswith(str(checkpoint))
    scored.append(scores)
  assert close(*scored) == []


@pytest.mark.parametrize('name', ['vlm', 'dualenc'])
@pytest.mark.parametrize('source', ['fresh', 'old'])
def test_model_gin_holds_nothing_of_training(source, name, fresh):
  folder = fresh if source == 'fresh' else OLD
  text = gin_text.parse(runs.read_model(str(folder / name)))
  bound = {(x.selector, x.argument) for x in text.statements}
  assert {s for s, argument in bound if argument} <= SELECTORS[name]
  macros = {s for s, argument in bound if not argument}
  assert macros <= MACROS
  assert {'MODEL', 'VOCABULARY', 'NUM_FRAMES', 'IMAGE_SIZE'} <= macros
  modules = set(text.imports.values())
  assert not modules & {'vidlm.train', 'vidlm.training.optim'}
  assert str(folder) not in str(text) and 'include' not in str(text)


def test_a_later_format_is_one_line(call, fresh, tmp_path, capsys):
  shutil.copytree(fresh / 'vlm', tmp_path / 'later')
  path = tmp_path / 'later/model.gin'
  text = path.read_text()
  path.write_text(re.sub('FORMAT_VERSION = 1', 'FORMAT_VERSION = 2', text))
  flags = ['caption', f'--checkpoint={tmp_path}/later', '--output=x']
  assert call('vidlm', [*flags, f'--videos={OLD}/data/videos']) == 2
  line = capsys.readouterr().err.splitlines()[-1]
  assert line == (
    f'error: {path}: format version 2, this version of vidlm reads up to 1; '
    'install a newer one'
  )
  with launch.isolated_gin():
    path.write_text(text.replace('FORMAT_VERSION', 'VERSION'))
    with pytest.raises(ValueError, match='no FORMAT_VERSION'):
      runs.parse_run(str(tmp_path / 'later'))
