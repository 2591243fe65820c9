"""The ViT: sizes, names, pooling, scan and remat."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from vidlm.nn import scan_layout, transformer, vit

TINY = '16,2,32,2/8'
IMAGES = jax.random.uniform(jax.random.key(0), (2, 16, 16, 3)) * 2 - 1


def shapes(model: vit.ViT) -> dict[str, tuple[int, ...]]:
  image = jnp.zeros((1, model.image_size, model.image_size, 3))
  tree = jax.eval_shape(model.init, jax.random.key(0), image)['params']
  return {k: v.shape for k, v in flatten_dict(nn.unbox(tree), sep='/').items()}


def count(model: vit.ViT) -> int:
  return sum(int(np.prod(s)) for s in shapes(model).values())


@pytest.mark.parametrize(
  ('variant', 'size', 'parameters'),
  [
    ('G/14', 224, 1_842_772_352),
    ('So400m/14', 224, 412_442_352),
    ('g-opt/16', 256, 1_134_838_272),
    ('B/16', 224, 85_797_120),
    ('g/14', 224, 1_011_199_616),
  ],
)
def test_parameter_counts(variant: str, size: int, parameters: int) -> None:
  assert count(vit.ViT(variant, image_size=size)) == parameters


def test_map_head_of_g() -> None:
  pooled = vit.ViT('G/14', pool_type='map')
  assert count(pooled) - count(vit.ViT('G/14')) == 38_360_064


def test_names_are_big_visions() -> None:
  names = shapes(vit.ViT('mu/16', 32, 'tok', num_classes=5, scan=False))
  block = 'Transformer/encoderblock_0'
  attention = f'{block}/MultiHeadDotProductAttention_0'
  assert names == {
    'cls': (1, 1, 32),
    'embedding/kernel': (16, 16, 3, 32),
    'embedding/bias': (32,),
    'pos_embedding': (1, 4, 32),
    f'{block}/LayerNorm_0/scale': (32,),
    f'{block}/LayerNorm_0/bias': (32,),
    f'{block}/LayerNorm_1/scale': (32,),
    f'{block}/LayerNorm_1/bias': (32,),
    f'{block}/MlpBlock_0/Dense_0/kernel': (32, 128),
    f'{block}/MlpBlock_0/Dense_0/bias': (128,),
    f'{block}/MlpBlock_0/Dense_1/kernel': (128, 32),
    f'{block}/MlpBlock_0/Dense_1/bias': (32,),
    **{f'{attention}/{n}/kernel': (32, 2, 16) for n in ('query', 'key')},
    f'{attention}/value/kernel': (32, 2, 16),
    **{f'{attention}/{n}/bias': (2, 16) for n in ('query', 'key', 'value')},
    f'{attention}/out/kernel': (2, 16, 32),
    f'{attention}/out/bias': (32,),
    'Transformer/encoder_norm/scale': (32,),
    'Transformer/encoder_norm/bias': (32,),
    'head/kernel': (32, 5),
    'head/bias': (5,),
  }


def test_scanned_layers_lead_with_depth() -> None:
  names = shapes(vit.ViT('Ti/16', 32))
  kernel = 'Transformer/encoderblock/MlpBlock_0/Dense_0/kernel'
  assert names[kernel] == (12, 192, 768)


def random_params(model: vit.ViT):
  """Random weights; quicker than compiling an initialisation."""
  rng = np.random.default_rng(0)
  flat = {
    name: jnp.asarray(rng.normal(size=shape) * 0.3, jnp.float32)
    for name, shape in shapes(model).items()
  }
  return unflatten_dict(flat, sep='/')


def test_scan_equals_loop_and_remat_changes_nothing() -> None:
  kwargs = {'image_size': 16, 'dtype': 'float32', 'remat_policy': 'none'}

  def run(model, params):
    def loss(params):
      x, out = model.apply({'params': params}, IMAGES)
      return (x**2).mean(), (x, out)

    (_, aux), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    return *aux, flatten_dict(grads, sep='/')

  loop = vit.ViT(TINY, scan=False, **kwargs)
  params = random_params(loop)
  stacked = unflatten_dict(
    scan_layout.stack(flatten_dict(params, sep='/')), sep='/'
  )
  want, out, want_grads = run(loop, params)
  assert sorted(out['encoder']) == ['block00', 'block01', 'pre_ln']
  want_grads = scan_layout.stack(want_grads)
  for policy in ('none', 'nothing_saveable'):
    scan = vit.ViT(TINY, scan=True, **(kwargs | {'remat_policy': policy}))
    got, out, grads = run(scan, stacked)
    assert list(out['encoder']) == ['pre_ln']
    np.testing.assert_allclose(got, want, atol=1e-5)
    for name, value in grads.items():
      np.testing.assert_allclose(
        value, want_grads[name], atol=1e-5, err_msg=name
      )


@pytest.mark.parametrize(
  ('pool_type', 'shape'),
  [('none', (2, 4, 16)), ('gap', (2, 16)), ('map', (2, 16)), ('tok', (2, 16))],
)
def test_pooling_shapes(pool_type: str, shape: tuple[int, ...]) -> None:
  model = vit.ViT(TINY, 16, pool_type)
  (out, _), _ = jax.eval_shape(
    model.init_with_output, jax.random.key(0), IMAGES
  )
  assert out.shape == shape
  assert out.dtype == jnp.bfloat16


@pytest.mark.parametrize('zero', [True, False])
def test_head_starts_at_zero_unless_told(zero: bool) -> None:
  model = vit.ViT('16,1,16,2/8', 16, num_classes=3, head_zeroinit=zero)
  params = nn.unbox(jax.jit(model.init)(jax.random.key(0), IMAGES))['params']
  kernel = params['head']['kernel']
  assert kernel.dtype == jnp.float32
  assert bool((kernel == 0).all()) == zero


def test_block_takes_clips_epsilon_and_activation() -> None:
  """What `dualenc` reuses: a causal text tower with CLIP's numbers."""
  x = jax.random.normal(jax.random.key(0), (1, 6, 16))
  tower = transformer.Encoder(
    depth=2,
    mlp_dim=32,
    num_heads=2,
    epsilon=1e-5,
    activation='quick_gelu',
    dtype='float32',
  )
  causal = jnp.tril(jnp.ones((1, 1, 6, 6), bool))
  params = jax.jit(tower.init)(jax.random.key(1), x, causal)
  apply = jax.jit(tower.apply)
  before, _ = apply(params, x, causal)
  after, _ = apply(params, x.at[0, 4:].set(0.0), causal)
  np.testing.assert_allclose(before[0, :4], after[0, :4], atol=1e-6)
  assert not np.allclose(before[0, 4:], after[0, 4:])


@pytest.mark.parametrize(
  ('variant', 'message'),
  [('B', 'no patch size'), ('X/16', 'unknown'), ('1,2,3/4', 'unknown')],
)
def test_bad_variants_are_errors(variant: str, message: str) -> None:
  with pytest.raises(ValueError, match=message):
    vit.decode_variant(variant)


def test_wrong_image_size_is_an_error() -> None:
  with pytest.raises(ValueError, match='image_size is 32'):
    jax.eval_shape(vit.ViT('mu/16', 32).init, jax.random.key(0), IMAGES)


def test_unknown_remat_policy_is_an_error() -> None:
  model = vit.ViT('mu/8', 16, remat_policy='some')
  with pytest.raises(ValueError, match='nothing_saveable'):
    jax.eval_shape(model.init, jax.random.key(0), IMAGES)
