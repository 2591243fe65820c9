"""What `training.loop` trains: the contract between the loop and the models."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Bool


@runtime_checkable
class Objective(Protocol):
  """A model with its loss, as a frozen, hashable dataclass.

  Two equal objectives share one compiled step.
  """

  def __hash__(self) -> int:
    """Equal objectives have equal hashes."""

  def init(self, rng: Array) -> Any:
    """Makes parameters, nested, in boxes that name their logical axes."""

  def loss_fn(
    self, params: dict[str, Any], batch: dict[str, Array], rng: Array
  ) -> tuple[Array, dict[str, Array]]:
    """Computes the loss of a global batch.

    Args:
      params: Nested and unboxed: float32 where trained, else frozen dtype.
      batch: As `batch_shapes`.
      rng: A key for this step.

    Returns:
      A float32 scalar, and scalars to log; a `loss` among them is logged in
      place of the scalar, if a part of that stands apart.
    """

  def batch_shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Names the arrays of a batch of `batch_size` examples."""

  def flops_per_step(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    """Counts the FLOPs of a step by arithmetic.

    Args:
      batch_size: Examples of a global batch.
      is_trained: Whether a parameter's name trains.

    Returns:
      FLOPs over all devices, a multiply-add as two, without
      rematerialisation: 3x the forward pass for what trains, 2x for what is
      frozen but passes a gradient on, 1x for what lies before.
    """


@runtime_checkable
class Told(Protocol):
  """An objective that says what the `loss` in its log is."""

  @property
  def loss_says(self) -> str:
    """A phrase, such as 'cross-entropy per target token'."""


@runtime_checkable
class Scorable(Objective, Protocol):
  """An objective whose loss on a validation set can be asked for."""

  def eval_fn(
    self,
    params: dict[str, Any],
    batch: dict[str, Array],
    real: Bool[Array, 'B'],
  ) -> dict[str, tuple[Array, Array]]:
    """Scores a global batch without dropout (t5x's `eval_fn`).

    Args:
      params: As of `loss_fn`.
      batch: As `batch_shapes`; lengths of texts may differ.
      real: [B], False for rows that only fill the batch up.

    Returns:
      {name: (mean over the real rows, its weight among other batches)}; 'loss'
      is what trains, other penalties aside.
    """


@runtime_checkable
class Splittable(Objective, Protocol):
  """An objective whose batch may be computed in parts.

  `loss_fn` equals `outputs` followed by `loss_of_outputs`, which sees the
  outputs of all examples: normalisers and contrasts are the whole batch's.
  """

  @property
  def loss_is_linear(self) -> bool:
    """Whether the loss only weighs outputs, by what the batch alone decides.

    Its gradient with respect to an output is then known before the output is,
    and each part is computed once. Where examples are contrasted it is not:
    then all outputs are computed first, and again for the gradients.
    """

  def outputs(
    self, params: dict[str, Any], batch: dict[str, Array], rng: Array
  ) -> dict[str, Array]:
    """Computes what the loss needs of each example by itself.

    Args:
      params: As of `loss_fn`.
      batch: Any number of examples.
      rng: A key for these examples.

    Returns:
      Small float32 arrays whose first axis is the batch's.
    """

  def loss_of_outputs(
    self,
    params: dict[str, Any],
    outputs: dict[str, Array],
    batch: dict[str, Array],
  ) -> tuple[Array, dict[str, Array]]:
    """Computes `loss_fn`'s results from the outputs of a global batch."""

  def repeated_flops(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    """Counts the FLOPs that a step in parts adds to `flops_per_step`.

    Args:
      batch_size: Examples of a global batch.
      is_trained: Whether a parameter's name trains.

    Returns:
      FLOPs of what is computed a second time: none where the loss is linear.
    """
