"""INITIAL_CHECKPOINT_PATH: a VLM from a vision tower and a language model."""

import jax
import numpy as np
import pytest

from vidlm import train
from vidlm.core import launch, partitioning, runs, trees
from vidlm.interop import fitting, weights
from vidlm.models import objective, restored
from vidlm.models.video_vlm import VideoVLM
from vidlm.nn import posemb, t5
from vidlm.training import checkpoints, optim, step
from vidlm.training import train_state as train_state_lib


def make_task(**options):
  llm = t5.T5Config(
    vocab_size=64,
    emb_dim=32,
    num_heads=4,
    head_dim=8,
    num_encoder_layers=2,
    num_decoder_layers=2,
    mlp_dim=48,
    dtype='float32',
    remat_policy='none',
    **options,
  )
  model = VideoVLM(
    llm, '32,2,48,4/8', image_size=24, dtype='float32', remat_policy='none'
  )
  return objective.VLMObjective(model, 2, {'inputs': 5, 'targets': 6})


@pytest.mark.parametrize('scan', [True, False])
def test_vision_tower_and_language_model(scan, siglip_folder, t5_folder):
  """The projection stays fresh; what differs is listed, what fits is placed."""
  spec = {'img': str(siglip_folder), 'llm': str(t5_folder)}
  task = make_task(scan_layers=scan)
  fitted = fitting.fit(weights.assemble(spec), step.parameter_shapes(task), 64)
  assert fitted.fresh == ['img/head/bias', 'img/head/kernel']
  assert fitted.resampled == ['img/pos_embedding [1, 16, 32] -> [1, 9, 32]']
  assert len(fitted.dropped) == 15
  assert all(n.startswith('img/MAPHead_0/') for n in fitted.dropped)
  shown = str(fitted)
  assert 'fresh (2): img/head/bias, img/head/kernel' in shown
  assert 'dropped (15): img/MAPHead_0/' in shown

  schedule = [('img/.*', optim.warmup_rsqrt()), ('llm/.*', None)]
  names = list(step.parameter_shapes(task))
  tx = optim.make(names, schedule, optim.AdamW(), None, None, None)
  state = step.initial_state(
    task,
    tx,
    partitioning.Partitioner(partitioning.make_mesh(1, 1, jax.devices()[:1])),
    'bfloat16',
    0,
    trees.flatten(train.initial_params(task, spec)),
  )
  found = weights.assemble(spec).leaves
  table = np.asarray(found['img/pos_embedding'])
  np.testing.assert_array_equal(
    state.trained['img/pos_embedding'], posemb.resample(table, (3, 3))
  )
  layer = 'llm/encoder/layers' + ('/' if scan else '_1/') + 'mlp/wo/kernel'
  got = state.frozen[layer][1] if scan else state.frozen[layer]
  want = np.asarray(found['llm/encoder/layers_1/mlp/wo/kernel'])
  np.testing.assert_array_equal(got, want.astype(got.dtype))
  assert np.any(np.asarray(state.trained['img/head/kernel']))


def test_gin_takes_the_parts(siglip_folder, t5_folder):
  """As typed: --gin.INITIAL_CHECKPOINT_PATH="{'img': ..., 'llm': ...}"."""
  with launch.isolated_gin():
    launch.parse_gin(
      ['configs/miniature/image_vlm.gin'],
      [
        "MODEL_DIR='x'",
        f"INITIAL_CHECKPOINT_PATH={{'img': '{siglip_folder}',"
        f" 'llm': '{t5_folder}'}}",
      ],
    )
    spec = launch.macro('INITIAL_CHECKPOINT_PATH')
  assert set(weights.parts(spec)) == {'img', 'llm'}


def test_parts_as_text():
  assert weights.parts('img=hf://a/b,llm=c:llm') == {
    'img': 'hf://a/b',
    'llm': 'c:llm',
  }
  assert weights.parts('runs/lr=3/x') == {'': 'runs/lr=3/x'}
  with pytest.raises(ValueError, match='PART=PATH'):
    weights.parts('img=a,llm')


def test_misplaced_parts_are_one_line(siglip_folder, t5_folder):
  wanted = step.parameter_shapes(make_task())
  with pytest.raises(ValueError, match=r"write \{'llm': '"):
    fitting.fit(weights.assemble(str(t5_folder)), wanted)
  with pytest.raises(ValueError, match="belongs under 'llm'"):
    weights.assemble({'img': str(t5_folder)})


def test_big_visions_naflex_is_refused(tmp_path):
  np.savez(
    tmp_path / 'naflex.npz',
    **{'params/img/embedding/kernel': np.ones((192, 32))},
  )
  found = weights.assemble(str(tmp_path / 'naflex.npz'))
  with pytest.raises(ValueError, match=r'wants \[8, 8, 3, 32\]; a NaFlex'):
    fitting.fit(found, step.parameter_shapes(make_task()))


def test_vocabulary_is_checked(t5_folder):
  wanted = step.parameter_shapes(make_task())
  opened = weights.assemble({'llm': str(t5_folder)})
  fitting.fit(opened, wanted, 64)
  with pytest.raises(ValueError, match='has 64 rows, the tokenizer 65 ids'):
    fitting.fit(opened, wanted, 65)
  other = dict(wanted)
  name = 'llm/token_embedder/embedding'
  other[name] = jax.ShapeDtypeStruct((128, 32), 'float32')
  with pytest.raises(ValueError, match=r'\[64, 32\].*set its vocab_size to 64'):
    fitting.fit(opened, other)


def test_a_table_far_larger_than_the_tokenizer_is_told(
  siglip_folder, t5_folder, caplog, monkeypatch
):
  opened = weights.assemble({'img': str(siglip_folder), 'llm': str(t5_folder)})
  shapes = step.parameter_shapes(make_task())
  fitting.fit(opened, shapes, 60)
  assert 'the tokenizer only' not in caplog.text
  monkeypatch.setattr(fitting, '_USELESS_ROWS', 3)
  fitting.fit(opened, shapes, 60)
  assert 'has 64 rows, the tokenizer only 60 ids' in caplog.text


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run of the miniature's VLM, its weights drawn at random."""
  from vidlm.data.feed import vocabulary

  folder = tmp_path_factory.mktemp('runs')
  model_dir = str(folder / 'visual')
  sentences = ['a red ball falls', 'a blue box turns', 'the ball hits the box']
  text = vocabulary.train_sentencepiece(sentences, str(folder / 'v.model'), 40)
  with launch.isolated_gin():
    launch.parse_gin(
      ['configs/miniature/visual.gin'],
      [
        f"MODEL_DIR='{model_dir}'",
        f"VOCABULARY_PATH='{text.path}'",
        'video_vlm.VideoVLM.variant="32,2,48,2/16"',
        't5.T5Config.emb_dim=32',
        't5.T5Config.num_heads=2',
        't5.T5Config.head_dim=16',
        't5.T5Config.mlp_dim=48',
      ],
    )
    runs.write_run(model_dir)
    shapes = step.parameter_shapes(launch.macro('MODEL'))
  rng = np.random.default_rng(0)
  flat = {
    name: rng.normal(size=x.shape).astype(np.float32)
    for name, x in shapes.items()
  }
  saver = checkpoints.Checkpoints(model_dir)
  state = train_state_lib.TrainState(np.asarray(3, np.int32), flat, {}, ())
  saver.save(3, state)
  saver.close()
  (folder / 'visual/scores.json').write_text(
    '{"CIDEr": 1.25, "protocol": {"split": "test", "n": 7}}'
  )
  return model_dir, flat


@pytest.mark.parametrize('format', ['huggingface', 'checkpoint'])
def test_a_converted_run_is_a_checkpoint(run, format, tmp_path):
  from vidlm.interop import convert

  model_dir, flat = run
  target = str(tmp_path / 'out')
  convert.convert(model_dir, target, format=format)
  vlm, own = restored.load_vlm(target), restored.load_vlm(model_dir)
  assert vlm.objective.model == own.objective.model
  assert vlm.vocabulary.path.startswith(target)
  got = trees.flatten(vlm.params)
  assert got.keys() == flat.keys()
  for name, value in flat.items():
    np.testing.assert_array_equal(got[name], value)
  card = (tmp_path / 'out/README.md').read_text()
  for line in ('at step 3', '| BATCH_SIZE |', '| CIDEr | 1.2500 |', 'test'):
    assert line in card, line
  assert '## Data\n\n- ' in card


def test_parts_of_runs(run, tmp_path):
  """`run:llm` is one part, {'img': run} takes the same-named part of a run."""
  from vidlm.interop import convert

  model_dir, flat = run
  convert.convert(f'{model_dir}:llm', str(tmp_path / 'llm'))
  merged = weights.assemble({'img': model_dir, 'llm': str(tmp_path / 'llm')})
  fitted = fitting.fit(merged, flat)
  assert (fitted.dropped, fitted.fresh) == (
    [f'{model_dir}: {n}' for n in sorted(flat) if n.startswith('llm/')],
    [],
  )
  name = 'llm/decoder/layers_1/mlp/wo/kernel'
  np.testing.assert_array_equal(fitted.leaves[name], flat[name])
