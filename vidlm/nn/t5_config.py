"""Sizes of a T5."""

import dataclasses
from typing import Annotated

from vidlm.core import ranges
from vidlm.nn import attention as attention_lib


@dataclasses.dataclass(frozen=True)
class T5Config:
  """Sizes of a T5 1.1 / UL2 encoder-decoder; the defaults are XL ("3B").

  Attributes:
    vocab_size: Rows of the embedding: 32128 (T5), 250112 (mT5), 256384 (umT5).
    emb_dim: C.
    num_heads: K.
    head_dim: D.
    num_encoder_layers: Depth of the encoder.
    num_decoder_layers: Depth of the decoder.
    mlp_dim: Width between wi and wo.
    mlp_activations: Their product is the gate; ('gelu', 'linear') is GEGLU.
    logits_via_embedding: Tie the logits to the token embedding.
    relpos_buckets: Rows of the relative position table.
    relpos_max_distance: Distances from here on share one bucket.
    relpos_per_layer: A relative position table in every layer, as umT5 has it,
      not one for a stack.
    dropout_rate: Applied only when a 'dropout' key is given; not on attention
      weights, which fused kernels never hold.
    scan_layers: One scanned layer in place of `layers_{i}`.
    remat_policy: See `layers.REMAT_POLICIES`.
    dtype: Type of activations and matrix products.
    attention: Implementation, see `attention.dot_product_attention`.
  """

  vocab_size: ranges.Size = 32128
  emb_dim: ranges.Size = 2048
  num_heads: ranges.Size = 32
  head_dim: ranges.Size = 64
  num_encoder_layers: ranges.Size = 24
  num_decoder_layers: ranges.Size = 24
  mlp_dim: ranges.Size = 5120
  mlp_activations: tuple[str, ...] = ('gelu', 'linear')
  logits_via_embedding: bool = False
  relpos_buckets: ranges.Size = 32
  relpos_max_distance: ranges.Size = 128
  relpos_per_layer: bool = False
  dropout_rate: Annotated[ranges.Share, ranges.Called('DROPOUT_RATE')] = 0.0
  scan_layers: bool = True
  remat_policy: str = 'nothing_saveable'
  dtype: str = 'bfloat16'
  attention: attention_lib.Implementation = 'xla'

  def __post_init__(self):
    ranges.check(self)
    # gin hands over lists; a linen module's fields must be hashable.
    object.__setattr__(self, 'mlp_activations', tuple(self.mlp_activations))
