"""The product of a dense layer, with a weight gradient that suits a CPU."""

import functools
import math
from typing import Any

import jax
from jax import lax
from jax.extend import core as jax_core
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array, Float

from vidlm.core import cpu


def dot_general(
  x: Float[Array, '...'],
  kernel: Float[Array, '...'],
  dimension_numbers: Any,
  precision: Any = None,
) -> Float[Array, '...']:
  """Multiplies as `lax.dot_general`, for flax's `nn.Dense` and `DenseGeneral`.

  lax takes the gradient of `kernel` as (gradient^T x)^T. XLA's CPU then
  transposes the gradient, which is wide in the first half of an MLP, and
  recomputes the activation's derivative in that strided loop. x^T gradient is
  the same sum; x is narrow there, and transposed once for all its products.
  Here the narrower of the two is transposed, where the program is lowered for
  a CPU and `cpu.tricks` says so; elsewhere this is lax's product.

  Args:
    x: [..., *in], contracted over its last axes.
    kernel: [*in, *out], contracted over its first.
    dimension_numbers: As flax gives them: in this order, without batch axes.
    precision: Passed on to `lax.dot_general`.

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
  product = _product if cpu.tricks() else _plain
  return product(x, kernel, count, precision)


def _plain(x: Array, kernel: Array, count: int, precision: Any) -> Array:
  axes = (tuple(range(x.ndim - count, x.ndim)), tuple(range(count)))
  return lax.dot_general(x, kernel, (axes, ((), ())), precision)


# Of the two ways to give a function a gradient of its own, `custom_vjp` has no
# forward mode. So the derivative is told forwards, with `_along_kernel` in the
# place where it is linear in the kernel: a product like any other, but for its
# transpose, which reverse mode takes.
@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _product(x: Array, kernel: Array, count: int, precision: Any) -> Array:
  return _plain(x, kernel, count, precision)


@functools.partial(_product.defjvp, symbolic_zeros=True)
def _jvp(
  count: int, precision: Any, primals: tuple[Array, Array], tangents: Any
) -> tuple[Array, Array]:
  (x, kernel), (along_x, along_kernel) = primals, tangents
  # `_plain`, so that a remat policy sees a product where one is taken.
  y = _plain(x, kernel, count, precision)
  parts = []
  if not isinstance(along_x, jax.custom_derivatives.SymbolicZero):
    parts.append(_plain(along_x, kernel, count, precision))
  # Of a frozen kernel nothing is computed, nor x kept for it.
  if not isinstance(along_kernel, jax.custom_derivatives.SymbolicZero):
    parts.append(
      _along_kernel.bind(x, along_kernel, count=count, precision=precision)
    )
  return y, sum(parts[1:], parts[0]) if parts else jax.numpy.zeros_like(y)


def _of_x(
  gradient: Array, x: Any, kernel: Array, *, count: int, precision: Any
) -> Array:
  del x
  width = kernel.ndim - count
  axes = (
    tuple(range(gradient.ndim - width, gradient.ndim)),
    tuple(range(count, kernel.ndim)),
  )
  return lax.dot_general(gradient, kernel, (axes, ((), ())), precision)


def _of_kernel(
  gradient: Array, x: Array, kernel: Any, *, count: int, precision: Any
) -> Array:
  """Returns [*in, *out]; XLA's CPU transposes the first operand."""
  del kernel
  tokens = tuple(range(x.ndim - count))
  axes = ((tokens, tokens), ((), ()))
  ins, outs = x.shape[len(tokens) :], gradient.shape[len(tokens) :]

  def gradient_first(x: Array, gradient: Array) -> Array:  # as lax does
    order = (*range(len(outs), len(outs) + count), *range(len(outs)))
    return lax.dot_general(gradient, x, axes, precision).transpose(order)

  def x_first(x: Array, gradient: Array) -> Array:
    return lax.dot_general(x, gradient, axes, precision)

  if math.prod(ins) > math.prod(outs):
    return gradient_first(x, gradient)
  return lax.platform_dependent(
    x, gradient, cpu=x_first, default=gradient_first
  )


def _shape(x: Any, kernel: Any, *, count: int, precision: Any) -> Any:
  product = functools.partial(_plain, count=count, precision=precision)
  out = jax.eval_shape(product, x, kernel)
  return jax.core.ShapedArray(out.shape, out.dtype)


def _batched(
  args: Any, axes: Any, *, count: int, precision: Any
) -> tuple[Array, int]:
  product = functools.partial(_plain, count=count, precision=precision)
  return jax.vmap(product, axes)(*args), 0


_along_kernel = jax_core.Primitive('dense_along_kernel')
_along_kernel.def_impl(_plain)
_along_kernel.def_abstract_eval(_shape)
ad.defbilinear(_along_kernel, _of_x, _of_kernel)
batching.primitive_batchers[_along_kernel] = _batched
mlir.register_lowering(
  _along_kernel, mlir.lower_fun(_plain, multiple_results=False)
)
