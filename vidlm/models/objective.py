"""The captioning objective: cross-entropy of the target tokens given a clip.

Eq. (1) of the paper is printed without its logarithm; the text says negative
log-likelihood, which is what this is.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import flax.linen as nn
import flax.traverse_util
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from vidlm.core import ranges
from vidlm.models import flops
from vidlm.models.video_vlm import VideoVLM

# t5x's names.
LOSS_NORMALIZING_FACTORS = ('NUM_REAL_TARGET_TOKENS', 'AVERAGE_PER_SEQUENCE')


def cross_entropy(
  logits: Float[Array, 'B L V'],
  targets: Int[Array, 'B L'],
  label_smoothing: float = 0.0,
  z_loss: float = 0.0,
) -> tuple[Float[Array, 'B L'], Float[Array, 'B L']]:
  """Computes the loss of each token, as t5x does.

  Args:
    label_smoothing: Probability spread over all other tokens; the constant it
      adds to a perfect prediction is subtracted.
    z_loss: Factor on log(Z)^2.

  Returns:
    Loss with the z term, and the z term alone.
  """
  logits = logits.astype(jnp.float32)
  log_z = jax.nn.logsumexp(logits, axis=-1)
  picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
  loss = log_z - picked
  if label_smoothing:
    vocab = logits.shape[-1]
    confidence = 1.0 - label_smoothing
    low = label_smoothing / (vocab - 1)
    everything = vocab * log_z - logits.sum(axis=-1)
    loss = (confidence - low) * loss + low * everything
    loss += confidence * jnp.log(confidence)
    loss += (vocab - 1) * low * jnp.log(low + 1e-20)  # t5x's guard of log(0).
  z_term = z_loss * jnp.square(log_z)
  return loss + z_term, z_term


@dataclasses.dataclass(frozen=True)
class VLMObjective:
  """Trains a `VideoVLM` to write the targets of a clip.

  Attributes:
    model: The VLM.
    num_frames: T.
    task_feature_lengths: Tokens of 'inputs' (instruction) and 'targets'.
    label_smoothing: See `cross_entropy`; the paper names none.
    z_loss: See `cross_entropy`; the paper names none.
    loss_normalizing_factor: Divide by the number of real target tokens of the
      global batch, or take each example's mean first.
  """

  model: VideoVLM
  num_frames: Annotated[ranges.Size, ranges.Called('NUM_FRAMES')] = 8
  task_feature_lengths: Annotated[
    Mapping[str, ranges.Size], ranges.Called('TASK_FEATURE_LENGTHS')
  ] = dataclasses.field(
    default_factory=lambda: {'inputs': 8, 'targets': 32}, hash=False
  )
  label_smoothing: Annotated[ranges.Share, ranges.Called('LABEL_SMOOTHING')] = (
    0.0
  )
  z_loss: Annotated[ranges.Factor, ranges.Called('Z_LOSS')] = 0.0
  loss_normalizing_factor: str = 'NUM_REAL_TARGET_TOKENS'

  def __post_init__(self):
    ranges.check(self)
    if self.loss_normalizing_factor not in LOSS_NORMALIZING_FACTORS:
      raise ValueError(
        f'loss_normalizing_factor {self.loss_normalizing_factor!r} is unknown; '
        f'choose one of {LOSS_NORMALIZING_FACTORS}.'
      )
    missing = {'inputs', 'targets'} - set(self.task_feature_lengths)
    if missing:
      raise ValueError(
        f'task_feature_lengths lacks {sorted(missing)}; give the lengths of '
        "'inputs' and 'targets'."
      )

  def init(self, rng: Array) -> Any:
    """Returns freshly initialised, boxed parameters.

    Args:
      rng: PRNG key.
    """
    batch = {
      name: jnp.zeros(x.shape, x.dtype)
      for name, x in self.batch_shapes(1).items()
    }
    return self.model.init(rng, batch)['params']

  def loss_fn(
    self, params: Any, batch: dict[str, Array], rng: Array | None
  ) -> tuple[Float[Array, ''], dict[str, Array]]:
    """Computes the loss of a batch.

    Args:
      params: {img, llm}; frozen parts may be bfloat16.
      batch: See `batch_shapes`.
      rng: PRNG key, for dropout; None for none.

    Returns:
      The loss, and metrics: `loss` (without z-loss), `z_loss` if there is one,
      `accuracy` of the tokens, and `target_tokens`.
    """
    outputs = self.outputs(params, batch, rng)
    return self.loss_of_outputs(params, outputs, batch)

  @property
  def loss_says(self) -> str:
    """What the metric `loss` is."""
    by = 'token' if self._by_token else 'example (mean over its tokens)'
    parts = [f'cross-entropy per target {by}']
    if self.label_smoothing:
      parts.append(f'with label smoothing {self.label_smoothing:g}')
    if self.z_loss:
      parts.append(f'without z-loss (factor {self.z_loss:g}), which is z_loss')
    return ', '.join(parts)

  @property
  def _by_token(self) -> bool:
    return self.loss_normalizing_factor == 'NUM_REAL_TARGET_TOKENS'

  @property
  def loss_is_linear(self) -> bool:
    """The weights of tokens are the batch's, not the outputs'."""
    return True

  def outputs(
    self, params: Any, batch: dict[str, Array], rng: Array | None
  ) -> dict[str, Float[Array, 'B L']]:
    """Computes the loss of each token.

    Args:
      params: {img, llm}; frozen parts may be bfloat16.
      batch: See `batch_shapes`.
      rng: For dropout; None for none.

    Returns:
      `loss` with the z term, `z_term`, and `hit`: 1 where the target is the
      likeliest token.
    """
    rngs: dict[str, Array] = {}
    if rng is not None and self.model.llm_config.dropout_rate:
      rngs['dropout'] = rng
    logits: Any = self.model.apply({'params': params}, batch, rngs=rngs)
    targets = batch['decoder_target_tokens']
    losses, z_terms = cross_entropy(
      logits, targets, self.label_smoothing, self.z_loss
    )
    hits = jnp.argmax(logits, axis=-1) == targets
    return {
      'loss': losses,
      'z_term': z_terms,
      'hit': hits.astype(jnp.float32),
    }

  def loss_of_outputs(
    self,
    params: Any,
    outputs: dict[str, Float[Array, 'B L']],
    batch: dict[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Array]]:
    """Weighs the tokens of a global batch; see `loss_fn`."""
    del params
    weights = batch['decoder_loss_weights'].astype(jnp.float32)
    per_token = self._token_weights(weights)
    loss = (outputs['loss'] * per_token).sum()
    z_term = (outputs['z_term'] * per_token).sum()
    count = weights.sum()
    hits = (outputs['hit'] * weights).sum()
    apart = {'z_loss': z_term} if self.z_loss else {}
    return loss, {
      'loss': loss - z_term,
      **apart,
      'accuracy': hits / jnp.maximum(count, 1.0),
      'target_tokens': count,
    }

  def eval_fn(
    self,
    params: Any,
    batch: dict[str, Array],
    real: Bool[Array, 'B'],
  ) -> dict[str, tuple[Float[Array, ''], Float[Array, '']]]:
    """Scores a batch without dropout: `loss` and `accuracy` of the tokens.

    Args:
      params: {img, llm}; frozen parts may be bfloat16.
      batch: See `batch_shapes`.
      real: False for rows that only fill the batch up.

    Returns:
      {name: (mean, weight)}; the weight is what the mean is over: tokens, or
      examples.
    """
    weights = batch['decoder_loss_weights'] * real[:, None]
    batch = {**batch, 'decoder_loss_weights': weights}
    _, metrics = self.loss_fn(params, batch, None)
    count = metrics['target_tokens']
    examples = (weights.sum(axis=1) > 0).sum().astype(jnp.float32)
    return {
      'loss': (metrics['loss'], count if self._by_token else examples),
      'accuracy': (metrics['accuracy'], count),
    }

  def _token_weights(self, weights: Float[Array, 'B L']) -> Float[Array, 'B L']:
    """Scales weights so that the weighted sum is the wanted mean."""
    # At least 1: where no target is real the loss is 0 and not NaN.
    if self._by_token:
      return weights / jnp.maximum(weights.sum(), 1.0)
    lengths = weights.sum(axis=1, keepdims=True)
    examples = jnp.maximum((lengths > 0).sum(), 1)
    return weights / jnp.maximum(lengths, 1.0) / examples

  def batch_shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch.

    Args:
      batch_size: B, global.

    Returns:
      {name: shape and type}, with seqio's names for text.
    """
    b, t, size = batch_size, self.num_frames, self.model.image_size
    inputs = self.task_feature_lengths['inputs']
    targets = self.task_feature_lengths['targets']
    shape = jax.ShapeDtypeStruct
    return {
      'frames': shape((b, t, size, size, 3), jnp.uint8),
      'frame_mask': shape((b, t), jnp.bool_),
      'encoder_input_tokens': shape((b, inputs), jnp.int32),
      'decoder_input_tokens': shape((b, targets), jnp.int32),
      'decoder_target_tokens': shape((b, targets), jnp.int32),
      'decoder_loss_weights': shape((b, targets), jnp.float32),
    }

  def parameter_names(self) -> tuple[str, ...]:
    """Returns all parameter names, slash-joined, without making any."""
    boxed = jax.eval_shape(self.init, jax.random.key(0))
    flat = flax.traverse_util.flatten_dict(nn.unbox(boxed), sep='/')
    return tuple(flat)

  def flops_per_step(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    """Returns FLOPs of a training step over the global batch, without remat.

    Args:
      batch_size: B, global.
      is_trained: Whether a parameter is trained, by its slash-joined name.
    """
    parts = flops.video_vlm(
      self.model,
      self.num_frames,
      self.task_feature_lengths['inputs'],
      self.task_feature_lengths['targets'],
    )
    names = self.parameter_names()
    return batch_size * flops.train_step(parts, names, is_trained)

  def repeated_flops(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    """Returns 0: in parts or whole, each token is computed once."""
    del batch_size, is_trained
    return 0.0
