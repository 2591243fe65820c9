"""The dense layers' product: lax's numbers, and what a gradient keeps."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import dot_general_p

from vidlm.nn import dense

LAYERS = {
  'dense': lambda **kw: nn.Dense(6, **kw),
  'to heads': lambda **kw: nn.DenseGeneral((2, 3), **kw),
  'from heads': lambda **kw: nn.DenseGeneral(6, axis=(-2, -1), **kw),
  'narrower': lambda **kw: nn.DenseGeneral((2, 2), axis=(-2, -1), **kw),
}


def _loss(layer):
  return lambda params, x: jnp.sum(jnp.sin(layer.apply(params, x)))


def _primitives(jaxpr):
  for eqn in jaxpr.eqns:
    yield eqn
    for value in eqn.params.values():
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        yield from _primitives(inner)


def _count(jaxpr, name):
  return sum(e.primitive.name == name for e in _primitives(jaxpr.jaxpr))


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


def test_the_kernels_gradient_transposes_the_narrower_operand():
  def first_operand(dot_general, wide):
    x, kernel = jnp.ones((2, 5, 4)), jnp.ones((4, wide))
    loss = lambda w: jnp.sum(dot_general(x, w, (((2,), (0,)), ((), ()))) ** 2)
    jaxpr = jax.make_jaxpr(jax.grad(loss))(kernel).jaxpr
    products = [e for e in _primitives(jaxpr) if e.primitive is dot_general_p]
    return products[-1].invars[0].aval.shape

  assert first_operand(dense.dot_general, 6) == (2, 5, 4)
  assert first_operand(dense.dot_general, 3) == (2, 5, 3)
  # What it is for: lax transposes the wide one.
  assert first_operand(jax.lax.dot_general, 6) == (2, 5, 6)


def test_nothing_is_kept_for_a_frozen_kernel():
  kernel = jnp.ones((4, 6))
  product = lambda x: dense.dot_general(x, kernel, (((2,), (0,)), ((), ())))
  _, pull = jax.vjp(product, jnp.ones((2, 5, 4)))
  kept = [x.shape for x in jax.tree.leaves(pull)]
  assert (2, 5, 4) not in kept
  assert (4, 6) in kept


def test_a_remat_policy_sees_the_product():
  x, kernels = jnp.ones((2, 5, 4)), jnp.ones((3, 4, 4))

  def products(policy):
    def layer(x, kernel):
      y = dense.dot_general(x, kernel, (((2,), (0,)), ((), ())))
      return jnp.sin(y), None

    layer = jax.checkpoint(
      layer, policy=getattr(jax.checkpoint_policies, policy)
    )
    loss = lambda ws: jnp.sum(jax.lax.scan(layer, x, ws)[0])
    return _count(jax.make_jaxpr(jax.grad(loss))(kernels), 'dot_general')

  # Forward, and two in the backward pass; recomputed or not.
  assert products('dots_saveable') == 3
  assert products('nothing_saveable') == 4


def test_other_axes_are_refused():
  with pytest.raises(NotImplementedError, match='last axes'):
    dense.dot_general(
      jnp.ones((4, 5)), jnp.ones((4, 6)), (((0,), (0,)), ((), ()))
    )
