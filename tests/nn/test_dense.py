"""The dense layers' product: lax's numbers, and what a gradient keeps."""

import functools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vidlm.core import cpu
from vidlm.nn import dense

LAYERS = {
  'dense': lambda **kw: nn.Dense(6, **kw),
  'to heads': lambda **kw: nn.DenseGeneral((2, 3), **kw),
  'from heads': lambda **kw: nn.DenseGeneral(6, axis=(-2, -1), **kw),
  'narrower': lambda **kw: nn.DenseGeneral((2, 2), axis=(-2, -1), **kw),
}


def _loss(layer):
  return lambda params, x: jnp.sum(jnp.sin(layer.apply(params, x)))


_CONTRACTED = (((2,), (0,)), ((), ()))  # of [B, S, in] and [in, out]


@pytest.fixture(autouse=True)
def on(monkeypatch):
  monkeypatch.setenv(cpu.VARIABLE, '1')


def _products(fun, *args, platform='cpu'):
  """Shapes of the operands of each product, in the program's order."""
  lowered = jax.jit(fun).trace(*args).lower(lowering_platforms=(platform,))
  pattern = (
    r'stablehlo\.dot_general .* : \(tensor<(.*?)xf32>, tensor<(.*?)xf32>'
  )
  return re.findall(pattern, lowered.as_text())


@pytest.mark.parametrize('name', LAYERS)
def test_value_and_gradients_are_those_of_lax(name):
  make = LAYERS[name]
  plain, ours = make(), make(dot_general=dense.dot_general)
  x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
  params = plain.init(jax.random.key(1), x)
  want = jax.value_and_grad(_loss(plain), (0, 1))(params, x)
  got = jax.value_and_grad(_loss(ours), (0, 1))(params, x)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
    want,
    got,
  )


def _kernel_gradient(wide, platform='cpu', dot_general=dense.dot_general):
  x, kernel = jnp.ones((2, 5, 4)), jnp.ones((4, wide))
  loss = lambda w: jnp.sum(dot_general(x, w, _CONTRACTED) ** 2)
  return _products(jax.grad(loss), kernel, platform=platform)


def test_the_kernels_gradient_transposes_the_narrower_operand():
  assert _kernel_gradient(6)[-1] == ('2x5x4', '2x5x6')
  assert _kernel_gradient(3)[-1] == ('2x5x3', '2x5x4')
  # What it is for: lax transposes the wide one.
  plain = _kernel_gradient(6, dot_general=jax.lax.dot_general)
  assert plain[-1] == ('2x5x6', '2x5x4')


@pytest.mark.parametrize('platform', ['tpu', 'cuda'])
@pytest.mark.parametrize('wide', [3, 6])
def test_lowered_for_another_platform_it_is_lax(platform, wide):
  """As `vidlm plan --topology` does on a machine that has a CPU only."""
  plain = _kernel_gradient(wide, platform, jax.lax.dot_general)
  assert _kernel_gradient(wide, platform) == plain
  assert len(plain) == 2


def test_the_switch(monkeypatch):
  monkeypatch.setenv(cpu.VARIABLE, '0')
  assert _kernel_gradient(6)[-1] == ('2x5x6', '2x5x4')
  x, kernel = jnp.ones((2, 5, 4)), jnp.ones((4, 6))
  product = lambda dot: str(
    jax.make_jaxpr(lambda *args: dot(*args, _CONTRACTED))(x, kernel)
  )
  off = product(dense.dot_general)
  assert off == product(jax.lax.dot_general)
  monkeypatch.setenv(cpu.VARIABLE, '1')
  assert off != product(dense.dot_general)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  assert off == product(dense.dot_general)


@pytest.mark.parametrize('name', LAYERS)
def test_forward_mode(name):
  make = LAYERS[name]
  plain, ours = make(), make(dot_general=dense.dot_general)
  x = jax.random.normal(jax.random.key(0), (2, 5, 4, 3))
  params = plain.init(jax.random.key(1), x)
  along = jax.tree.map(lambda leaf: jnp.cos(leaf + 0.3), (params, x))
  same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-5)

  want = jax.jvp(_loss(plain), (params, x), along)
  jax.tree.map(same, want, jax.jvp(_loss(ours), (params, x), along))
  value, push = jax.linearize(_loss(ours), params, x)
  jax.tree.map(same, want, (value, push(*along)))
  jax.tree.map(same, want[1], jax.jit(push)(*along))

  def curvature(layer):  # forward over reverse
    gradient = lambda p: jax.grad(_loss(layer))(p, x)
    return jax.jit(lambda p: jax.jvp(gradient, (p,), along[:1]))(params)

  jax.tree.map(same, curvature(plain), curvature(ours))

  def reverse_twice(layer):
    gradient = lambda p: jax.grad(_loss(layer), 1)(p, x)
    return jax.grad(lambda p: jnp.sum(gradient(p) ** 2))(params)

  jax.tree.map(same, reverse_twice(plain), reverse_twice(ours))


def test_under_vmap():
  xs = jax.random.normal(jax.random.key(0), (3, 2, 5, 4))
  kernels = jax.random.normal(jax.random.key(1), (3, 4, 6))

  def gradients(dot_general):
    loss = lambda x, w: jnp.sum(jnp.sin(dot_general(x, w, _CONTRACTED)))
    both = jax.value_and_grad(loss, (0, 1))
    along = lambda x, w: jax.jvp(loss, (x, w), (jnp.cos(x), jnp.cos(w)))
    return [
      jax.vmap(fun, axes)(*args)
      for fun in (both, along)
      for axes, args in (
        ((0, 0), (xs, kernels)),
        ((0, None), (xs, kernels[0])),
        ((None, 0), (xs[0], kernels)),
      )
    ]

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    gradients(jax.lax.dot_general),
    gradients(dense.dot_general),
  )


def test_nothing_is_kept_for_a_frozen_kernel():
  kernel = jnp.ones((4, 6))
  product = lambda x: dense.dot_general(x, kernel, _CONTRACTED)
  _, pull = jax.vjp(product, jnp.ones((2, 5, 4)))
  kept = [x.shape for x in jax.tree.leaves(pull)]
  assert (2, 5, 4) not in kept
  assert (4, 6) in kept


def test_a_remat_policy_sees_the_product():
  x, kernels = jnp.ones((2, 5, 4)), jnp.ones((3, 4, 4))

  def products(policy):
    def layer(x, kernel):
      y = dense.dot_general(x, kernel, _CONTRACTED)
      return jnp.sin(y), None

    layer = jax.checkpoint(
      layer, policy=getattr(jax.checkpoint_policies, policy)
    )
    loss = lambda ws: jnp.sum(jax.lax.scan(layer, x, ws)[0])
    return len(_products(jax.grad(loss), kernels))

  # Forward, and two in the backward pass; recomputed or not.
  assert products('dots_saveable') == 3
  assert products('nothing_saveable') == 4


def test_other_axes_are_refused():
  with pytest.raises(NotImplementedError, match='last axes'):
    dense.dot_general(
      jnp.ones((4, 5)), jnp.ones((4, 6)), (((0,), (0,)), ((), ()))
    )
