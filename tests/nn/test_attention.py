"""The implementations of attention agree, and agree with a plain formula."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from vidlm.nn import attention, flash, prefix_attention

B, LQ, LK, K, D = 2, 24, 40, 4, 8


def inputs(bias_batch=1, mask_kind='key', q_length=LQ):
  rng = np.random.default_rng(0)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  mask = {
    'none': None,
    'key': rng.random((B, 1, 1, LK)) < 0.7,
    'full': rng.random((B, 1, q_length, LK)) < 0.7,
  }[mask_kind]
  return {
    'query': draw(B, q_length, K, D),
    'key': draw(B, LK, K, D),
    'value': draw(B, LK, K, D),
    'bias': draw(bias_batch, K, q_length, LK) if bias_batch else None,
    'mask': None if mask is None else jnp.asarray(mask),
  }


def plain(query, key, value, bias, mask, scale):
  """Softmax attention in float64, one row at a time."""
  out = np.zeros(query.shape)
  for b, i, h in np.ndindex(*query.shape[:3]):
    logits = scale * np.asarray(key, np.float64)[b, :, h] @ query[b, i, h]
    if bias is not None:
      logits = logits + np.broadcast_to(bias, (B, *bias.shape[1:]))[b, h, i]
    if mask is not None:
      seen = np.broadcast_to(mask, (B, 1, query.shape[1], LK))[b, 0, i]
      logits = np.where(seen, logits, -np.inf)
    weights = np.exp(logits - logits.max())
    out[b, i, h] = weights / weights.sum() @ np.asarray(value)[b, :, h]
  return out


@contextlib.contextmanager
def interpreter(implementation):
  if implementation != 'tpu':
    yield
    return
  with pltpu.force_tpu_interpret_mode():
    yield


@pytest.mark.parametrize('implementation', ['xla', 'tpu'])
@pytest.mark.parametrize(
  ('bias_batch', 'mask_kind'), [(0, 'none'), (1, 'key'), (B, 'full')]
)
def test_equals_plain_formula(implementation, bias_batch, mask_kind) -> None:
  x = inputs(bias_batch, mask_kind)
  with interpreter(implementation):
    got = attention.dot_product_attention(
      **x, scale=0.3, implementation=implementation
    )
  np.testing.assert_allclose(got, plain(**x, scale=0.3), atol=2e-5)


def test_gradients_of_kernel_equal_xla() -> None:
  x = inputs(1, 'key')
  mask = x.pop('mask')

  def loss(arrays, implementation):
    out = attention.dot_product_attention(
      **arrays, mask=mask, scale=0.3, implementation=implementation
    )
    return (out**2).sum()

  want = jax.grad(loss)(x, 'xla')
  with interpreter('tpu'):
    got = jax.grad(loss)(x, 'tpu')
  for name, value in want.items():
    np.testing.assert_allclose(got[name], value, atol=1e-4, err_msg=name)


def test_kernel_runs_on_the_shards_of_a_mesh() -> None:
  x = inputs(1, 'key')
  want = attention.dot_product_attention(**x, scale=1.0)
  mesh = jax.make_mesh(
    (2, 2),
    ('data', 'model'),
    axis_types=(jax.sharding.AxisType.Auto,) * 2,
    devices=jax.devices()[:4],
  )
  rules = (('batch', 'data'), ('heads', 'model'))
  run = jax.jit(
    lambda a: attention.dot_product_attention(
      **a, scale=1.0, implementation='tpu'
    )
  )
  with (
    interpreter('tpu'),
    jax.set_mesh(mesh),
    nn.logical_axis_rules(rules),
  ):
    got = run(x)
    assert 'shard_map' in str(run.trace(x).jaxpr)
  np.testing.assert_allclose(got, want, atol=2e-5)


def test_merged_bias_equals_bias_and_mask() -> None:
  """What cuDNN is given in place of a mask."""
  x = inputs(1, 'key')
  want = attention.dot_product_attention(**x, scale=0.3)
  x['bias'] = attention.merge_bias(x['bias'], x['mask'], LQ, jnp.float32)
  x['mask'] = None
  assert x['bias'].shape == (B, K, LQ, LK)
  got = attention.dot_product_attention(**x, scale=0.3)
  np.testing.assert_allclose(got, want, atol=1e-6)


def test_all_masked_row_is_finite() -> None:
  x = inputs(1, 'key')
  x['mask'] = jnp.zeros_like(x['mask'])
  for implementation in ('xla', 'tpu'):
    with interpreter(implementation):
      out = attention.dot_product_attention(
        **x, scale=1.0, implementation=implementation
      )
    assert np.isfinite(out).all()


def test_scale_is_applied_to_the_products_alone() -> None:
  x = inputs(1, 'none')
  doubled = x | {'query': x['query'] * 2}
  np.testing.assert_allclose(
    attention.dot_product_attention(**x, scale=1.0),
    attention.dot_product_attention(**doubled, scale=0.5),
    atol=1e-6,
  )


def test_pad_to_leaves_multiples_alone() -> None:
  x = jnp.ones((2, 4))
  assert flash.pad_to(x, 2, axis=1) is x
  assert flash.pad_to(x, 3, axis=1).shape == (2, 6)


@pytest.mark.parametrize(
  ('length', 'head_dim', 'biased'), [(256, 104, False), (136, 64, True)]
)
def test_kernel_lowers_for_tpu(length, head_dim, biased) -> None:
  """Forward and backward, at the head sizes of ViT-G and T5, in bfloat16."""
  x = jax.ShapeDtypeStruct((2, length, 4, head_dim), jnp.bfloat16)
  bias = jax.ShapeDtypeStruct((1, 4, length, length), jnp.bfloat16)
  mask = jax.ShapeDtypeStruct((2, 1, 1, length), bool)

  def loss(query, bias, mask):
    out = attention.dot_product_attention(
      query,
      query,
      query,
      scale=1.0,
      bias=bias if biased else None,
      mask=mask,
      implementation='tpu',
    )
    return out.astype(jnp.float32).sum()

  traced = jax.jit(jax.grad(loss, argnums=(0, 1))).trace(x, bias, mask)
  text = traced.lower(lowering_platforms=('tpu',)).as_text()
  assert text.count('tpu_custom_call') >= 3  # Forward, dkv, dq.


def test_unknown_implementation_is_an_error() -> None:
  with pytest.raises(ValueError, match='choose one of'):
    attention.dot_product_attention(
      **inputs(), scale=1.0, implementation='triton'
    )


def test_without_sharing_or_cap_nothing_changed() -> None:
  """To the bit: what T5, ViT and CLIP compute is this formula."""
  x = inputs(1, 'full')

  def before(query, key, value, bias, mask):
    logits = jnp.einsum(
      'bqkd,bskd->bkqs', query, key, preferred_element_type=jnp.float32
    )
    logits = logits * 0.3 + bias
    logits = jnp.where(mask, logits, attention.mask_value(jnp.float32))
    weights = jax.nn.softmax(logits, axis=-1)
    return jnp.einsum('bkqs,bskd->bqkd', weights, value)

  now = jax.jit(lambda a: attention.dot_product_attention(**a, scale=0.3))
  then = jax.jit(lambda a: before(**a))
  np.testing.assert_array_equal(now(x), then(x))
  assert now.lower(x).as_text().count('dot_general') == 2


@pytest.mark.parametrize('implementation', ['xla', 'tpu'])
@pytest.mark.parametrize('shared', [1, 2])
def test_heads_that_share_keys(implementation, shared) -> None:
  x = inputs(1, 'key')
  few = {name: x[name][:, :, :shared] for name in ('key', 'value')}
  many = {k: jnp.repeat(v, K // shared, axis=2) for k, v in few.items()}
  want = attention.dot_product_attention(**x | many, scale=0.3)
  with interpreter(implementation):
    got = attention.dot_product_attention(
      **x | few, scale=0.3, implementation=implementation
    )
  np.testing.assert_allclose(got, want, atol=2e-5)


def test_cap_bends_logits_before_the_mask() -> None:
  x = inputs(0, 'key')
  logits = np.einsum('bqkd,bskd->bkqs', x['query'], x['key']) * 0.9
  logits = np.where(x['mask'], 2.0 * np.tanh(logits / 2.0), -np.inf)
  weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  want = np.einsum('bkqs,bskd->bqkd', weights, x['value'])
  got = attention.dot_product_attention(**x, scale=0.9, logit_cap=2.0)
  np.testing.assert_allclose(got, want, atol=1e-5)
  assert not np.allclose(
    attention.dot_product_attention(**x, scale=0.9), want, atol=1e-3
  )


@pytest.mark.parametrize(
  ('kwargs', 'message'),
  [
    ({'implementation': 'tpu', 'logit_cap': 50.0}, 'no logit_cap'),
    ({'implementation': 'cudnn', 'logit_cap': 50.0}, 'no logit_cap'),
    ({'key': jnp.ones((B, LK, 3, D))}, 'no multiple of 3 key heads'),
  ],
)
def test_what_an_implementation_lacks_is_an_error(kwargs, message) -> None:
  x = inputs() | {'value': kwargs.get('key', inputs()['value'])} | kwargs
  with pytest.raises(ValueError, match=message):
    attention.dot_product_attention(**x, scale=1.0)


@pytest.mark.parametrize('cap', [0.0, 2.0])
def test_a_shared_prefix_is_one_softmax_over_joined_keys(cap) -> None:
  rng = np.random.default_rng(3)
  draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
  samples, length, own_length, shared = 3, 5, 7, 2
  query = draw(B, samples, length, K, D)
  prefix = {n: draw(B, LK, shared, D) for n in ('key', 'value')}
  own = {n: draw(B, samples, own_length, shared, D) for n in ('key', 'value')}
  prefix_mask = jnp.asarray(rng.random((B, length, LK)) < 0.7)
  own_mask = jnp.asarray(rng.random((length, own_length)) < 0.7)
  got = prefix_attention.prefix_attention(
    query,
    prefix,
    own,
    scale=0.4,
    prefix_mask=prefix_mask,
    own_mask=own_mask,
    logit_cap=cap,
  )
  whole = jnp.broadcast_to(own_mask, (B, length, own_length))
  mask = jnp.concatenate([prefix_mask, whole], axis=-1)[:, None]
  for sample in range(samples):
    joined = {
      n: jnp.concatenate([prefix[n], own[n][:, sample]], axis=1) for n in own
    }
    want = attention.dot_product_attention(
      query[:, sample], **joined, scale=0.4, mask=mask, logit_cap=cap
    )
    np.testing.assert_allclose(got[:, sample], want, atol=1e-5)
