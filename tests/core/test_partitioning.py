"""Logical axes on meshes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from vidlm.core import partitioning
from vidlm.training import optim


def boxed(axes, *shape):
  return nn.LogicallyPartitioned(jax.ShapeDtypeStruct(shape, jnp.float32), axes)


def specs(partitioner, **leaves):
  return {n: s.spec for n, s in partitioner.shardings(leaves).items()}


def test_mesh_sizes():
  assert dict(partitioning.make_mesh().shape) == {'data': 8, 'model': 1}
  mesh = partitioning.make_mesh(model=4)
  assert dict(mesh.shape) == {'data': 2, 'model': 4}
  with pytest.raises(ValueError, match=r'3 x 1 .* is not 8 devices'):
    partitioning.make_mesh(3)
  assert partitioning.make_mesh(devices=jax.devices()[:2]).size == 2


def test_rules_place_parameters():
  plain = partitioning.Partitioner(partitioning.make_mesh(4, 2), fsdp=False)
  assert specs(
    plain,
    qkv=boxed(('embed', 'joined_kv'), 64, 32),
    stacked=boxed(('layers', 'mlp', 'embed'), 4, 32, 64),
    odd=boxed(('vocab', 'embed'), 97, 64),
    bare=jax.ShapeDtypeStruct((8,), jnp.float32),
  ) == {
    'qkv': P(None, 'model'),
    'stacked': P(None, 'model', None),
    'odd': P(None, None),
    'bare': P(None),
  }


def test_fsdp_splits_the_largest_free_axis_but_never_layers():
  fsdp = partitioning.Partitioner(
    partitioning.make_mesh(4, 2), fsdp_min_size=64
  )
  assert specs(
    fsdp,
    qkv=boxed(('embed', 'joined_kv'), 64, 32),
    stacked=boxed(('layers', 'embed', 'mlp'), 512, 16, 32),
    odd=boxed(('embed', 'vocab'), 61, 97),
    small=boxed(('embed',), 32),
  ) == {
    'qkv': P('data', 'model'),
    'stacked': P(None, 'data', 'model'),
    'odd': P(None, None),
    'small': P(None),
  }


def test_unknown_axes_are_named():
  partitioner = partitioning.Partitioner(partitioning.make_mesh())
  with pytest.raises(ValueError, match=r'a/b of shape .*embde'):
    partitioner.shardings({'a': {'b': boxed(('embde',), 8)}})


def test_optimizer_state_lies_as_its_parameters():
  partitioner = partitioning.Partitioner(
    partitioning.make_mesh(4, 2), fsdp_min_size=64
  )
  leaves = {
    'x/layers/kernel': boxed(('layers', 'embed', 'mlp'), 3, 256, 128),
    'b/bias': boxed(('embed',), 8),
  }
  shardings = partitioner.shardings(leaves)
  shapes = {n: x.value for n, x in leaves.items()}
  state = partitioning.opt_shardings(
    optim.Adafactor().transform(lambda n: 'layers' in n), shapes, shardings
  )
  factored = state['x/layers/kernel'][0]
  assert factored.v_row.spec == P(None, 'model')  # without embed
  assert factored.v_col.spec == P(None, 'data')  # without mlp
  assert factored.v.spec == factored.count.spec == P()
  adam = partitioning.opt_shardings(
    optim.AdamW().transform(lambda n: False), shapes, shardings
  )
  assert adam.mu['x/layers/kernel'].spec == P(None, 'data', 'model')
  assert adam.count.spec == P()


def test_batches_become_global_arrays():
  partitioner = partitioning.Partitioner(partitioning.make_mesh(4, 2))
  x = np.arange(24).reshape(8, 3)
  batch = partitioner.shard_batch({'x': x})
  assert batch['x'].sharding.spec == P('data')
  assert batch['x'].addressable_shards[0].data.shape == (2, 3)
  np.testing.assert_array_equal(batch['x'], x)
  with pytest.raises(ValueError, match='x has 6 examples over 4 devices'):
    partitioner.shard_batch({'x': x[:6]})


def constraints(fn, *args):
  return jax.jit(fn).lower(*args).as_text().count('sharding_constraint')


def test_constrain_acts_only_where_a_partitioner_is_active():
  x = jnp.ones((8, 6, 4))

  def f(x):
    return partitioning.constrain(x, 'batch', 'length', 'embed') * 2

  assert constraints(f, x) == 0
  partitioner = partitioning.Partitioner(partitioning.make_mesh(4, 2))
  with partitioner.activate():
    text = jax.jit(f).lower(x).as_text()
    assert text.count('sharding_constraint') == 1
    assert '{"data"}' in text
    out = jax.jit(f)(x)
    assert out.addressable_shards[0].data.shape == (2, 6, 4)
    # Six clips over four: the axis stays whole instead of failing.
    assert '{"data"}' not in jax.jit(f).lower(x[:6]).as_text()
    np.testing.assert_array_equal(jax.jit(f)(x[:6]), 2.0)
    with pytest.raises(ValueError, match='axes'):
      partitioning.constrain(x, 'batch')
  assert constraints(f, x) == 0


def test_flax_constraints_act_too():
  def f(x):
    return nn.with_logical_constraint(x, ('batch', 'mlp')) * 2

  with partitioning.Partitioner(partitioning.make_mesh(4, 2)).activate():
    text = jax.jit(f).lower(jnp.ones((8, 4))).as_text()
  assert 'sharding_constraint' in text and '"model"' in text


class Block(nn.Module):
  """A scan body that constrains its carry at entry and exit."""

  @nn.compact
  def __call__(self, x, _):
    x = partitioning.constrain(x, 'batch', 'embed')
    x = nn.Dense(
      x.shape[-1],
      kernel_init=nn.with_logical_partitioning(
        nn.initializers.lecun_normal(), ('embed', 'mlp')
      ),
    )(x)
    return partitioning.constrain(x, 'batch', 'embed'), None


def test_constraints_survive_scan_remat_and_gradients():
  model = nn.scan(
    nn.remat(Block),
    variable_axes={'params': 0},
    split_rngs={'params': True},
    length=3,
    metadata_params={nn.PARTITION_NAME: 'layers'},
  )()
  x = jnp.ones((8, 16))
  partitioner = partitioning.Partitioner(
    partitioning.make_mesh(4, 2), fsdp=False
  )
  params = model.init(jax.random.key(0), x, None)['params']
  assert specs(partitioner, **params) == {
    'Dense_0/kernel': P(None, None, 'model'),
    'Dense_0/bias': P(None, None),
  }

  def loss(params):
    return jnp.sum(model.apply({'params': params}, x, None)[0])

  bare = nn.unbox(params)
  with partitioner.activate():
    assert constraints(jax.grad(loss), bare) >= 4
  assert constraints(jax.grad(loss), bare) == 0
