"""Space-time tower, text tower, temperature."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dualenc.models import text as text_lib
from dualenc.models import two_towers, vit_st
from vidlm.core import trees
from vidlm.nn import posemb


@pytest.fixture(scope='module')
def arrays(batch):
  return jnp.asarray(batch.frames), jnp.asarray(batch.text)


@pytest.fixture(scope='module')
def params(make_towers, random_params, arrays):
  return trees.flatten(random_params(make_towers().init, *arrays)['params'])


@pytest.mark.parametrize(
  ('variant', 'text', 'total'),
  [
    ('B/16', {'width': 512, 'num_heads': 8}, 149_620_737),
    ('L/14', {'width': 768, 'num_heads': 12}, 427_616_513),
  ],
)
def test_parameter_counts(variant, text, total):
  """CLIP's own, and PE_t on top."""
  dim = text['width']
  model = two_towers.TwoTowers(
    img=vit_st.ViTST(variant, embed_dim=dim),
    txt=text_lib.TextTransformer(embed_dim=dim, **text),
  )
  abstract = jax.eval_shape(
    model.init,
    jax.random.key(0),
    jnp.zeros((1, 4, 224, 224, 3), jnp.uint8),
    jnp.zeros((1, 77), jnp.int32),
  )
  flat = trees.flatten(nn.meta.unbox(abstract)['params'])
  sizes = {name: np.prod(leaf.shape) for name, leaf in flat.items()}
  temporal = sizes.pop('img/temporal_embedding')
  assert sum(sizes.values()) == total
  assert temporal == {'B/16': 3072, 'L/14': 4096}[variant]


def test_scan_equals_loop(run, make_towers, params, arrays):
  looped = {}
  for name, leaf in params.items():
    if '/encoderblock/' in name:
      for i, layer in enumerate(leaf):
        new = name.replace('/encoderblock/', f'/encoderblock_{i}/')
        looped[new] = layer
    else:
      looped[name] = leaf
  stacked = run(make_towers(), params, *arrays)
  unrolled = run(make_towers(scan=False), looped, *arrays)
  for i in range(2):
    np.testing.assert_allclose(stacked[i], unrolled[i], atol=1e-6)


def test_remat_changes_nothing(run, make_towers, params, arrays):
  expected, _, _ = run(make_towers(), params, *arrays)
  actual, _, _ = run(make_towers(remat_policy='none'), params, *arrays)
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_position_embedding_is_a_sum(run, make_towers, params, arrays):
  """Token 1 + t * N + n has PE_t[t] + PE_s[1 + n]; the class token no PE_t."""
  frames, _ = arrays
  blank = jnp.zeros_like(frames)
  kernel = np.zeros_like(params['img/embedding/kernel'])
  flat = {**params, 'img/embedding/kernel': kernel}
  _, _, out = run(make_towers(), flat, blank)
  spatial = np.asarray(params['img/pos_embedding'])[0]
  temporal = np.asarray(params['img/temporal_embedding'])[0]
  stem = np.asarray(out['img/stem'])[0]
  cls = np.asarray(params['img/cls'])[0, 0]
  np.testing.assert_allclose(stem[0], cls + spatial[0], atol=1e-6)
  expected = temporal[:, None] + spatial[None, 1:]
  np.testing.assert_allclose(
    stem[1:], expected.reshape(stem[1:].shape), atol=1e-6
  )


def test_order_of_frames_is_seen_only_through_time(
  run, make_towers, params, arrays
):
  frames, _ = arrays
  model = make_towers()
  temporal = params['img/temporal_embedding']
  blind = {**params, 'img/temporal_embedding': 0 * temporal}
  strong = {**params, 'img/temporal_embedding': 20 * temporal}
  for flat, differs in ((blind, False), (strong, True)):
    forth, _, _ = run(model, flat, frames)
    back, _, _ = run(model, flat, frames[:, ::-1])
    assert (np.abs(forth - back).max() > 1e-4) == differs


@pytest.mark.parametrize('std', [0.0, 0.02, 0.5])
def test_temporal_embedding_starts_random_or_zero(arrays, std):
  model = vit_st.ViTST('mu/16', 64, image_size=32, temporal_std=std)

  @jax.jit  # The rest of the parameters is never computed.
  def init(key):
    return model.init(key, arrays[0])['params']['temporal_embedding']

  embedding = nn.meta.unbox(init(jax.random.key(0)))
  assert embedding.shape == (1, 64, 32)
  assert embedding.std() == pytest.approx(std, rel=0.1)


def test_text_behind_the_end_has_no_influence(run, make_towers, params, batch):
  changed = batch.text.copy()
  changed[0, 3:] = 7
  _, expected, _ = run(make_towers(), params, None, jnp.asarray(batch.text))
  _, actual, _ = run(make_towers(), params, None, jnp.asarray(changed))
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_shorter_rows_embed_alike(run, make_towers, params, batch):
  _, expected, _ = run(make_towers(), params, None, jnp.asarray(batch.text))
  short = jnp.asarray(batch.text[[0, 2, 3, 4], :7])
  _, actual, _ = run(make_towers(), params, None, short)
  np.testing.assert_allclose(
    actual, expected[jnp.array([0, 2, 3, 4])], atol=1e-6
  )


def test_end_of_text():
  ids = jnp.array([[5, 9, 1, 0], [1, 4, 4, 1], [3, 3, 3, 3]])
  assert text_lib.end_of_text(ids, None).tolist() == [1, 1, 0]
  assert text_lib.end_of_text(ids, 1).tolist() == [2, 0, 3]


def test_errors_say_what_to_do(run, make_towers, params, arrays):
  frames, text = arrays
  model = make_towers()
  with pytest.raises(ValueError, match='num_frames'):
    run(model, params, jnp.concatenate([frames, frames], axis=1))
  with pytest.raises(ValueError, match='image_size'):
    run(model, params, frames[:, :, :16])
  with pytest.raises(ValueError, match='context_length'):
    run(model, params, None, jnp.concatenate([text, text], axis=1))
  with pytest.raises(ValueError, match='embed_dim'):
    uneven = two_towers.TwoTowers(img=vit_st.ViTST(embed_dim=4))
    uneven.init(jax.random.key(0), frames, text)


def test_logit_scale_stops_at_its_bounds_and_comes_back():
  """Descent outwards sees no gradient, descent inwards the true one."""

  def clip(x):
    return two_towers.projected_clip(x, 0.0, two_towers.MAX_LOG_SCALE)

  def gradient(x, sign):
    return jax.grad(lambda y: sign * clip(y))(x)

  high = jnp.float32(two_towers.MAX_LOG_SCALE + 0.1)
  low, inside = jnp.float32(-0.1), jnp.float32(2.0)
  assert np.exp(clip(high)) == pytest.approx(100)
  assert np.exp(clip(low)) == pytest.approx(1)
  assert gradient(high, -1.0) == 0 and gradient(high, 1.0) == 1
  assert gradient(low, 1.0) == 0 and gradient(low, -1.0) == -1
  assert gradient(inside, 1.0) == 1 and gradient(inside, -1.0) == -1


def test_resampling():
  temporal = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
  longer = posemb.resample_temporal(temporal, 7)
  np.testing.assert_allclose(longer[0, :, 0], np.arange(7) / 2, atol=1e-6)
  same = posemb.resample_temporal(temporal, 4)
  np.testing.assert_array_equal(same, temporal)
  spatial = np.random.default_rng(0).normal(size=(1, 5, 3)).astype(np.float32)
  larger = posemb.resample_behind_class_token(spatial, (3, 3))
  assert larger.shape == (1, 10, 3)
  np.testing.assert_array_equal(larger[:, 0], spatial[:, 0])
  np.testing.assert_allclose(
    larger[0, 5], spatial[0, 1:].mean(axis=0), atol=1e-6
  )
