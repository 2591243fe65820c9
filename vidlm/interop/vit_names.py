"""Blocks of a ViT in Hugging Face's names, shared by SigLIP and CLIP.

q, k and v are matrices [out, in] there; here kernels [width, heads, head size]
as flax's MultiHeadDotProductAttention has them.
"""

from vidlm.interop import mapping

_ATTENTION = 'MultiHeadDotProductAttention_0'
QKV = ('query', 'key', 'value')


def norm(ours: str, theirs: str) -> list[mapping.Row]:
  """Returns rows of a LayerNorm."""
  return [
    (f'{ours}/scale', f'{theirs}.weight', 'c -> c'),
    (f'{ours}/bias', f'{theirs}.bias', 'c -> c'),
  ]


def mlp(ours: str, theirs: tuple[str, str]) -> list[mapping.Row]:
  """Returns rows of an MLP block; `theirs` are the names of its two layers."""
  return [
    (f'{ours}/Dense_0/kernel', f'{theirs[0]}.weight', 'm c -> c m'),
    (f'{ours}/Dense_0/bias', f'{theirs[0]}.bias', 'm -> m'),
    (f'{ours}/Dense_1/kernel', f'{theirs[1]}.weight', 'c m -> m c'),
    (f'{ours}/Dense_1/bias', f'{theirs[1]}.bias', 'c -> c'),
  ]


def attention(ours: str, theirs: str) -> list[mapping.Row]:
  """Returns rows of attention with separate projections."""
  out = [
    (f'{ours}/out/kernel', f'{theirs}.out_proj.weight', 'c (k d) -> k d c'),
    (f'{ours}/out/bias', f'{theirs}.out_proj.bias', 'c -> c'),
  ]
  for name in QKV:
    p = f'{theirs}.{name[0]}_proj'
    out.append((f'{ours}/{name}/kernel', f'{p}.weight', '(k d) c -> c k d'))
    out.append((f'{ours}/{name}/bias', f'{p}.bias', '(k d) -> k d'))
  return out


def fused_attention(ours: str, theirs: str) -> list[mapping.Row]:
  """Returns rows of PyTorch's MultiheadAttention: q, k and v in one matrix."""
  out: list[mapping.Row] = [
    (
      f'{ours}/out/kernel',
      f'{theirs}.out_proj.weight',
      'c (k d) -> k d c',
      None,
    ),
    (f'{ours}/out/bias', f'{theirs}.out_proj.bias', 'c -> c', None),
  ]
  for i, name in enumerate(QKV):
    out.append(
      (
        f'{ours}/{name}/kernel',
        f'{theirs}.in_proj_weight',
        '(k d) c -> c k d',
        (i, 3),
      )
    )
    out.append(
      (
        f'{ours}/{name}/bias',
        f'{theirs}.in_proj_bias',
        '(k d) -> k d',
        (i, 3),
      )
    )
  return out


def blocks(
  ours: str, theirs: str, depth: int, **sizes: int
) -> list[mapping.Entry]:
  """Returns rows of `depth` pre-LayerNorm blocks, as SigLIP and CLIP name them.

  Args:
    ours: Our stack, such as 'Transformer/'.
    theirs: Theirs, such as 'encoder.layers.'.
    depth: Number of blocks.
    **sizes: c width, k heads, d head size, m MLP width.
  """
  block = [
    *norm('LayerNorm_0', 'layer_norm1'),
    *attention(_ATTENTION, 'self_attn'),
    *norm('LayerNorm_1', 'layer_norm2'),
    *mlp('MlpBlock_0', ('mlp.fc1', 'mlp.fc2')),
  ]
  return numbered(block, ours, theirs, depth, **sizes)


def openai_blocks(
  ours: str, theirs: str, depth: int, **sizes: int
) -> list[mapping.Entry]:
  """Returns the same in the names of openai/CLIP and open_clip."""
  block = [
    *norm('LayerNorm_0', 'ln_1'),
    *fused_attention(_ATTENTION, 'attn'),
    *norm('LayerNorm_1', 'ln_2'),
    *mlp('MlpBlock_0', ('mlp.c_fc', 'mlp.c_proj')),
  ]
  return numbered(block, ours, theirs, depth, **sizes)


def numbered(
  block: list[mapping.Row], ours: str, theirs: str, depth: int, **sizes: int
) -> list[mapping.Entry]:
  """Returns entries of a block, once for each layer."""
  return [
    entry
    for i in range(depth)
    for entry in mapping.rows(
      block, f'{ours}encoderblock_{i}/', f'{theirs}{i}.', **sizes
    )
  ]
