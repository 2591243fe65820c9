"""The video VLM: a ViT on each frame, its tokens in front of an instruction.

Frames are folded into the batch, projected to the width of the language model
and prepended to the embedded instruction (paper section 3; big_vision's
PaliGemma does the same with videos). The language model is an encoder-decoder
or decoder-only (`nn.language_model`). Nothing tells the language model about
time but the order of tokens, unless `frame_embedding` is on. There is no pooler
(Q-Former, Resampler) between the two: all T * N tokens are kept.
"""

from typing import Annotated, Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from vidlm.core import partitioning, ranges
from vidlm.nn import attention as attention_lib
from vidlm.nn import language_model, t5, vit

Batch = dict[str, Array]


class FrameEncoder(nn.Module):
  """A ViT with its projection, on clips; parameters are the ViT's own.

  Attributes:
    vit: The tower, pool_type 'none', its head the projection.
    max_frames: Rows of `frame_embedding`; 0 for none.
  """

  vit: vit.ViT
  max_frames: int = 0

  def setup(self):
    # 'img/embedding', not 'img/vit/embedding': big_vision's names.
    nn.share_scope(self, self.vit)
    if self.max_frames:
      self.frame_embedding = self.param(
        'frame_embedding',
        partitioning.with_logical_axes(
          nn.initializers.normal(0.02), (None, 'embed')
        ),
        (self.max_frames, self.vit.num_classes),
      )

  def __call__(
    self, frames: UInt8[Array, 'B T H W 3']
  ) -> Float[Array, 'B TN C']:
    """Encodes clips.

    Args:
      frames: Pixels as decoded.

    Returns:
      Tokens, T * N of them, frame by frame.

    Raises:
      ValueError: If there are more frames than frame embeddings.
    """
    batch, time = frames.shape[:2]
    images = frames.reshape(batch * time, *frames.shape[2:])
    images = partitioning.constrain(images, 'batch', None, None, None)
    # Bytes travel to the device; [-1, 1] is made here.
    tokens, _ = self.vit(images.astype(jnp.float32) / 127.5 - 1.0)
    tokens = tokens.reshape(batch, time, *tokens.shape[1:])  # B T N C
    if self.max_frames:
      if time > self.max_frames:
        raise ValueError(
          f'frame_embedding: {time} frames, but max_frames is '
          f'{self.max_frames}.'
        )
      frame = self.frame_embedding[:time].astype(tokens.dtype)
      tokens = tokens + frame[None, :, None, :]
    tokens = tokens.reshape(batch, -1, tokens.shape[-1])
    return partitioning.constrain(tokens, 'batch', 'length', 'embed')


class VideoVLM(nn.Module):
  """Frames and an instruction in, text out; parameters {img, llm}.

  Images are clips of one frame and take the same parameters.

  Attributes:
    llm_config: Sizes of the language model, and thereby which it is: a
      `T5Config` or a `GemmaConfig`.
    variant: Name of the ViT, see `vit.decode_variant`.
    image_size: Pixels of a side.
    projection_zeroinit: Start the projection at zero (PaliGemma's default); off
      because T5's first RMSNorm multiplies the gradient at zero by 1,000.
    frame_embedding: Learn an embedding per frame, `img/frame_embedding`. Off,
      as in the paper.
    max_frames: Frames it has rows for.
    scan: Scan over the ViT's layers.
    remat_policy: What the ViT keeps; the language model's is in `llm_config`.
    dtype: Type of the ViT's activations and matrix products.
    attention: The ViT's implementation; the language model's is in
      `llm_config`.
  """

  llm_config: language_model.Config = t5.T5Config()
  variant: str = 'G/14'
  image_size: Annotated[ranges.Size, ranges.Called('IMAGE_SIZE')] = 224
  projection_zeroinit: bool = False
  frame_embedding: bool = False
  max_frames: ranges.Size = 16
  scan: bool = True
  remat_policy: str = 'nothing_saveable'
  dtype: str = 'bfloat16'
  attention: attention_lib.Implementation = 'xla'

  def __post_init__(self) -> None:
    ranges.check(self)
    super().__post_init__()

  def setup(self):
    tower = vit.ViT(
      variant=self.variant,
      image_size=self.image_size,
      pool_type='none',
      num_classes=self.llm_config.emb_dim,
      head_zeroinit=self.projection_zeroinit,
      scan=self.scan,
      remat_policy=self.remat_policy,
      dtype=self.dtype,
      attention=self.attention,
      parent=None,  # FrameEncoder adopts it; made here, it would be ours.
    )
    frames = self.max_frames if self.frame_embedding else 0
    self.img = FrameEncoder(tower, frames)
    self.llm = language_model.build(self.llm_config)

  def __call__(self, batch: Batch) -> Float[Array, 'B L V']:
    """Returns logits of the targets (teacher forcing).

    Args:
      batch: `frames` uint8 [B, T, H, W, 3], `frame_mask` bool [B, T],
        `encoder_input_tokens` int32 [B, Li] (0 is padding) and
        `decoder_input_tokens` int32 [B, L] (targets behind a 0).
    """
    x, mask = self.embed_prefix(batch)
    return self.llm.forward(x, mask, batch['decoder_input_tokens'])

  def encode(self, batch: Batch) -> tuple[Any, Bool[Array, 'B S']]:
    """Reads frames and instruction together.

    Args:
      batch: See `embed_prefix`.

    Returns:
      What the language model makes of them (`LanguageModel.encode`), and a
      mask, True for what is real.
    """
    x, mask = self.embed_prefix(batch)
    return self.llm.encode(x, mask), mask

  def embed_prefix(
    self, batch: Batch
  ) -> tuple[Float[Array, 'B S C'], Bool[Array, 'B S']]:
    """Embeds frames and instruction.

    Frames whose mask is False take no part (text alone: all of them).

    Args:
      batch: `frames`, `frame_mask` and `encoder_input_tokens`, as in
        `__call__`.

    Returns:
      Embeddings, S = T * N + Li, and a mask, True for what is real.
    """
    visual = self.embed_frames(batch['frames'])
    text = self.llm.embed(batch['encoder_input_tokens'])
    per_frame = visual.shape[1] // batch['frames'].shape[1]
    mask = jnp.concatenate(
      [
        jnp.repeat(batch['frame_mask'], per_frame, axis=1),
        batch['encoder_input_tokens'] > 0,
      ],
      axis=1,
    )
    return jnp.concatenate([visual.astype(text.dtype), text], axis=1), mask

  def embed_frames(
    self, frames: UInt8[Array, 'B T H W 3']
  ) -> Float[Array, 'B TN C']:
    """Returns projected visual tokens, T * N of them, frame by frame."""
    return self.img(frames)

  def precompute_cross_kv(self, encoded: Any) -> Any:
    """See `LanguageModel.precompute_cross_kv`."""
    return self.llm.precompute_cross_kv(encoded)

  def init_cache(self, batch: int, samples: int, length: int) -> Any:
    """See `LanguageModel.init_cache`."""
    return self.llm.init_cache(batch, samples, length)

  def decode_step(
    self,
    tokens: Int[Array, 'B R'],
    index: Int[Array, ''],
    cache: Any,
    cross_kv: Any,
    mask: Bool[Array, 'B S'],
  ) -> tuple[Float[Array, 'B R V'], Any]:
    """See `LanguageModel.decode_step`."""
    return self.llm.decode_step(tokens, index, cache, cross_kv, mask)
