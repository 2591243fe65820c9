"""Pieces both towers share: remat policies by name and a stack of layers."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidlm.core import partitioning

# Every policy of `jax.checkpoint_policies` that needs no argument, and 'none'.
REMAT_POLICIES = (
  'none',
  'nothing_saveable',
  'everything_saveable',
  'dots_saveable',
  'checkpoint_dots',
  'dots_with_no_batch_dims_saveable',
  'checkpoint_dots_with_no_batch_dims',
)


def remat(
  layer: type[nn.Module],
  policy: str,
  *,
  prevent_cse: bool,
  methods: Sequence[str] = ('__call__',),
) -> type[nn.Module]:
  """Wraps a layer so that its backward pass recomputes what is not saved.

  Args:
    layer: A linen module class.
    policy: One of `REMAT_POLICIES`; 'none' returns the layer as it is.
    prevent_cse: True unless the layer runs inside a scan: there XLA can't merge
      what is recomputed with what was computed in any case.
    methods: The methods to wrap.

  Returns:
    The wrapped class.

  Raises:
    ValueError: If the policy is unknown.
  """
  if policy not in REMAT_POLICIES:
    raise ValueError(
      f'remat_policy {policy!r} is unknown; choose one of {REMAT_POLICIES}.'
    )
  if policy == 'none':
    return layer
  return nn.remat(
    layer,
    prevent_cse=prevent_cse,
    policy=getattr(jax.checkpoint_policies, policy),
    methods=list(methods),
  )


def scan(
  layer: type[nn.Module],
  length: int,
  in_axes: dict[str, Any],
) -> type[nn.Module]:
  """Wraps a layer so that its methods run over `length` stacked layers.

  Args:
    layer: A linen module class; methods take (carry, *inputs).
    length: Number of layers.
    in_axes: For each method, `in_axes` of its inputs (`nn.broadcast` or 0).

  Returns:
    The wrapped class; parameters get a leading axis named 'layers'.
  """
  common = {
    'variable_axes': {'params': 0},
    'split_rngs': {'params': True, 'dropout': True},
    'length': length,
    'metadata_params': {nn.PARTITION_NAME: 'layers'},
  }
  methods = {k: {**common, 'in_axes': axes} for k, axes in in_axes.items()}
  return nn.scan(layer, methods=methods)


def gelu(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """Returns the tanh approximation of GELU, as ViT and T5 1.1 use it."""
  return nn.gelu(x, approximate=True)


def gelu_exact(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """Returns x times the normal distribution function: PyTorch's GELU."""
  return nn.gelu(x, approximate=False)


def quick_gelu(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """Returns x * sigmoid(1.702 x), the activation of OpenAI's CLIP."""
  return x * nn.sigmoid(1.702 * x)


def linear(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
  """Returns its argument."""
  return x


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
  'gelu': gelu,
  'gelu_exact': gelu_exact,
  'quick_gelu': quick_gelu,
  'linear': linear,
  'relu': nn.relu,
  'silu': nn.silu,
}


def activation(name: str) -> Callable[[Array], Array]:
  """Returns an activation function by name.

  Args:
    name: A key of `ACTIVATIONS`.

  Returns:
    The function.

  Raises:
    ValueError: If there is none of that name.
  """
  if name not in ACTIVATIONS:
    raise ValueError(
      f'activation {name!r} is unknown; choose one of {sorted(ACTIVATIONS)}.'
    )
  return ACTIVATIONS[name]


def layer_norm(
  name: str, epsilon: float = 1e-6, dtype: str = 'bfloat16'
) -> nn.LayerNorm:
  """Returns a LayerNorm whose statistics are taken in float32.

  Args:
    name: Name of the module.
    epsilon: 1e-6 in big_vision and T5, 1e-5 in CLIP.
    dtype: Type of the result.

  Returns:
    The module.
  """
  return nn.LayerNorm(
    epsilon=epsilon,
    dtype=jnp.dtype(dtype),
    scale_init=partitioning.with_logical_axes(nn.initializers.ones, ('embed',)),
    bias_init=partitioning.with_logical_axes(nn.initializers.zeros, ('embed',)),
    name=name,
  )
