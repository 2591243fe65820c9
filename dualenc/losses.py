"""Contrastive losses over the global batch.

Under `jax.jit` an array is the global one however it is sharded, so there is
no gathering of features to write: the similarity matrix is [B, B] over the
global batch, its rows sharded like the batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vidlm.core import partitioning


def similarity(
  zimg: Float[Array, 'B E'], ztxt: Float[Array, 'P E']
) -> Float[Array, 'B P']:
  """Returns all inner products, rows sharded like the batch.

  In full float32: the matrix is small, and at a scale of 100 the rounding of
  bfloat16 inputs is worth up to 0.4 logits.

  Args:
    zimg: [B, E] unit vectors.
    ztxt: [P, E] unit vectors.

  Returns:
    [B, P].
  """
  products = jnp.einsum('be,pe->bp', zimg, ztxt, precision='highest')
  return partitioning.constrain(products, 'batch', None)


def softmax_loss(
  logits: Float[Array, 'B B'],
) -> Float[Array, '']:
  """InfoNCE: cross-entropy to the diagonal, mean of rows and columns.

  Source: paper section 5.2; equal to `ClipLoss` of open_clip.

  Args:
    logits: [B, B], scaled similarities; row i and column i belong together.

  Returns:
    The loss, averaged over the global batch.
  """
  b = logits.shape[0]
  # A masked sum keeps the shards where they are; a diagonal would be gathered.
  positive = jnp.sum(logits * jnp.eye(b, dtype=logits.dtype), axis=1)
  rows = jax.nn.logsumexp(logits, axis=1)
  columns = jax.nn.logsumexp(logits, axis=0)
  return jnp.mean(rows + columns) / 2 - jnp.mean(positive)


def sigmoid_loss(
  logits: Float[Array, 'B B'],
) -> Float[Array, '']:
  """SigLIP's loss: each pair of the matrix is a yes-or-no question.

  Source: arXiv 2303.15343; big_vision `trainers/proj/image_text/siglip.py`.

  Args:
    logits: [B, B], scaled similarities plus the logit bias.

  Returns:
    The sum over each row, averaged over the global batch.
  """
  signs = 2 * jnp.eye(logits.shape[0], dtype=logits.dtype) - 1
  return -jnp.mean(jnp.sum(jax.nn.log_sigmoid(signs * logits), axis=1))


def accuracy(logits: Float[Array, 'B B']) -> Float[Array, '']:
  """Returns how often the partner wins, mean of rows and columns.

  Args:
    logits: [B, B].

  Returns:
    A fraction; 1 / B is chance.
  """
  index = jnp.arange(logits.shape[0])
  by_row = jnp.mean(jnp.argmax(logits, axis=1) == index)
  by_column = jnp.mean(jnp.argmax(logits, axis=0) == index)
  return (by_row + by_column) / 2
