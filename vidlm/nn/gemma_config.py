"""The sizes of a Gemma, and what tells Gemma 2 from Gemma 1."""

import dataclasses
from typing import Annotated

from vidlm.core import ranges
from vidlm.nn import attention as attention_lib


@dataclasses.dataclass(frozen=True)
class GemmaConfig:
  """Sizes of a Gemma; the defaults are PaliGemma's Gemma 1 of 2B.

  Attributes:
    vocab_size: Rows of the embedding; PaliGemma adds 1,024 places and 128
      segments to 256,000 pieces, Hugging Face's table 64 unused rows more.
    emb_dim: C.
    num_layers: Depth.
    mlp_dim: Width between gate and output.
    num_heads: K, of queries.
    num_kv_heads: G, of keys and values; divides K.
    head_dim: D.
    query_scale: Factor on the dot products; 0 for 1 / sqrt(D). Gemma 2 takes
      1 / sqrt(query_pre_attn_scalar), which is 1 / sqrt(C / K) at 27B.
    post_norms: Also normalise what a block adds (Gemma 2).
    attn_logit_cap: Tanh cap on attention logits, 50 in Gemma 2; 0 for none.
    final_logit_cap: Tanh cap on the output logits, 30 in Gemma 2; 0 for none.
    sliding_window: Keys that layers 0, 2, ... see back from a token, 4,096 in
      Gemma 2; 0 for all. The prefix sees the whole prefix in any layer, as
      PaliGemma 2 does.
    rope_max_wavelength: Wavelength of the slowest rotary pair.
    norm_epsilon: Added to the mean square in every RMSNorm.
    dropout_rate: Share dropped of what a block adds, only when a 'dropout' key
      is given.
    scan_layers: One scanned layer in place of `layers_{i}`.
    remat_policy: See `layers.REMAT_POLICIES`.
    dtype: Type of activations and matrix products.
    attention: Implementation within the prefix, see
      `attention.dot_product_attention`; a cap needs 'xla'.
  """

  vocab_size: ranges.Size = 257_152
  emb_dim: ranges.Size = 2048
  num_layers: ranges.Size = 18
  mlp_dim: ranges.Size = 16_384
  num_heads: ranges.Size = 8
  num_kv_heads: ranges.Size = 1
  head_dim: ranges.Size = 256
  query_scale: ranges.Factor = 0.0
  post_norms: bool = False
  attn_logit_cap: ranges.Factor = 0.0
  final_logit_cap: ranges.Factor = 0.0
  sliding_window: ranges.Count = 0
  rope_max_wavelength: ranges.Positive = 10_000.0
  norm_epsilon: ranges.Factor = 1e-6
  dropout_rate: Annotated[ranges.Share, ranges.Called('DROPOUT_RATE')] = 0.0
  scan_layers: bool = True
  remat_policy: str = 'nothing_saveable'
  dtype: str = 'bfloat16'
  attention: attention_lib.Implementation = 'xla'

  def __post_init__(self):
    ranges.check(self)
    if self.num_heads % self.num_kv_heads:
      raise ValueError(
        f'GemmaConfig: num_heads={self.num_heads} is no multiple of '
        f'num_kv_heads={self.num_kv_heads}.'
      )
    if self.head_dim % 2:
      raise ValueError(
        f'GemmaConfig: head_dim={self.head_dim} is odd; rotary positions turn '
        'pairs.'
      )
