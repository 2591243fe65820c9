"""FLOPs of layers by arithmetic: matrix products only, 1 multiply-add = 2 FLOP.

`cost_analysis` of a scanned program counts a scan body once, so it is no use
here. Published figures (model FLOP utilisation) count the same way: without
rematerialisation. What is masked counts in full, as it is computed.
"""

from vidlm.nn import gemma, t5, vit


def dense(tokens: int, weights: int) -> float:
  """Returns FLOPs of sending tokens through kernels of so many weights."""
  return 2.0 * tokens * weights


def attention(queries: int, keys: int, joined: int) -> float:
  """Returns FLOPs of scores and weighted values, heads of a joint width."""
  return 4.0 * queries * keys * joined


def passes(trained: bool, carries: bool) -> int:
  """Returns how often a training step spends the forward FLOPs of a part.

  Args:
    trained: Whether any of its own parameters is.
    carries: Whether a gradient passes through to something trained before it.
  """
  return 3 if trained else 2 if carries else 1


def transformer(
  length: int, width: int, depth: int, mlp_dim: int, mlp_kernels: int = 2
) -> float:
  """Returns FLOPs of a stack of encoder blocks on one sequence.

  Args:
    length: Tokens.
    width: C, also the joint width of the heads.
    depth: Blocks.
    mlp_dim: Width inside the MLP.
    mlp_kernels: 2, or 3 with a gate.

  Returns:
    FLOPs: projections, MLP, and length^2 attention.
  """
  kernels = 4 * width * width + mlp_kernels * width * mlp_dim
  return depth * (dense(length, kernels) + attention(length, length, width))


def patches(tokens: int, patch_size: int, width: int) -> float:
  """Returns FLOPs of embedding patches of RGB pixels."""
  return dense(tokens, 3 * patch_size**2 * width)


def vit_forward(variant: str, image_size: int) -> float:
  """Returns FLOPs of a ViT without head on one image.

  Args:
    variant: E.g. 'G/14'.
    image_size: Pixels of a side.
  """
  v = vit.decode_variant(variant)
  tokens = (image_size // v.patch_size) ** 2
  blocks = transformer(tokens, v.width, v.depth, v.mlp_dim)
  return patches(tokens, v.patch_size, v.width) + blocks


def t5_encoder(config: t5.T5Config, length: int) -> float:
  """Returns FLOPs of a T5 encoder on one sequence of S tokens."""
  joined = config.num_heads * config.head_dim
  kernels = 4 * config.emb_dim * joined + _t5_mlp(config)
  return config.num_encoder_layers * (
    dense(length, kernels) + attention(length, length, joined)
  )


def t5_cross_kv(config: t5.T5Config, encoder_length: int) -> float:
  """Returns FLOPs of projecting cross-attention's keys and values once."""
  joined = config.num_heads * config.head_dim
  kernels = 2 * config.emb_dim * joined
  return config.num_decoder_layers * dense(encoder_length, kernels)


def t5_decoder(config: t5.T5Config, encoder_length: int, length: int) -> float:
  """Returns FLOPs of a decoder on one target, given cross keys and values.

  Args:
    config: Sizes.
    encoder_length: S.
    length: L.
  """
  joined = config.num_heads * config.head_dim
  kernels = 6 * config.emb_dim * joined + _t5_mlp(config)
  return config.num_decoder_layers * (
    dense(length, kernels) + attention(length, length + encoder_length, joined)
  )


def t5_logits(config: t5.T5Config, length: int) -> float:
  """Returns FLOPs of the output layer on one target of L tokens."""
  return dense(length, config.emb_dim * config.vocab_size)


def _t5_mlp(config: t5.T5Config) -> int:
  kernels = len(config.mlp_activations) + 1
  return kernels * config.emb_dim * config.mlp_dim


def gemma_layers(config: gemma.GemmaConfig, length: int, keys: int) -> float:
  """Returns FLOPs of all layers on some tokens of one sequence.

  A sliding window saves nothing: masked products are computed.

  Args:
    config: Sizes.
    length: Tokens.
    keys: Tokens they attend to, themselves included.
  """
  heads = 2 * config.num_heads + 2 * config.num_kv_heads
  kernels = config.emb_dim * (heads * config.head_dim + 3 * config.mlp_dim)
  joined = config.num_heads * config.head_dim
  return config.num_layers * (
    dense(length, kernels) + attention(length, keys, joined)
  )
