"""big_vision's .npz, of today and of older code."""

import tracemalloc

import ml_dtypes
import numpy as np
import pytest

from vidlm.interop import big_vision, convert, leaves, weights


def test_read_and_write_are_bit_equal(siglip_folder, tmp_path):
  first = weights.open_weights(str(siglip_folder)).leaves
  path = tmp_path / 'tower.npz'
  big_vision.write(path, first)
  opened = weights.open_weights(str(path))
  assert opened.place == 'img'
  assert opened.leaves.keys() == first.keys()
  for name, leaf in first.items():
    np.testing.assert_array_equal(opened.leaves[name], leaf)
  again = tmp_path / 'again.npz'
  big_vision.write(again, opened.leaves)
  assert again.read_bytes() == path.read_bytes()


def test_numpy_reads_what_is_written(tmp_path):
  """As big_vision does: plain np.load, names under params/."""
  array = np.arange(6, dtype=np.float32).reshape(2, 3)
  half = array.astype(ml_dtypes.bfloat16)
  big_vision.write(
    tmp_path / 'a.npz',
    {'img/x': leaves.from_array(array), 'img/y': leaves.from_array(half)},
  )
  with np.load(tmp_path / 'a.npz') as loaded:
    assert set(loaded) == {'params/img/x', 'params/img/y'}
    np.testing.assert_array_equal(loaded['params/img/x'], array)
    stored = loaded['params/img/y']
  assert stored.dtype == 'V2'
  np.testing.assert_array_equal(stored.view(ml_dtypes.bfloat16), half)
  back = big_vision.read(tmp_path / 'a.npz')
  assert back['img/y'].dtype == ml_dtypes.bfloat16
  np.testing.assert_array_equal(back['img/y'], half)


@pytest.mark.parametrize('root', ['params/', 'opt/target/', ''])
def test_roots_and_subtrees(root, tmp_path):
  path = tmp_path / 'a.npz'
  np.savez(
    path,
    **{
      f'{root}img/head/kernel': np.ones((2, 3)),
      f'{root}img/embedding/kernel': np.ones((4, 4, 3, 2)),
      f'{root}t': np.zeros(1),
    },
  )
  assert set(weights.open_weights(str(path)).leaves) == {
    'img/head/kernel',
    'img/embedding/kernel',
    't',
  }
  part = weights.open_weights(f'{path}:img')
  assert set(part.leaves) == {'head/kernel', 'embedding/kernel'}
  assert part.place == 'img'
  assert set(weights.open_weights(f'{path}:img/head').leaves) == {'kernel'}
  with pytest.raises(ValueError, match="no 'llm' there, only img, t"):
    weights.open_weights(f'{path}:llm')


def test_scanned_and_numbered_layers_are_one(tmp_path):
  stacked = np.arange(12, dtype=np.float32).reshape(3, 4)
  name = 'Transformer/encoderblock{}/LayerNorm_0/scale'
  np.savez(tmp_path / 'scanned.npz', **{name.format(''): stacked})
  found = weights.open_weights(str(tmp_path / 'scanned.npz')).leaves
  wanted = [name.format(f'_{i}') for i in range(3)]
  split = leaves.like_layers(found, wanted)
  assert sorted(split) == wanted
  np.testing.assert_array_equal(split[wanted[2]], stacked[2])
  joined = leaves.like_layers(split, [name.format('')])
  np.testing.assert_array_equal(joined[name.format('')], stacked)


def test_old_towers(tmp_path):
  """Positions in a module, class token merged, inlined head, old blocks."""
  rng = np.random.default_rng(0)
  old = {
    'Transformer/posembed_input/pos_embedding': rng.normal(size=(1, 5, 2)),
    'cls': rng.normal(size=(1, 1, 2)),
    'probe': rng.normal(size=(1, 1, 2)),
    'LayerNorm_0/scale': np.ones(2),
    'MlpBlock_0/Dense_0/bias': np.ones(3),
    'Transformer/encoderblock_0/LayerNorm_2/scale': np.ones(2),
    'Transformer/encoderblock_0/MlpBlock_3/Dense_0/bias': np.ones(3),
  }
  np.savez(
    tmp_path / 'old.npz', **{f'opt/target/{k}': v for k, v in old.items()}
  )
  found = big_vision.read(tmp_path / 'old.npz')
  assert set(found) == {
    'pos_embedding',
    'cls',
    'MAPHead_0/probe',
    'MAPHead_0/LayerNorm_0/scale',
    'MAPHead_0/MlpBlock_0/Dense_0/bias',
    'Transformer/encoderblock_0/LayerNorm_1/scale',
    'Transformer/encoderblock_0/MlpBlock_0/Dense_0/bias',
  }
  table = old['Transformer/posembed_input/pos_embedding']
  np.testing.assert_array_equal(found['pos_embedding'], table[:, 1:])
  np.testing.assert_array_equal(found['cls'], old['cls'] + table[:, :1])


def test_damage_is_one_line(tmp_path):
  path = tmp_path / 'a.npz'
  np.savez(path, **{'params/x': np.ones(1000, np.float32)})
  whole = path.read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(ValueError, match=r'a\.npz: cut off or damaged'):
    weights.open_weights(str(path))
  flipped = bytearray(whole)
  flipped[1500] ^= 4
  path.write_bytes(bytes(flipped))
  leaf = weights.open_weights(str(path)).leaves['x']
  with pytest.raises(ValueError, match=r'x\.npy is damaged'):
    np.asarray(leaf)
  np.savez(path, x=np.array([{}], dtype=object), allow_pickle=True)
  with pytest.raises(ValueError, match='is a pickle'):
    weights.open_weights(str(path))


def test_nothing_half_written_is_left(tmp_path):
  def damaged():
    raise ValueError('a.npz: damaged')

  good = leaves.from_array(np.ones(3, np.float32))
  bad = leaves.Leaf((3,), np.dtype(np.float32), damaged)
  # What a killed run of before left is nobody's.
  (tmp_path / '.b.npz.partial').write_bytes(b'half')
  with pytest.raises(ValueError, match='damaged'):
    big_vision.write(tmp_path / 'b.npz', {'img/x': good, 'img/y': bad})
  assert not list(tmp_path.iterdir())


def test_a_layer_of_a_stack_does_not_hold_the_stack(tmp_path):
  """Nor do sixteen layers make sixteen stacks when they are written."""
  stack = np.ones((16, 1 << 15), np.float32)
  np.savez(
    tmp_path / 'a.npz',
    **{
      'params/llm/layers/mlp/linear': stack,
      'params/llm/embedder/input_embedding': np.ones((8, 4), np.float32),
    },
  )
  numbered = weights.numbered(weights.open_weights(f'{tmp_path}/a.npz').leaves)
  tracemalloc.start()
  big_vision.write(tmp_path / 'b.npz', numbered)
  _, peak = tracemalloc.get_traced_memory()
  tracemalloc.stop()
  assert peak < 4 * stack.nbytes
  assert np.asarray(numbered['llm/layers_3/mlp/linear']).base is None


def test_half_a_model_is_one_line(tmp_path):
  for name in ('embedder/input_embedding', 'token_embedder/embedding'):
    big_vision.write(
      tmp_path / 'a.npz', {name: leaves.from_array(np.ones((8, 4)))}
    )
    with pytest.raises(ValueError, match="not a whole model: no '"):
      convert.convert(str(tmp_path / 'a.npz'), str(tmp_path / 'out'))
  assert [path.name for path in tmp_path.iterdir()] == ['a.npz']


def test_layers_of_different_shapes_are_one_line(tmp_path):
  np.savez(
    tmp_path / 'a.npz',
    **{f'encoderblock_{i}/x': np.ones(i + 1, np.float32) for i in (0, 1)},
  )
  opened = weights.open_weights(str(tmp_path / 'a.npz'))
  with pytest.raises(ValueError, match='layers differ in shape'):
    leaves.like_layers(opened.leaves, ['encoderblock/x'])
