"""SCHEDULE, schedules, and optimizers against references."""

import gin
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vidlm.training import optim

NAMES = ['img/Dense_0/kernel', 'img/Dense_0/bias', 'llm/embedding']


def tree(seed, shapes=((256, 160), (160,), (24, 8))):
  rng = np.random.default_rng(seed)
  return {
    n: jnp.asarray(rng.normal(size=s), jnp.float32)
    for n, s in zip(NAMES, shapes, strict=True)
  }


def test_schedules_take_the_published_values():
  rsqrt = optim.warmup_rsqrt()
  assert rsqrt(0) == 0 and rsqrt(500) == pytest.approx(5e-5)
  assert rsqrt(1000) == pytest.approx(1e-4)
  assert rsqrt(40_000) == pytest.approx(1e-4 * (1 / 40) ** 0.5)  # 1.58e-5
  cosine = optim.warmup_cosine(1e-3, 10, 110, end=1e-5, start=1e-6)
  assert cosine(0) == pytest.approx(1e-6)
  assert cosine(10) == pytest.approx(1e-3)
  assert cosine(60) == pytest.approx((1e-3 + 1e-5) / 2)
  assert cosine(110) == cosine(500) == pytest.approx(1e-5)
  linear = optim.warmup_linear(1.0, 2, 12)
  assert [linear(s) for s in (0, 1, 2, 7, 12, 99)] == pytest.approx(
    [0, 0.5, 1, 0.5, 0, 0]
  )
  assert optim.constant(3e-4)(7) == 3e-4
  assert optim.constant(1.0, warmup_steps=4)(1) == 0.25


def test_make_splits_and_groups():
  a, b = optim.constant(0.5), optim.warmup_rsqrt(1.0, 4)
  made = optim.make(
    NAMES, [('img/.*bias', a), ('llm/.*', None), ('img/.*', b)], optim.Sgd()
  )
  assert made.trained == ('img/Dense_0/bias', 'img/Dense_0/kernel')
  assert made.frozen == ('llm/embedding',)
  assert made.labels() == ['img/.*bias', 'img']
  np.testing.assert_allclose(made.learning_rates(2), [0.5, 0.5])
  assert made.is_trained('img/Dense_0/bias')
  assert not made.is_trained('llm/embedding')
  again = optim.make(
    NAMES, [('img/.*bias', b), ('llm/.*', None), ('img/.*', a)], optim.Sgd()
  )
  assert again != made
  assert again.static == made.static
  assert hash(again.static) == hash(made.static)


@pytest.mark.parametrize(
  'schedule,extra,match',
  [
    ([('.*', None)], {}, 'every parameter is frozen'),
    ([('img/.*', optim.constant(1.0))], {}, "covers 'llm/embedding'"),
    ([('.*', optim.warmup_rsqrt)], {}, 'call the schedule'),
    ([('.*', optim.constant(1.0))], {'lr_mults': [('.*', 0.0)]}, 'by None'),
    (
      [('.*', optim.constant(1.0))],
      {'wd_mults': [('img/.*', 1.0)]},
      'wd_mults',
    ),
  ],
)
def test_mistakes_are_named(schedule, extra, match):
  with pytest.raises(ValueError, match=match):
    optim.make(NAMES, schedule, optim.Adafactor(), **extra)


def run(config, params, steps=4, lr=0.1, **extra):
  """Trains on fixed gradients with our optimizer."""
  made = optim.make(
    sorted(params), [('.*', optim.constant(lr))], config, **extra
  )
  state = made.tx.init(params)
  for step in range(steps):
    updates, state, _ = made.update(
      tree_of(params, step), state, params, jnp.asarray(made.learning_rates(0))
    )
    params = optax.apply_updates(params, updates)
  return params


def reference(tx, params, steps=4):
  state = tx.init(params)
  for step in range(steps):
    updates, state = tx.update(tree_of(params, step), state, params)
    params = optax.apply_updates(params, updates)
  return params


def tree_of(params, seed):
  """Gradients that depend on names, not on how layers are stored."""
  return {
    n: jnp.asarray(
      np.random.default_rng((seed, len(n))).normal(size=p.shape), jnp.float32
    )
    * 3.0 ** jnp.arange(p.shape[0]).reshape(-1, *[1] * (p.ndim - 1))
    % 5
    for n, p in params.items()
  }


def assert_close(a, b):
  for name in b:
    np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
  'ours,theirs',
  [
    (
      optim.Adafactor(),
      optax.adafactor(0.1, multiply_by_parameter_scale=False),
    ),
    (optim.Adafactor(multiply_by_parameter_scale=True), optax.adafactor(0.1)),
    (
      optim.Adafactor(clipping_threshold=None, momentum=0.9),
      optax.adafactor(
        0.1,
        multiply_by_parameter_scale=False,
        clipping_threshold=None,
        momentum=0.9,
      ),
    ),
    (optim.Sgd(), optax.sgd(0.1, 0.9)),
    (optim.Sgd(None), optax.sgd(0.1)),
    (
      optim.AdamW(),
      optax.adamw(
        0.1,
        weight_decay=0.01,
        mask=lambda p: {n: n.endswith('kernel') for n in p},
      ),
    ),
  ],
)
def test_optimizers_match_optax(ours, theirs):
  assert_close(run(ours, tree(0)), reference(theirs, tree(0)))


@pytest.mark.parametrize(
  'config',
  [
    optim.Adafactor(min_dim_size_to_factor=4),
    optim.Adafactor(
      min_dim_size_to_factor=4, multiply_by_parameter_scale=True, momentum=0.9
    ),
    optim.Adafactor(),
  ],
)
def test_stacked_layers_train_as_separate_ones(config):
  # 8 layers of 4 x 6: factoring over the two largest axes would take layers.
  rng = np.random.default_rng(0)
  scales = 10.0 ** np.arange(8)[:, None, None]
  grads = [rng.normal(size=(8, 4, 6)) * scales for _ in range(3)]
  start = rng.normal(size=(8, 4, 6)) * scales

  def train(split):
    params = split(start)
    made = optim.make(sorted(params), [('.*', optim.constant(0.1))], config)
    state = made.tx.init(params)
    for g in grads:
      updates, state, _ = made.update(
        split(g), state, params, jnp.asarray([0.1], jnp.float32)
      )
      params = optax.apply_updates(params, updates)
    return params

  def stacked(x):
    return {'img/encoderblock/kernel': jnp.asarray(x, jnp.float32)}

  def separate(x):
    return {
      f'img/encoderblock_{i}/kernel': jnp.asarray(y, jnp.float32)
      for i, y in enumerate(x)
    }

  whole, parts = train(stacked), train(separate)
  for i in range(8):
    np.testing.assert_allclose(
      whole['img/encoderblock/kernel'][i],
      parts[f'img/encoderblock_{i}/kernel'],
      rtol=1e-5,
    )


def test_factored_state_is_small_and_never_over_layers():
  params = {
    'llm/layers/kernel': jax.ShapeDtypeStruct((300, 128, 200), jnp.float32)
  }
  tx = optim.Adafactor().transform(lambda name: True)
  shapes = {x.shape for x in jax.tree.leaves(jax.eval_shape(tx.init, params))}
  assert shapes == {(300,), (300, 128), (300, 200), (300, 1)}


def test_clipping_looks_at_the_trained_part_as_optax_does():
  params = tree(0)
  ours = run(optim.Sgd(None), params, grad_clip_norm=0.5)
  theirs = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.1))
  assert_close(ours, reference(theirs, params))


def test_multipliers_scale_rate_and_decay():
  params = {'a/kernel': jnp.ones((2, 2)), 'b/kernel': jnp.ones((2, 2))}
  made = optim.make(
    sorted(params),
    [('.*', optim.constant(0.1))],
    optim.Sgd(None, weight_decay=0.5),
    lr_mults=[('a/.*', 2.0), ('.*', 1.0)],
    wd_mults=[('a/.*', 0.0), ('.*', 1.0)],
  )
  grads = {n: jnp.ones((2, 2)) for n in params}
  updates, _, norms = made.update(
    grads, made.tx.init(params), params, jnp.asarray([0.1], jnp.float32)
  )
  np.testing.assert_allclose(updates['a/kernel'], -0.2, rtol=1e-6)
  np.testing.assert_allclose(updates['b/kernel'], -0.15, rtol=1e-6)
  assert float(norms['grad_norm']) == pytest.approx(8**0.5)
  assert float(norms['update_norm']) == pytest.approx(0.5)


def test_gin_reads_a_schedule():
  gin.clear_config()
  gin.parse_config("""
    from __gin__ import dynamic_registration
    from vidlm.training import optim
    SCHEDULE = [('img/.*', @optim.warmup_rsqrt()), ('llm/.*', None)]
    optim.warmup_rsqrt.peak = 3e-4
    optim.Adafactor.min_dim_size_to_factor = 32
    optim.make.names = ['img/a', 'llm/b']
    optim.make.schedule = %SCHEDULE
    optim.make.optimizer = @optim.Adafactor()
  """)
  made = gin.get_configurable('optim.make')()
  gin.clear_config()
  assert made.trained == ('img/a',)
  assert made.learning_rates(1000)[0] == pytest.approx(3e-4)
  assert made.config.min_dim_size_to_factor == 32
