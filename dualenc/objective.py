"""What `vidlm.training.loop` trains: two towers under a contrastive loss."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from dualenc import flops, losses
from dualenc.models import two_towers
from vidlm.core import ranges, trees

# Logits of what fills a batch up: of itself so likely that its loss is 0 in
# float32, of all others so unlikely that they don't count; and no larger, since
# they are added to real ones.
_ITSELF, _OTHERS = 30.0, -300.0
_LOSSES = {'softmax': losses.softmax_loss, 'sigmoid': losses.sigmoid_loss}


@dataclasses.dataclass(frozen=True)
class DualEncoderObjective:
  """A `vidlm.training.objective.Objective`.

  Attributes:
    model: the two towers; holds the number and size of the frames.
    text_length: tokens of a text; None for the model's `context_length`.
    loss: 'softmax' (CLIP, the paper) or 'sigmoid' (SigLIP; wants
      `TwoTowers.bias_init`, -10 there).
  """

  model: two_towers.TwoTowers = dataclasses.field(
    default_factory=two_towers.TwoTowers
  )
  text_length: ranges.Size | None = None
  loss: Literal['softmax', 'sigmoid'] = 'softmax'

  def __post_init__(self) -> None:
    ranges.check(self)

  def init(self, rng: Array) -> dict[str, Any]:
    """Returns fresh parameters, boxed with their logical axes."""
    shapes = self.batch_shapes(1)
    batch = {k: jnp.zeros(v.shape, v.dtype) for k, v in shapes.items()}
    variables = self.model.init(rng, batch['frames'], batch['text'])
    return variables['params']

  def loss_fn(
    self, params: dict[str, Any], batch: dict[str, Array], rng: Array
  ) -> tuple[Float[Array, ''], dict[str, Float[Array, '']]]:
    """Loss over the global batch.

    Args:
      params: nested.
      batch: frames uint8 [B, T, H, W, 3] and text int32 [B, L].
      rng: not used: there is no dropout.

    Returns:
      The loss, and loss, accuracy (in-batch retrieval, a fraction) and
      logit_scale (exp(t), the inverse of the temperature).
    """
    del rng
    zimg, ztxt, out = self._apply(params, batch)
    return self._contrast(zimg, ztxt, out)

  @property
  def loss_says(self) -> str:
    """What the metric `loss` is."""
    return f'{self.loss} contrast of the clips and texts of a global batch'

  @property
  def loss_is_linear(self) -> bool:
    """Every clip is weighed against every text."""
    return False

  def outputs(
    self, params: dict[str, Any], batch: dict[str, Array], rng: Array
  ) -> dict[str, Float[Array, 'B E']]:
    """Embeds clips and texts: `zimg` and `ztxt`."""
    del rng
    zimg, ztxt, _ = self._apply(params, batch)
    return {'zimg': zimg, 'ztxt': ztxt}

  def loss_of_outputs(
    self,
    params: dict[str, Any],
    outputs: dict[str, Float[Array, 'B E']],
    batch: dict[str, Array],
  ) -> tuple[Float[Array, ''], dict[str, Float[Array, '']]]:
    """Contrasts the embeddings of a global batch; see `loss_fn`."""
    del batch
    # Without frames and text: scale and bias alone.
    made: Any = self.model.apply({'params': params})
    return self._contrast(outputs['zimg'], outputs['ztxt'], made[2])

  def _contrast(
    self,
    zimg: Float[Array, 'B E'],
    ztxt: Float[Array, 'B E'],
    out: dict[str, Any],
  ) -> tuple[Float[Array, ''], dict[str, Float[Array, '']]]:
    logits = out['t'] * losses.similarity(zimg, ztxt) + out.get('b', 0.0)
    loss = _LOSSES[self.loss](logits)
    metrics = {
      'loss': loss,
      'accuracy': losses.accuracy(logits),
      'logit_scale': out['t'],
    }
    return loss, metrics

  def eval_fn(
    self,
    params: dict[str, Any],
    batch: dict[str, Array],
    real: Bool[Array, 'B'],
  ) -> dict[str, tuple[Float[Array, ''], Float[Array, '']]]:
    """Scores a batch: `loss` and `accuracy`, weighed by its clips.

    As in open_clip's evaluation, each batch is contrasted by itself, a smaller
    last one too: what fills it up competes with nobody.

    Args:
      params: The towers'.
      batch: See `batch_shapes`.
      real: [B], False for rows that only fill the batch up.

    Returns:
      {name: (mean over the real rows, their number)}.
    """
    zimg, ztxt, out = self._apply(params, batch)
    logits = out['t'] * losses.similarity(zimg, ztxt) + out.get('b', 0.0)
    # A row that fills up finds itself at once: no loss, and a hit.
    sure = jnp.where(jnp.eye(len(real), dtype=bool), _ITSELF, _OTHERS)
    logits = jnp.where(real[:, None] & real[None, :], logits, sure)
    count = real.sum().astype(jnp.float32)
    rows = len(real) / jnp.maximum(count, 1.0)
    hits = losses.accuracy(logits) - 1 + count / len(real)
    return {
      'loss': (_LOSSES[self.loss](logits) * rows, count),
      'accuracy': (hits * rows, count),
    }

  def _apply(self, params: dict[str, Any], batch: dict[str, Array]) -> Any:
    variables = {'params': params}
    return self.model.apply(variables, batch['frames'], batch['text'])

  def batch_shapes(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns shapes and types of a global batch."""
    img = self.model.img
    size = (img.image_size, img.image_size, 3)
    return {
      'frames': jax.ShapeDtypeStruct(
        (batch_size, img.num_frames, *size), jnp.uint8
      ),
      'text': jax.ShapeDtypeStruct((batch_size, self._length()), jnp.int32),
    }

  def flops_per_step(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    """Returns FLOPs of a step, see `dualenc.flops`."""
    return flops.flops_per_step(
      self.model, self._length(), batch_size, self._names(), is_trained
    )

  def repeated_flops(
    self, batch_size: int, is_trained: Callable[[str], bool]
  ) -> float:
    """Returns FLOPs of embedding a second time, see `dualenc.flops`."""
    return flops.repeated_flops(
      self.model, self._length(), batch_size, self._names(), is_trained
    )

  def _names(self) -> list[str]:
    return list(trees.flatten(jax.eval_shape(self.init, jax.random.key(0))))

  def _length(self) -> int:
    return self.text_length or self.model.txt.context_length
