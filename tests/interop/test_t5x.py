"""t5x's checkpoints: those it wrote, and those written here."""

import json
import pathlib
import shutil

import flax.serialization
import ml_dtypes
import numpy as np
import pytest
from etils import epath

from vidlm.interop import fitting, leaves, t5x, weights, zarr_arrays

SHARED = pathlib.Path(__file__).resolve().parents[3] / 'shared'
REAL = SHARED / 't5x_checkpoints'
real = pytest.mark.skipif(not REAL.exists(), reason='no t5x checkpoints here')


@real
def test_native_checkpoint_of_t5x():
  found = t5x.read_everything(
    epath.Path(REAL / 'tiny_t5/checkpoint_1/checkpoint')
  )
  kernel = np.asarray(found['optimizer/state/param_states/kernel'])
  assert kernel.shape == (10, 5) and kernel.dtype == np.float64
  assert kernel.min() > 0 and kernel.max() < 1  # drawn uniformly
  np.testing.assert_array_equal(
    found['optimizer/state/param_states/bias'], np.ones(5)
  )
  assert np.asarray(found['optimizer/state/param_states/step']) == 1
  with pytest.raises(ValueError, match='holds no parameters'):
    weights.open_weights(str(REAL / 'tiny_t5'))


def with_metadata(tmp_path):
  """The checkpoint with the hidden files its copy lacks."""
  folder = tmp_path / 'orbax'
  shutil.copytree(REAL / 'tiny_orbax/1', folder, copy_function=shutil.copyfile)
  folder.chmod(0o755)
  for name, shape, dtype in (
    ('param_states.kernel', [10, 5], '<f8'),
    ('param_states.bias', [5], '<f4'),
    ('param_states.step', [], '<i4'),
    ('step', [], '<i4'),
  ):
    array = folder / f'_optimizer.state.{name}'
    array.chmod(0o755)
    (array / '.zarray').write_text(
      json.dumps(
        {
          'zarr_format': 2,
          'shape': shape,
          'chunks': shape,
          'dtype': dtype,
          'compressor': {'id': 'zstd', 'level': 1},
          'fill_value': None,
          'filters': None,
          'order': 'C',
        }
      )
    )
  return folder


@real
def test_orbax_checkpoint_of_t5x(tmp_path):
  folder = with_metadata(tmp_path)
  found = t5x.read_everything(epath.Path(folder / 'checkpoint'))
  same = t5x.read_everything(
    epath.Path(REAL / 'tiny_t5/checkpoint_1/checkpoint')
  )
  kernel = np.asarray(found['_optimizer/state/param_states/kernel'])
  assert kernel.shape == (10, 5) and kernel.min() > 0 and kernel.max() < 1
  np.testing.assert_array_equal(
    found['_optimizer/state/param_states/bias'],
    same['optimizer/state/param_states/bias'],
  )
  with pytest.raises(ValueError, match='copied without hidden files'):
    t5x.read_everything(epath.Path(REAL / 'tiny_orbax/1/checkpoint'))


@real
def test_whole_t5_of_t5x_computes():
  """The tiny T5 in Flax msgpack has our names and runs in our model."""
  import jax
  import jax.numpy as jnp

  from vidlm.core import trees
  from vidlm.nn import scan_layout, t5

  opened = weights.open_weights(str(REAL / 'test_t5_tiny.checkpoint_0'))
  assert opened.place == 'llm'
  flat = {n: np.asarray(x) for n, x in opened.leaves.items()}
  rows, width = flat['token_embedder/embedding'].shape
  heads = flat['encoder/relpos_bias/rel_embedding'].shape[0]
  joined = flat['encoder/layers_0/attention/query/kernel'].shape[1]

  def depth(side):
    return sum(n.startswith(side) and 'mlp/wo' in n for n in flat)

  config = t5.T5Config(
    vocab_size=rows,
    emb_dim=width,
    num_heads=heads,
    head_dim=joined // heads,
    num_encoder_layers=sum(
      'encoder/layers_' in n and 'mlp/wo' in n for n in flat
    ),
    num_decoder_layers=sum(
      'decoder/layers_' in n and 'mlp/wo' in n for n in flat
    ),
    mlp_dim=flat['encoder/layers_0/mlp/wo/kernel'].shape[0],
    logits_via_embedding='decoder/logits_dense/kernel' not in flat,
    dtype='float32',
    remat_policy='none',
  )
  shapes = jax.eval_shape(
    t5.T5(config).init,
    jax.random.key(0),
    jnp.ones((1, 4), jnp.int32),
    jnp.ones((1, 4), jnp.int32),
  )
  import flax.linen as nn

  wanted = trees.flatten(nn.unbox(shapes)['params'])
  fitted = fitting.fit(opened, wanted)
  assert (fitted.dropped, fitted.fresh) == ([], [])
  params = trees.unflatten(scan_layout.stack(flat))
  logits = t5.T5(config).apply(
    {'params': params}, jnp.ones((2, 5), jnp.int32), jnp.ones((2, 3), jnp.int32)
  )
  assert logits.shape == (2, 3, rows) and np.isfinite(logits).all()


def arrays():
  rng = np.random.default_rng(0)
  return {
    'token_embedder/embedding': rng.normal(size=(300, 64)).astype(np.float32),
    'encoder/layers_0/mlp/wo/kernel': rng.normal(size=(400, 64)).astype(
      ml_dtypes.bfloat16
    ),
    'encoder/layers_1/mlp/wo/kernel': np.zeros((400, 64), np.float32),
    'encoder/encoder_norm/scale': rng.normal(size=64).astype(np.float32),
    'encoder/relpos_bias/rel_embedding': rng.normal(size=(4, 32)).astype(
      ml_dtypes.bfloat16
    ),
  }


@pytest.fixture
def written(tmp_path):
  folder = tmp_path / 'checkpoint_7'
  flat = {n: leaves.from_array(x) for n, x in arrays().items()}
  t5x.write(folder, flat, 7)
  return folder


def test_read_and_write_are_bit_equal(written):
  layout = sorted(p.name for p in written.iterdir())
  assert layout == [
    'checkpoint',
    'target.encoder.layers_0.mlp.wo.kernel',
    'target.encoder.layers_1.mlp.wo.kernel',
    'target.token_embedder.embedding',
  ]
  for path in (written, written.parent, written / 'checkpoint'):
    found = weights.open_weights(str(path)).leaves
    assert found.keys() == arrays().keys()
    for name, value in arrays().items():
      got = np.asarray(found[name])
      assert got.dtype == value.dtype
      np.testing.assert_array_equal(got.view('u1'), value.view('u1'))


def test_large_arrays_are_cut_in_chunks(tmp_path, monkeypatch):
  monkeypatch.setattr(zarr_arrays, '_MAX_CHUNK_BYTES', 20_000)
  value = arrays()['token_embedder/embedding']
  t5x.write(tmp_path / 'checkpoint_0', {'x': leaves.from_array(value)})
  folder = tmp_path / 'checkpoint_0/target.x'
  chunks = [p for p in folder.iterdir() if p.name != '.zarray']
  assert len(chunks) == 4
  found = weights.open_weights(str(tmp_path))
  np.testing.assert_array_equal(found.leaves['x'], value)
  chunks[1].unlink()
  with pytest.raises(ValueError, match='1 of 4 chunks are missing'):
    weights.open_weights(str(tmp_path))


def test_version_2_kept_bfloat16_as_integers(written):
  path = written / 'checkpoint'
  tree = flax.serialization.msgpack_restore(path.read_bytes())
  name = 'target.encoder.layers_0.mlp.wo.kernel'
  metadata = json.loads((written / name / '.zarray').read_text())
  metadata['dtype'] = '<u2'
  (written / name / '.zarray').write_text(json.dumps(metadata))
  tree['version'] = 2
  path.write_bytes(flax.serialization.msgpack_serialize(tree))
  found = weights.open_weights(str(written)).leaves
  want = arrays()['encoder/layers_0/mlp/wo/kernel']
  np.testing.assert_array_equal(found['encoder/layers_0/mlp/wo/kernel'], want)


def test_zarr_3(written, caplog):
  """What newer writers leave in the place of an array: zarr.json, c/0/0."""
  import tensorstore

  value = arrays()['token_embedder/embedding'].astype(ml_dtypes.bfloat16)
  folder = written / 'target.token_embedder.embedding'
  shutil.rmtree(folder)
  tensorstore.open(
    {
      'driver': 'zarr3',
      'kvstore': {'driver': 'file', 'path': f'{folder}/'},
      'metadata': {
        'shape': list(value.shape),
        'data_type': 'bfloat16',
        'chunk_grid': {
          'name': 'regular',
          'configuration': {'chunk_shape': [150, 64]},
        },
        'codecs': [{'name': 'gzip', 'configuration': {'level': 1}}],
      },
    },
    create=True,
  ).result().write(value).result()
  leaf = weights.open_weights(str(written)).leaves['token_embedder/embedding']
  assert leaf.dtype == ml_dtypes.bfloat16
  np.testing.assert_array_equal(np.asarray(leaf), value)
  # zarr 3 leaves out chunks of zeros: one that is lost can't be told from them.
  assert not caplog.messages
  (folder / 'c/1/0').unlink()
  with caplog.at_level('WARNING'):
    leaf = weights.open_weights(str(written)).leaves['token_embedder/embedding']
  assert '1 of 2 chunks are not there' in caplog.messages[-1]
  assert not np.any(np.asarray(leaf)[150:].astype(np.float32))


def test_hidden_files_may_be_lost(written):
  """The msgpack describes the arrays too; a copy by '*' still reads."""
  for path in written.glob('*/.zarray'):
    path.unlink()
  found = weights.open_weights(str(written)).leaves
  for name, value in arrays().items():
    np.testing.assert_array_equal(found[name], value)


def test_scanned_layers_of_scalable_t5(tmp_path):
  rng = np.random.default_rng(0)
  query = rng.normal(size=(6, 3, 2, 4)).astype(np.float32)
  out = rng.normal(size=(2, 3, 4, 6)).astype(np.float32)
  scale = rng.normal(size=(6, 3)).astype(np.float32)
  # In every layer: of scalable T5s, only umT5's checkpoints are public.
  table = rng.normal(size=(2, 3, 32)).astype(np.float32)
  tree = {
    'target': {
      'encoder': {
        'encoder': {
          'attention': {'query': {'kernel': query}, 'out': {'kernel': out}},
          'pre_mlp_layer_norm': {'scale': scale},
          'relpos_bias': {'rel_embedding': table},
        }
      }
    }
  }
  path = tmp_path / 'checkpoint'
  path.write_bytes(flax.serialization.msgpack_serialize(tree))
  found = weights.open_weights(str(path)).leaves
  layers = 'encoder/layers/attention'
  for i in range(3):
    np.testing.assert_array_equal(
      np.asarray(found[f'{layers}/query/kernel'])[i], query[:, i].reshape(6, 8)
    )
    np.testing.assert_array_equal(
      np.asarray(found[f'{layers}/out/kernel'])[i], out[:, i].reshape(8, 6)
    )
    np.testing.assert_array_equal(
      np.asarray(found['encoder/layers/pre_mlp_layer_norm/scale'])[i],
      scale[:, i],
    )
    np.testing.assert_array_equal(
      np.asarray(found['encoder/layers/relpos_bias/rel_embedding'])[i],
      table[:, i],
    )


def test_damage_is_one_line(written):
  path = written / 'checkpoint'
  whole = path.read_bytes()
  path.write_bytes(whole[:-40])
  with pytest.raises(ValueError, match='no t5x checkpoint, or damaged'):
    weights.open_weights(str(written))
  path.write_bytes(whole)
  array = written / 'target.token_embedder.embedding'
  chunk = array / '0.0'
  content = bytearray(chunk.read_bytes())
  content[200] ^= 1
  chunk.write_bytes(bytes(content))
  leaf = weights.open_weights(str(written)).leaves['token_embedder/embedding']
  with pytest.raises(ValueError, match='is damaged'):
    np.asarray(leaf)
  shutil.rmtree(array)
  with pytest.raises(FileNotFoundError, match='embedding is missing'):
    weights.open_weights(str(written))
