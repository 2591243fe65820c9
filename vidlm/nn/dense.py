"""The product of a dense layer, with a weight gradient that suits a CPU."""

import math
from typing import Any

import jax
from jax import lax
from jaxtyping import Array, Float


def dot_general(
  x: Float[Array, '...'],
  kernel: Float[Array, '...'],
  dimension_numbers: Any,
  precision: Any = None,
) -> Float[Array, '...']:
  """`lax.dot_general` for flax's `nn.Dense` and `nn.DenseGeneral`.

  lax takes the gradient of `kernel` as (gradient^T x)^T. XLA's CPU then
  transposes the gradient, which is wide in the first half of an MLP, and
  recomputes the activation's derivative in that strided loop. x^T gradient is
  the same sum; x is narrow there, and transposed once for all its products.
  Here the narrower of the two is transposed. For reverse mode only: JAX has no
  `jvp` of a function with its own `vjp`.

  Args:
    x: [..., *in], contracted over its last axes.
    kernel: [*in, *out], contracted over its first.
    dimension_numbers: As flax gives them: in this order, without batch axes.
    precision: Of `lax.dot_general`.

  Returns:
    [..., *out].

  Raises:
    NotImplementedError: For other axes.
  """
  (x_axes, kernel_axes), batch = dimension_numbers
  count = len(kernel_axes)
  last = tuple(range(x.ndim - count, x.ndim))
  if (
    tuple(x_axes) != last
    or tuple(kernel_axes) != tuple(range(count))
    or any(batch)
  ):
    raise NotImplementedError(
      f'dense.dot_general: {dimension_numbers}; only the last axes of x with '
      'the first of the kernel'
    )
  return _product(x, kernel, count, precision)


def _plain(x: Array, kernel: Array, count: int, precision: Any) -> Array:
  axes = (tuple(range(x.ndim - count, x.ndim)), tuple(range(count)))
  return lax.dot_general(x, kernel, (axes, ((), ())), precision)


_product = jax.custom_vjp(_plain, nondiff_argnums=(2, 3))


def _forward(
  x: Any, kernel: Any, count: int, precision: Any
) -> tuple[Array, tuple[Array | None, Array | None]]:
  # What a frozen kernel's gradient would need is not kept.
  saved = (
    x.value if kernel.perturbed else None,
    kernel.value if x.perturbed else None,
  )
  # `_plain`, so that a remat policy sees a product where one is taken.
  return _plain(x.value, kernel.value, count, precision), saved


def _backward(
  count: int,
  precision: Any,
  saved: tuple[Array | None, Array | None],
  gradient: Any,
) -> tuple[Array | None, Array | None]:
  x, kernel = saved
  of_x = of_kernel = None
  if isinstance(gradient, jax.custom_derivatives.SymbolicZero):
    return of_x, of_kernel
  if kernel is not None:
    width = kernel.ndim - count
    axes = (
      tuple(range(gradient.ndim - width, gradient.ndim)),
      tuple(range(count, kernel.ndim)),
    )
    of_x = lax.dot_general(gradient, kernel, (axes, ((), ())), precision)
  if x is not None:
    of_kernel = _kernel_gradient(x, gradient, count, precision)
  return of_x, of_kernel


def _kernel_gradient(
  x: Array, gradient: Array, count: int, precision: Any
) -> Array:
  """[*in, *out]; the first operand is what XLA's CPU transposes."""
  tokens = tuple(range(x.ndim - count))
  axes = ((tokens, tokens), ((), ()))
  ins, outs = x.shape[len(tokens) :], gradient.shape[len(tokens) :]
  if math.prod(ins) <= math.prod(outs):
    return lax.dot_general(x, gradient, axes, precision)
  order = (*range(len(outs), len(outs) + count), *range(len(outs)))
  return lax.dot_general(gradient, x, axes, precision).transpose(order)


_product.defvjp(_forward, _backward, symbolic_zeros=True)
